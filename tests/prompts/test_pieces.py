"""A rendered text, cut where another file or another variable speaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta.installation import templates_dir
from vanta.prompts import RenderLimits, Templates

Told = list[tuple[str, str]]


def pieces(folder: Path, body: str, limits: RenderLimits | None = None, **values: Any) -> Told:
    """Who says what: `t` is the template itself."""
    (folder / "t.j2").write_text(body, encoding="utf-8")
    templates = Templates([folder], limits=limits or RenderLimits())
    return [(piece.name, piece.text) for piece in templates.spans("t", values)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("Hi {{ a }}!", [("t", "Hi "), ("a", "A"), ("t", "!")]),
        ("{{ a | upper | indent }}{{ a }}", [("a", "AA")]),
        ("{{ a ~ b }}", [("a, b", "AB")]),
        ("{{ 'x' }}{{ 1 }} y", [("t", "x1 y")]),
        ("{% for x in l %}-{{ x }}{% endfor %}",
         [("t", "-"), ("l", "1"), ("t", "-"), ("l", "2")]),
        ("{% for x in l %}{% set y = x %}{{ y }}{% endfor %}", [("l", "12")]),
        ("{% if a %}x{% endif %}{% set z = 3 %}{{ z }}", [("t", "x3")]),
        ("{% macro m(x) %}({{ x }}){% endmacro %}{{ m(a) }}", [("t", "("), ("t", "A"), ("t", ")")]),
        ("{% filter upper %}x{{ a }}{% endfilter %}", [("t", "X"), ("a", "A")]),
        ("\n\n{{ a }}\n\n", [("a", "A")]),
        ("", []),
    ],
)  # fmt: skip
def test_every_stretch_is_named(body: str, expected: Told, tmp_path: Path) -> None:
    merged: Told = []
    for name, text in expected:
        if merged and merged[-1][0] == name:
            text = merged.pop()[1] + text  # noqa: PLW2901
        merged.append((name, text))
    assert pieces(tmp_path, body, a="A", b="B", l=[1, 2]) == merged


def test_what_is_included_or_extended_speaks_for_itself(tmp_path: Path) -> None:
    (tmp_path / "_base.j2").write_text("base {% block b %}own{% endblock %} {% include '_in' %}")
    (tmp_path / "_in.j2").write_text("in {{ a }}")
    found = pieces(
        tmp_path, "{% extends '_base' %}{% block b %}{{ super() }}+{% endblock %}", a="A"
    )
    assert found == [("_base", "base own"), ("t", "+"), ("_base", " "), ("_in", "in "), ("a", "A")]


@pytest.mark.parametrize(
    "body",
    [
        "{% set x %}a{% endset %}{{ x | length }}",
        "{% macro m() %}a{% endmacro %}{{ m() | truncate(3) }}{{ (m() | length) > 2 }}",
    ],
)
def test_where_marks_would_change_the_text_it_is_one_piece(body: str, tmp_path: Path) -> None:
    text = Templates([tmp_path])
    found = pieces(tmp_path, body)
    assert found == [("t", text.render("t"))]


def test_a_text_too_long_for_marks_is_one_piece(tmp_path: Path) -> None:
    limits = RenderLimits(characters=40)
    assert pieces(tmp_path, "{{ a }}{{ b }}", limits, a="a" * 20, b="b" * 20) == [
        ("t", "a" * 20 + "b" * 20)
    ]


@given(st.text(alphabet="ab \n\ue000\ue001\ue100\ue101", max_size=12), st.text(max_size=12))
def test_the_pieces_joined_are_the_text_whatever_the_values(name: str, more: str) -> None:
    templates = Templates([templates_dir()])
    values = {"user_name": name, "instructions": more}
    text = templates.render("system/technical", values)
    found = templates.spans("system/technical", values)
    assert "".join(piece.text for piece in found) == text
