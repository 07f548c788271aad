"""`vanta templates`, as a user meets it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.as_user import Run
from tests.cli.stage import COMMAND, Stage
from tests.cli.terminal import Terminal

Write = Callable[[str, str], Path]


@pytest.fixture
def mine(tmp_path: Path) -> Write:
    """Writes a template of the user's own."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / "data" / "templates" / f"{name}.j2"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def named(found: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (one,) = (each for each in found if each["name"] == name)
    return one


GREETING = """---
description: Greets.
tags: [polite]
track: local
sampling: {temperature: 0.5, stop: [END]}
variables:
  who: {type: string, description: Who is greeted.}
  times: {type: integer, default: 1, description: How often.}
  more: {type: list, default: []}
---
Hello {{ who }}, {{ times }}!{% for each in more %} {{ each }}{% endfor %}
"""


def test_list_shows_every_template_with_its_place_and_variables(vanta: Run, mine: Write) -> None:
    mine("greeting", GREETING)
    done = vanta("templates", "list")
    assert done.code == 0
    assert "greeting Greets. user who" in done.text
    assert "system/default (in use) Clear and direct" in done.text
    assert "_base" not in done.out
    one = named(vanta("templates", "list", "--json").json, "greeting")
    assert (one["place"], one["tags"], one["track"]) == ("user", ["polite"], "local")
    assert one["sampling"] == {"temperature": 0.5, "stop": ["END"]}
    assert [each["name"] for each in one["variables"]] == ["who", "times", "more"]
    assert named(vanta("templates", "list", "--json").json, "system/_base")["partial"]


def test_a_hidden_template_is_shown(vanta: Run, mine: Write) -> None:
    path = mine("system/short", "mine")
    done = vanta("templates", "list")
    assert f"system/short of {path} hides " in done.text
    assert named(vanta("templates", "list", "--json").json, "system/short")["hides"]
    assert "hides: " in vanta("templates", "show", "system/short").out


def test_the_project_s_templates_are_found_beside_its_configuration(
    vanta: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "project" / ".vanta" / "templates"
    folder.mkdir(parents=True)
    (folder / "team.j2").write_text("Team")
    config = tmp_path / "project" / "my.toml"
    config.write_text('system = "short"')
    found = vanta("templates", "list", "--json", "--config", str(config)).json
    assert named(found, "team")["place"] == "project"
    assert named(found, "system/short")["in_use"]
    assert vanta("templates", "render", "team").code == 2


def test_a_broken_template_is_listed_as_broken_with_the_reason(vanta: Run, mine: Write) -> None:
    path = mine("bad", "---\nnmae: x\n---\n")
    done = vanta("templates", "list")
    assert done.code == 0
    assert f"broken: {path}:2:1: unknown field 'nmae'" in done.text
    assert "Did you mean" in named(vanta("templates", "list", "--json").json, "bad")["problem"]


def test_show_has_the_variables_the_settings_the_parts_and_the_text(
    vanta: Run, mine: Write
) -> None:
    mine("greeting", GREETING)
    done = vanta("templates", "show", "greeting")
    assert "who string needed Who is greeted." in done.text
    assert "times integer 1 How often." in done.text
    assert "track: local" in done.out
    assert "sampling: temperature 0.5, stop ('END',)" in done.out
    assert "Hello {{ who }}" in done.out
    data = vanta("templates", "show", "system/short", "--json").json
    assert data["parts"] == ["system/_base"]
    assert data["body"].startswith('{% extends "system/_base" %}')


def test_render_reads_each_value_as_its_declared_type(vanta: Run, mine: Write) -> None:
    mine("greeting", GREETING)
    values = ("-v", "who=Ada = Bo", "-v", "times=3", "-v", 'more=["a", "b"]')
    done = vanta("templates", "render", "greeting", *values)
    assert (done.code, done.out) == (0, "Hello Ada = Bo, 3! a b\n")
    data = vanta("templates", "render", "greeting", "-v", "who=1", "--json").json
    assert data == {"name": "greeting", "text": "Hello 1, 1!", "costs": None}


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ((), "variable 'who' is missing (Who is greeted)"),
        (("who=x", "times=often"),
         ("variable 'times' (How often) must be of type integer, not 'often'. "
          "Write it as in '-v times=3'.")),
        (("who=x", "more=a"), "must be of type list, not 'a'"),
        (("whom=x",), "no variable of 'greeting' is named 'whom'. Did you mean 'who'?"),
        (("who",), "'who' has no value. Write '-v who=VALUE'."),
    ],
)  # fmt: skip
def test_values_that_do_not_fit_end_in_2_and_are_explained(
    given: tuple[str, ...], problem: str, vanta: Run, mine: Write
) -> None:
    mine("greeting", GREETING)
    options = [part for value in given for part in ("-v", value)]
    done = vanta("templates", "render", "greeting", *options)
    assert (done.code, done.out) == (2, "")
    assert problem in done.text


def test_a_system_prompt_gets_the_variables_of_a_session(
    vanta: Run, mine: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine("system/pirate", "{{ user }} of the {{ ship }}")
    monkeypatch.setenv("VANTA_VARIABLES__SHIP", "Vanta")
    assert vanta("templates", "render", "system/pirate").out == "default of the Vanta\n"
    done = vanta("templates", "render", "system/pirate", "-v", "user=ada", "-v", "ship=Argo")
    assert done.out == "ada of the Argo\n"
    assert vanta("templates", "check", "system/pirate").code == 0


def test_the_costs_are_the_engine_s_own_and_add_up(
    vanta: Run, smollm2_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llama_cpp import Llama

    monkeypatch.setenv("VANTA_TRACKS__LOCAL__MODEL", str(smollm2_path))
    argv = ("templates", "render", "system/default", "-v", "language=French", "-t", "local")
    data = vanta(*argv, "--json").json
    costs = data["costs"]
    prompt = f"<|im_start|>system\n{data['text']}<|im_end|>\n<|im_start|>assistant\n"
    model = Llama(str(smollm2_path), vocab_only=True, verbose=False)
    expected = model.tokenize(prompt.encode(), add_bos=False, special=True)
    assert (costs["tokens"], costs["exact"]) == (len(expected), True)
    assert sum(part["tokens"] for part in costs["parts"]) + costs["around"] == costs["tokens"]
    assert sum(part["characters"] for part in costs["parts"]) == len(data["text"])
    by_name = {(part["kind"], part["name"]): part for part in costs["parts"]}
    assert by_name["variable", "language"] == {
        "kind": "variable", "name": "language", "characters": 6, "tokens": 1,
    }  # fmt: skip
    assert by_name["template", "system/_base"]["tokens"] > 10
    shown = vanta(*argv)
    assert f"{costs['tokens']} tokens in all on track local" in shown.text
    assert "variable language 6 1" in shown.text


def test_a_track_that_is_off_or_unknown_cannot_count(vanta: Run) -> None:
    done = vanta("templates", "render", "system/short", "--track", "api")
    assert (done.code, done.out) == (2, "")
    assert "OPENAI_API_KEY" in done.err
    assert "Did you mean 'local'?" in vanta("templates", "render", "system/short", "-t", "locl").err


def test_new_creates_a_valid_template_and_never_replaces_one(vanta: Run, tmp_path: Path) -> None:
    path = tmp_path / "data/templates/system/pirate.j2"
    done = vanta("templates", "new", "system/pirate")
    assert (done.code, done.out) == (0, f"{path}\n")
    assert 'system = "pirate"' in done.err
    assert vanta("templates", "new", "letter").code == 0
    assert vanta("templates", "check").code == 0
    text = path.read_text()
    again = vanta("templates", "new", "system/pirate")
    assert (again.code, path.read_text()) == (2, text)
    assert "exists already" in again.err
    assert "is not a valid template name" in vanta("templates", "new", "../pirate").err


def test_new_copies_another_and_can_go_to_the_project(vanta: Run, tmp_path: Path) -> None:
    done = vanta("templates", "new", "system/short", "--from", "system/short", "--project")
    path = tmp_path / ".vanta/templates/system/short.j2"
    assert done.out == f"{path}\n"
    assert "it hides " in done.err
    assert path.read_text() == (Path(__file__).parents[2] / "templates/system/short.j2").read_text()


BAD = """---
track: lcoal
variables:
  who: {type: string, description: Who is greeted.}
  tone: {default: calm}
---
Hi {{ whom }}
"""


def test_check_finds_problems_and_ends_in_2(vanta: Run, mine: Write) -> None:
    path = mine("bad", BAD)
    done = vanta("templates", "check", "bad", "--json")
    assert done.code == 2
    assert [each["problem"] for each in done.json["problems"]] == [
        f"{path}:4: declares 'who', which nothing uses. Remove it.",
        f"{path}:5: declares 'tone', which nothing uses. Remove it.",
        f"{path}:7: uses 'whom', which no front matter declares. Did you mean 'who'?",
        f"{path}:2: no track is named 'lcoal'. Did you mean 'local'?",
    ]
    shown = vanta("templates", "check")
    assert shown.code == 2
    assert f"{path}:7: uses 'whom'" in shown.text


def test_the_shipped_templates_have_no_problem(vanta: Run) -> None:
    done = vanta("templates", "check", "--json")
    assert (done.code, done.json["problems"]) == (0, [])
    assert done.json["checked"] >= 8


def test_check_takes_files_and_folders_anywhere(vanta: Run, tmp_path: Path) -> None:
    folder = tmp_path / "work" / "templates" / "system"
    folder.mkdir(parents=True)
    (folder / "a.j2").write_text(
        '{% extends "system/_base" %}{% block role %}{{ user }}{% endblock %}'
    )
    (folder / "b.j2").write_text("{{ nobody }}")
    assert vanta("templates", "check", str(folder / "a.j2")).code == 0
    data = vanta("templates", "check", "work", "--json").json
    assert (data["checked"], len(data["problems"])) == (2, 1)
    assert "b.j2:1: uses 'nobody'" in data["problems"][0]["problem"]
    assert "does not exist" in vanta("templates", "check", "gone.j2").err
    assert "no template is named 'gone'" in vanta("templates", "check", "gone").err


def test_control_characters_are_replaced(vanta: Run, mine: Write) -> None:
    mine("wild", "a\x1b[31mb{{ x }}")
    assert "\x1b" not in vanta("templates", "render", "wild", "-v", "x=\x1b[0m").out
    assert "\x1b" not in vanta("templates", "show", "wild").out


def test_chat_uses_an_edited_template_in_a_later_turn(stage: Stage) -> None:
    folder = stage.folder / "data" / "templates" / "system"
    folder.mkdir(parents=True)
    (folder / "mine.j2").write_text("---\ntrack: local\n---\nold")
    environ = {**stage.environ, "VANTA_SYSTEM": "mine", "COLUMNS": "160"}
    with Terminal([*COMMAND, "chat"], environ) as terminal:
        terminal.expect("policy track local")
        terminal.type("echo one\n")
        terminal.expect("in all")
        (folder / "mine.j2").write_text("---\ntrack: api\n---\nnew")
        for _ in range(200):  # files are looked at once a second
            terminal.type("echo again\n")
            if "the api answers" in terminal.expect("in all"):
                break
        else:
            pytest.fail(terminal.text)
        terminal.type("/exit\n")
        assert terminal.end() == 0
