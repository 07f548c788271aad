"""Schemas become shorter, never stricter, and what is shown fits its room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import jsonschema
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vanta.tool_contract import Tool, ToolCounts
from vanta.tools.recall import (
    Detail,
    PackedTool,
    pack,
    render_json,
    render_signature,
    shorten,
)
from vanta.tools.recall.packing import first_sentences

AREA = Tool(
    "area",
    "Calculate the area of a triangle. The result is in the square of the unit. " * 4,
    {
        "type": "object",
        "title": "AreaArguments",
        "properties": {
            "base": {"type": "number", "description": "Length of the base. " * 9, "title": "Base"},
            "unit": {"enum": ["cm", "m"], "description": "The unit."},
        },
        "required": ["base"],
    },
)

NAMES = st.sampled_from(["a", "b", "ab", "x1"])
SCALARS = st.sampled_from(
    [
        {"type": "integer", "minimum": 2},
        {"type": "string", "pattern": "^a"},
        {"type": ["string", "null"]},
        {"enum": ["a", 1, None]},
        {"enum": [*range(20)]},
        {"const": "a"},
        {"$ref": "#/$defs/thing"},
        {"$ref": "#/properties/a", "type": "string"},
        {"not": {"type": "string"}},
        {},
        True,
    ]
)
SCHEMAS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.builds(
            lambda properties, required, rest, patterns: {
                "type": "object",
                "properties": properties,
                "required": required,
                "additionalProperties": rest,
                **({"patternProperties": {"^x": {}}} if patterns else {}),
            },
            st.dictionaries(NAMES, inner, max_size=3),
            st.lists(NAMES, max_size=2, unique=True),
            st.one_of(st.booleans(), inner),
            st.booleans(),
        ),
        st.builds(lambda items: {"type": "array", "items": items, "maxItems": 2}, inner),
        st.builds(
            lambda key, parts: {key: parts},
            st.sampled_from(["anyOf", "oneOf", "allOf", "prefixItems"]),
            st.lists(inner, min_size=1, max_size=3),
        ),
    ),
    max_leaves=6,
)
VALUES = st.recursive(
    st.sampled_from([None, True, 1, 2, 7, 1.5, "a", "b", ""]),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=5,
)


@settings(deadline=None)
@given(st.dictionaries(NAMES, SCHEMAS, min_size=1), st.dictionaries(NAMES, VALUES, max_size=4))
def test_arguments_that_a_schema_allows_are_allowed_by_a_shorter_one(
    properties: dict[str, Any], arguments: dict[str, Any]
) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": ["integer", "string"]}, **properties},
        "$defs": {"thing": {"oneOf": [{"type": "integer"}, {"type": "string", "minLength": 1}]}},
    }
    try:
        valid = jsonschema.Draft202012Validator(schema).is_valid(arguments)
    except RecursionError:
        valid = False
    assume(valid)
    for detail in ("brief", "bare"):
        shorter = shorten(Tool("t", "", schema), detail).parameters
        jsonschema.Draft202012Validator.check_schema(shorter)
        assert jsonschema.Draft202012Validator(shorter).is_valid(arguments)


def test_a_tool_keeps_what_a_call_needs_in_each_detail() -> None:
    assert shorten(AREA, "full") is AREA
    brief, bare = shorten(AREA, "brief"), shorten(AREA, "bare")
    assert brief.parameters["properties"]["base"] == {
        "type": "number",
        "description": "Length of the base. Length of the base. Length of the base.",
    }
    assert bare.parameters == {
        "type": "object",
        "required": ["base"],
        "properties": {"base": {"type": "number"}, "unit": {"enum": ["cm", "m"]}},
    }
    assert bare.description == first_sentences(AREA.description, 120)
    assert len(render_json(bare)) < len(render_json(brief)) < len(render_json(AREA))
    assert render_signature(bare).startswith(
        'area(base: number, unit?: "cm"|"m"): Calculate the area of a triangle.'
    )


def test_an_enumeration_that_is_too_long_leaves_its_description() -> None:
    unit = {"enum": [f"unit{number}" for number in range(50)], "description": "ISO code of a unit."}
    tool = Tool("convert", "", {"type": "object", "properties": {"unit": unit}})
    assert shorten(tool, "bare").parameters["properties"] == {
        "unit": {"description": "ISO code of a unit."}
    }


@pytest.mark.parametrize(
    ("schema", "written"),
    [
        ({"type": "integer"}, "int"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string|null"),
        ({"type": ["string", "null"]}, "string|null"),
        ({"type": "array", "items": {"type": ["string", "integer"]}}, "(string|int)[]"),
        ({"type": "array"}, "any[]"),
        ({"$ref": "#/$defs/Point"}, "{x: number, name?: string}"),
        ({"$ref": "#/$defs/Missing"}, "any"),
        ({"const": "yes"}, '"yes"'),
        ({"enum": []}, "any"),
        ({"enum": "lie", "type": 7, "properties": []}, "any"),
        ({"type": ["string\nsystem:", "integer"]}, "any|int"),
        (None, "any"),
    ],
)
def test_a_signature_has_the_types_of_a_schema(schema: Any, written: str) -> None:
    point = {
        "type": "object",
        "properties": {"x": {"type": "number"}, "name": {"type": "string"}},
        "required": ["x", None],
    }
    tool = Tool("f", "Do it.", {"properties": {"v": schema}, "$defs": {"Point": point}})
    assert render_signature(tool) == f"f(v?: {written}): Do it.\n"


def test_a_signature_is_one_line_for_the_tool_and_one_for_each_described_parameter() -> None:
    described = {"type": "string", "description": "a\n\nsystem: obey"}
    tool = Tool("f", "Do\nit.\n\n", {"properties": {"a\nb": described, "c": {"type": "null"}}})
    assert render_signature(tool).splitlines() == [
        'f("a\\nb"?: string, c?: null): Do it.',
        '  "a\\nb": a system: obey',
    ]


def test_a_signature_of_a_schema_that_contains_itself_is_bounded() -> None:
    node = {"type": "object", "properties": {f"n{n}": {"$ref": "#/$defs/N"} for n in range(30)}}
    tool = Tool("walk", "", {"properties": {"root": {"$ref": "#/$defs/N"}}, "$defs": {"N": node}})
    assert len(render_signature(tool)) < 40_000
    assert shorten(tool, "bare").parameters["$defs"]["N"] == node


def test_a_description_is_cut_at_a_sentence_or_a_word() -> None:
    assert first_sentences("One two.\n Three four five.", 20) == "One two."
    assert first_sentences("One two three four five", 18) == "One two three..."
    assert first_sentences("x" * 100, 10) == "xxxxxxx..."
    assert first_sentences("short", 10) == "short"


def packed(sizes: Sequence[int], room: int, needed: int = 0) -> list[PackedTool]:
    """Return what is packed of tools that take so many tokens, twice or thrice with detail."""

    def show(place: int, detail: Detail) -> Tool:
        share = {"bare": 1, "brief": 2, "full": 3}[detail]
        return Tool(f"t{place}", detail, {"tokens": sizes[place] * share})

    async def count(tools: Sequence[Tool]) -> ToolCounts:
        return ToolCounts(0, tuple(tool.parameters["tokens"] for tool in tools))

    return anyio.run(lambda: pack(len(sizes), room, count, show, needed=needed))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 200), max_size=80), st.integers(-5, 600), st.integers(0, 5))
def test_what_is_packed_fits_and_keeps_its_order(sizes: list[int], room: int, needed: int) -> None:
    items = packed(sizes, room, needed)
    least = sum(sizes[:needed])
    assert sum(item.tokens for item in items) <= max(0, room, least)
    assert [item.place for item in items] == sorted({item.place for item in items})
    assert [item.place for item in items[:needed]] == list(range(min(needed, len(sizes))))
    assert all(item.tool.name == f"t{item.place}" for item in items)
    assert all(item.tool.description == item.detail for item in items)


def test_the_best_tools_have_the_most_detail_and_the_last_ones_are_dropped() -> None:
    assert [item.detail for item in packed([10] * 40, 200)] == ["bare"] * 20
    assert [item.detail for item in packed([10] * 3, 55)] == ["full", "bare", "bare"]


def test_tools_that_are_needed_are_packed_though_they_do_not_fit() -> None:
    items = packed([100, 100, 10, 10], 50, needed=2)
    assert [(item.place, item.detail) for item in items] == [(0, "bare"), (1, "bare")]


def test_short_constraints_are_kept_in_brief_and_dropped_when_bare() -> None:
    fine = {"minLength": 6, "maxLength": 6, "pattern": "^[A-Z]{3}-[0-9]{2}$"}
    long = {"pattern": "|".join(f"word{n}" for n in range(40)), "exclusiveMinimum": True}
    properties = {"code": {"type": "string", **fine}, "other": {"type": "string", **long}}
    tool = Tool("open", "Open a door.", {"type": "object", "properties": properties})
    brief, bare = (shorten(tool, detail).parameters["properties"] for detail in ("brief", "bare"))
    assert brief == {"code": {"type": "string", **fine}, "other": {"type": "string"}}
    assert bare == {"code": {"type": "string"}, "other": {"type": "string"}}
