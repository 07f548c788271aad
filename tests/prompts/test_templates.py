"""Finding templates, their front matter, their variables, and what is said when they do not fit."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta.errors import TemplateError, UnknownName
from vanta.installation import templates_dir
from vanta.prompts import Templates
from vanta.prompts.front_matter import parse_template

Write = Callable[[str, str], Path]
PRESETS = ["default", "detailed", "friendly", "short", "technical"]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def said(path: Path, place: str, problem: str) -> str:
    return f"{path}:{place}: {problem}"


def test_a_template_is_named_by_its_place_in_the_folder(write: Write, tmp_path: Path) -> None:
    write("system/pirate.j2", "Arr, {{ who }}!\n")
    templates = Templates([tmp_path])
    assert templates.list() == ("system/pirate",)
    assert templates.render("system/pirate", {"who": "Ada"}) == "Arr, Ada!"


def test_the_first_folder_wins_and_says_what_it_hides(write: Write, tmp_path: Path) -> None:
    write("ours/system/a.j2", "ours")
    write("ours/system/b.j2", "b")
    write("yours/system/a.j2", "yours")
    templates = Templates([tmp_path / "yours", tmp_path / "missing", tmp_path / "ours"])
    assert templates.render("system/a") == "yours"
    assert templates.list() == ("system/a", "system/b")
    assert templates.shadowed == {"system/a": (tmp_path / "ours/system/a.j2",)}


def test_partials_are_not_listed_but_found(write: Write, tmp_path: Path) -> None:
    write("_part.j2", "part of {{ it }}")
    write("whole.j2", "a {% include '_part' %}")
    templates = Templates([tmp_path])
    assert templates.list() == ("whole",)
    assert templates.render("whole", {"it": "it"}) == "a part of it"


def test_an_edited_template_takes_effect_at_once(write: Write, tmp_path: Path) -> None:
    write("_part.j2", "old")
    path = write("a.j2", "{% include '_part' %}")
    templates = Templates([tmp_path])
    assert templates.render("a") == "old"
    write("_part.j2", "new part")
    assert templates.render("a") == "new part"
    path.write_text("quite new")
    assert templates.render("a") == "quite new"


def test_an_unchanged_template_is_not_read_again(write: Write, tmp_path: Path) -> None:
    write("a.j2", "text")
    templates = Templates([tmp_path])
    assert templates.get("a") is templates.get("a")


def test_after_preloading_an_unchanged_template_opens_no_file(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("_part.j2", "part")
    write("a.j2", "{% include '_part' %}")
    write("broken.j2", "---\nnmae: x\n---\n{% if %}")
    templates = Templates([tmp_path])
    templates.preload()
    monkeypatch.delattr(Path, "open")
    assert templates.render("a") == "part"
    with pytest.raises(TemplateError, match="unknown field 'nmae'"):
        templates.get("broken")


def test_an_unknown_template_names_the_nearest_and_where_it_looked(
    write: Write, tmp_path: Path
) -> None:
    write("system/default.j2", "")
    with pytest.raises(UnknownName) as caught:
        Templates([tmp_path]).get("system/defualt")
    assert "Did you mean 'system/default'?" in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a/../../secret", "", "a\0b", "..", "a\\b"]
)
def test_no_name_leads_out_of_the_folders(name: str, write: Write, tmp_path: Path) -> None:
    write("secret.j2", "secret")
    write("in/a/x.j2", "x")
    with pytest.raises(UnknownName):
        Templates([tmp_path / "in"]).get(name)


def test_a_link_out_of_the_folder_is_not_followed(write: Write, tmp_path: Path) -> None:
    secret = write("secret.j2", "secret")
    write("in/a.j2", "{% include 'link' %}")
    (tmp_path / "in/link.j2").symlink_to(secret)
    templates = Templates([tmp_path / "in"])
    assert templates.list() == ("a",)
    with pytest.raises(TemplateError, match="no template is named 'link'"):
        templates.render("a")


def test_defaults_hold_until_a_value_is_given(write: Write, tmp_path: Path) -> None:
    write("a.j2", "---\nvariables:\n  n: {type: integer, default: 2}\n---\n{{ n }}\n")
    templates = Templates([tmp_path])
    assert templates.render("a") == "2"
    assert templates.render("a", {"n": 3, "other": "does no harm"}) == "3"


def test_variables_of_what_is_included_count_and_the_outer_word_goes_first(
    write: Write, tmp_path: Path
) -> None:
    write(
        "_b.j2", "---\nvariables:\n  x: {default: inner}\n  y: {default: inner}\n---\n{{x}} {{y}}"
    )
    write("a.j2", "---\nvariables:\n  x: {default: outer}\n---\n{% extends '_b' %}")
    templates = Templates([tmp_path])
    assert templates.render("a") == "outer inner"
    assert set(templates.variables("a")) == {"x", "y"}


def test_a_missing_variable_is_named_with_its_description(write: Write, tmp_path: Path) -> None:
    path = write("a.j2", "---\nvariables:\n  who: {description: Who is greeted.}\n---\n{{ who }}")
    with pytest.raises(TemplateError) as caught:
        Templates([tmp_path]).render("a")
    problem = "variable 'who' is missing (Who is greeted). Give it a value."
    assert str(caught.value) == f"template 'a' ({path}): {problem}"


def test_an_undeclared_variable_is_named_with_its_line(write: Write, tmp_path: Path) -> None:
    path = write("a.j2", "---\ndescription: x\n---\n\nHi {{ nobody }}")
    with pytest.raises(TemplateError) as caught:
        Templates([tmp_path]).render("a")
    advice = "Give it a value, or declare it in the front matter with a default."
    assert str(caught.value) == f"template 'a' ({path}:5): 'nobody' is undefined. {advice}"


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("string", "x", 1),
        ("integer", 1, 1.5),
        ("number", 1.5, "1"),
        ("boolean", True, 1),
        ("list", [1], "ab"),
        ("mapping", {"a": 1}, [1]),
        ("integer", 1, True),
    ],
)
def test_a_value_of_another_type_is_refused(
    kind: str, good: object, bad: object, write: Write, tmp_path: Path
) -> None:
    path = write("a.j2", f"---\nvariables:\n  v: {{type: {kind}}}\n---\n{{{{ v }}}}")
    templates = Templates([tmp_path])
    assert templates.render("a", {"v": good}) == str(good)
    with pytest.raises(TemplateError) as caught:
        templates.render("a", {"v": bad})
    problem = f"variable 'v' must be of type {kind}, not {bad!r}."
    assert str(caught.value) == f"template 'a' ({path}): {problem}"


@pytest.mark.parametrize("value", [object(), [object()], {"a": {1, 2}}, Path("x"), b"x"])
def test_only_plain_data_is_given_to_a_template(
    value: object, write: Write, tmp_path: Path
) -> None:
    write("a.j2", "{{ v }}")
    with pytest.raises(TemplateError, match=r"variable 'v' is a .*Give text, a number"):
        Templates([tmp_path]).render("a", {"v": value})


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("---\nvariables:\n", "1:1", "the front matter has no closing '---' line"),
        ("---\n- a\n---\n", "2:1", ("front matter must be a mapping with 'name', "
         "'description', 'tags', 'variables', 'track', 'policy', 'sampling'")),
        ("---\ndescripton: x\n---\n", "2:1",
         "unknown field 'descripton' in front matter. Did you mean 'description'?"),
        ("---\ndescription: 3\n---\n", "2:14", "'description' must be of type string"),
        ("---\nname: b\n---\n", "2:7", ("'name' is 'b', but the file's location makes it 'a'. "
         "Remove the line or move the file.")),
        ("---\nvariables: [x]\n---\n", "2:12", "'variables' must be of type mapping"),
        ("---\nvariables:\n  x: text\n---\n", "3:6",
         "variable 'x' must be a mapping with 'type', 'default', 'description'"),
        ("---\nvariables:\n  x: {typ: string}\n---\n", "3:7",
         "unknown field 'typ' in variable 'x'. Did you mean 'type'?"),
        ("---\nvariables:\n  x: {type: sting}\n---\n", "3:13",
         "no type is named 'sting'. Did you mean 'string'?"),
        ("---\nvariables:\n  x: {description: 1}\n---\n", "3:20",
         "'description' must be of type string"),
        ("---\nvariables:\n  a-b: {}\n---\n", "3:3",
         "'a-b' is not a variable name. Use letters, digits and '_'."),
        ("---\nvariables:\n  x: {type: list, default: 1}\n---\n", "3:28",
         "the default 1 is not of type list"),
        ("---\ntags: [a, 1]\n---\n", "2:11", "'tags' must be a list of strings"),
        ("---\ntrack: a\npolicy: b\n---\n", "3:1",
         "'track' and 'policy' exclude each other: keep one"),
        ("---\nsampling: {temprature: 1}\n---\n", "2:12",
         "unknown field 'temprature' in sampling. Did you mean 'temperature'?"),
        ("---\nsampling: {temperature: hot}\n---\n", "2:25",
         "'temperature' must be of type number"),
        ("---\nsampling: {temperature: -1}\n---\n", "2:25",
         "'temperature' must be at least 0, not -1"),
        ("---\nsampling: {top_p: 0}\n---\n", "2:19", "'top_p' must be greater than 0, not 0"),
        ("---\nsampling: {stop: [[]]}\n---\n", "2:19", "'stop' must be a list of strings"),
        ("---\nname: a\nname: a\n---\n", "3:1", "the key 'name' is duplicated, first on line 2"),
    ],
)  # fmt: skip
def test_front_matter_that_does_not_fit_is_said_with_its_place(
    text: str, place: str, problem: str, write: Write, tmp_path: Path
) -> None:
    path = write("a.j2", text)
    with pytest.raises(TemplateError) as caught:
        Templates([tmp_path]).get("a")
    assert str(caught.value) == said(path, place, problem)


def test_a_file_that_is_no_text_or_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.j2").write_bytes(b"fine\n\xff")
    (tmp_path / "b.j2").write_bytes(b"x" * 300_000)
    templates = Templates([tmp_path])
    with pytest.raises(TemplateError, match=r"a\.j2:2: is not UTF-8"):
        templates.get("a")
    with pytest.raises(TemplateError, match="larger than 250000 bytes"):
        templates.get("b")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(write: Write, tmp_path: Path) -> None:
    write("a.j2", "x").chmod(0)
    with pytest.raises(TemplateError, match="cannot be read: Permission denied"):
        Templates([tmp_path]).get("a")


def test_what_is_included_has_to_exist(write: Write, tmp_path: Path) -> None:
    path = write("a.j2", "{% include 'part' %}")
    with pytest.raises(TemplateError) as caught:
        Templates([tmp_path]).render("a")
    assert str(caught.value).startswith(f"template 'a' ({path}) includes a missing template: ")


@given(st.text() | st.text(alphabet="-\n{}%: ab[]&*!'\"#"))
def test_front_matter_raises_nothing_but_template_errors(text: str) -> None:
    try:
        shown = parse_template("a", Path("a.j2"), f"---\n{text}\n---\nbody").name
    except TemplateError as error:
        shown = str(error)
    assert "a" in shown


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_speaks_for_the_assistant(preset: str) -> None:
    templates = Templates([templates_dir()])
    text = templates.render(f"system/{preset}")
    assert text.startswith("You are Vanta, ")
    assert "say so" in text
    assert templates.get(f"system/{preset}").description
    assert len(text) < 500


def test_presets_take_what_the_application_adds() -> None:
    given = {"assistant_name": "Bo", "user_name": "Ada", "language": "French"}
    text = Templates([templates_dir()]).render(
        "system/default", {**given, "instructions": "The shop closes at six.\n"}
    )
    assert text.startswith("You are Bo, a helpful assistant.\n")
    assert "Always answer in French.\nThe user's name is Ada.\n" in text
    assert text.endswith("\n\nThe shop closes at six.")


def test_the_presets_are_five_and_differ() -> None:
    templates = Templates([templates_dir()])
    names = [name for name in templates.list() if name.startswith("system/")]
    assert names == [f"system/{preset}" for preset in PRESETS]
    assert len({templates.render(name) for name in names}) == 5


def test_the_takeover_shows_the_text_to_the_letter_and_names_the_anchor() -> None:
    shown = "  Dear {{ user }},\n\nthe <b>answ"
    templates = Templates([templates_dir()])
    text = templates.render("takeover/continue", {"shown": shown, "anchor": "the <b>answ"})
    assert f"<already_shown>\n{shown}\n</already_shown>" in text
    assert "from there:\n\nthe <b>answ\n" in text
    assert "first character" in templates.render("takeover/continue", {"shown": shown})


def test_importing_vanta_and_its_prompts_loads_neither_jinja_nor_yaml() -> None:
    code = "import sys, vanta, vanta.prompts; print({'jinja2', 'yaml'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_template_that_changed_since_its_folder_was_trusted_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / ".vanta" / "templates"
    folder.mkdir(parents=True)
    path = folder / "a.j2"
    path.write_text("one")
    digests = {".vanta/templates/a.j2": hashlib.sha256(b"one").hexdigest()}
    templates = Templates([folder], trusted={tmp_path: digests})
    assert templates.render("a") == "one"
    path.write_text("another")
    with pytest.raises(TemplateError, match=r"has changed since .* was trusted.*vanta trust"):
        templates.render("a")
    (folder / "b.j2").write_text("new")
    with pytest.raises(TemplateError, match="was trusted"):
        templates.render("b")


def test_a_pipe_among_the_templates_is_no_template(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.j2")
    assert Templates([tmp_path]).list() == ()
