"""What is found wrong with a template before anybody renders it."""

from __future__ import annotations

from pathlib import Path

import pytest

from vanta.prompts import Templates


def check(folder: Path, name: str = "t", given: tuple[str, ...] = (), **files: str) -> list[str]:
    for key, text in files.items():
        (folder / f"{key}.j2").write_text(text, encoding="utf-8")
    found = Templates([folder]).check(name, given)
    return [problem.replace(f"{folder}/", "") for problem in found]


DECLARES = "---\nvariables:\n  {}: {{default: x}}\n---\n"


@pytest.mark.parametrize(
    "body",
    [
        "Hello",
        DECLARES.format("a") + "{{ a }}",
        "{% set a = 1 %}{{ a }}",
        "{% for a in range(3) %}{{ loop.index }}{{ a }}{% endfor %}",
        "{% macro m(a) %}{{ a }}{{ caller() }}{% endmacro %}{% call m(1) %}x{% endcall %}",
        "{% set n = namespace(a=1) %}{% set n.a = 2 %}{{ n.a }}",
        "{% block b %}{% endblock %}{{ self.b() }}",
        DECLARES.format("a") + "{% include a %}",
    ],
)
def test_what_is_fine_is_not_complained_of(body: str, tmp_path: Path) -> None:
    (tmp_path / "x.j2").write_text("x")
    assert check(tmp_path, t=body) == []


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("\n{{ a }}", ("t.j2:2: uses 'a', which no front matter declares. "
         "Declare it there under 'variables'.")),
        (DECLARES.format("who") + "{{ who }}{{ whom }}",
         "t.j2:5: uses 'whom', which no front matter declares. Did you mean 'who'?"),
        (DECLARES.format("a") + "x", "t.j2:3: declares 'a', which nothing uses. Remove it."),
        ("{% if %}",
         "template 't' (t.j2:1): Expected an expression, got 'end of statement block'."),
        ("\n{{ 1|center }}", "template 't' (t.j2:2): No filter named 'center'."),
        ("{{ 1 / 0 }}", "template 't' (t.j2:1) failed: ZeroDivisionError: division by zero"),
    ],
)  # fmt: skip
def test_a_problem_is_told_with_its_line(body: str, problem: str, tmp_path: Path) -> None:
    assert check(tmp_path, t=body) == [problem]


def test_what_is_always_given_needs_no_declaration(tmp_path: Path) -> None:
    assert check(tmp_path, given=("user",), t="{{ user }}") == []


def test_a_part_is_judged_with_the_whole(tmp_path: Path) -> None:
    whole = DECLARES.format("a") + "{% set b = 1 %}{% include '_part' %}"
    part = DECLARES.format("c") + "{{ a }}{{ b }}{{ c }}"
    assert check(tmp_path, t=whole, _part=part) == []
    assert check(tmp_path, "_part") == []
    assert check(tmp_path, t="{% include '_part' %}") == [
        "_part.j2:5: uses 'a', which no front matter declares. Declare it there under 'variables'.",
        "_part.j2:5: uses 'b', which no front matter declares. Declare it there under 'variables'.",
    ]


def test_a_variable_of_a_base_may_be_for_those_who_extend_it(tmp_path: Path) -> None:
    base = DECLARES.format("tone") + "{% block b %}{% endblock %}"
    uses = "{% extends '_base' %}{% block b %}{{ tone }}{% endblock %}"
    assert check(tmp_path, "_base", _base=base, t=uses) == []
    assert check(tmp_path, "_base", t="{% extends '_base' %}") == [
        "_base.j2:3: declares 'tone', which nothing uses. Remove it."
    ]


def test_a_template_that_is_not_there_or_includes_what_is_not_is_a_problem(tmp_path: Path) -> None:
    assert check(tmp_path, "gone")[0].startswith("no template is named 'gone'")
    (problem,) = check(tmp_path, t="{% include 'gone' %}")
    assert problem.startswith("template 't' (t.j2) includes a missing template")
    assert check(tmp_path, "other", other="fine") == []
