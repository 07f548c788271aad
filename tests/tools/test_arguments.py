"""Whatever a model writes as arguments: valid ones, or an error that it can act on."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta.errors import ToolError
from vanta.tools.arguments import (
    MAX_ARGUMENT_CHARACTERS,
    canonical,
    check_arguments,
    read_arguments,
    schema_problem,
)


def schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


CITY = {**schema(city={"type": "string"}, days={"type": "integer"}), "required": ["city"]}
ANY = {"type": "object"}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@pytest.mark.parametrize("text", ["", "  \n", "{}"])
def test_no_text_stands_for_no_arguments(text: str) -> None:
    assert read_arguments(text, ANY) == {}


def test_valid_arguments_are_read() -> None:
    assert read_arguments('{"city": "Oslo", "days": 2}', CITY) == {"city": "Oslo", "days": 2}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ('{"city": "Oslo"', "not JSON"),
        ("{'city': 'Oslo'}", "not JSON"),
        ('{"city": "Oslo"} {}', "not JSON"),
        ("[1]", "an array"),
        ('"{}"', "a text"),
        ("null", "null"),
        ("true", "a truth value"),
        ('{"city": NaN}', "NaN"),
        ('{"city": -Infinity}', "-Infinity"),
        ('{"city": 1e999}', "too large"),
        ('{"city": ' + "9" * 5000 + "}", "digits"),
        ('{"city": "a", "city": "b"}', "'city' twice"),
        ("[" * 100_000, "nested too deeply"),
        ('{"city": ' + "[" * 70 + "]" * 70 + "}", "64 deep"),
        ('{"city": "' + "x" * MAX_ARGUMENT_CHARACTERS + '"}', "more than 1000000"),
        ("{}", "'city' is missing"),
        ('{"city": 3}', "city: 3 is not of type 'string'"),
        ('{"city": "Oslo", "days": 1.5}', "days: 1.5 is not of type 'integer'"),
        ('{"ctiy": "Oslo"}', "Did you mean 'city'?"),
        ('{"city": "' + "x" * 5000 + '", "days": "y"}', "days: 'y' is not"),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str) -> None:
    with pytest.raises(ToolError) as caught:
        read_arguments(text, CITY)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 1500


def test_a_wrong_item_is_named_by_its_place() -> None:
    nested = schema(rows={"type": "array", "items": schema(id={"type": "integer"})})
    with pytest.raises(ToolError, match=r"rows\[1\]\.id: 'b' is not of type 'integer'"):
        read_arguments('{"rows": [{"id": 1}, {"id": "b"}]}', nested)


def test_halves_of_characters_are_replaced() -> None:
    (text,) = read_arguments('{"city": "\\ud83d"}', CITY).values()
    assert text == "\ufffd"


def test_the_order_and_the_white_space_of_arguments_do_not_count() -> None:
    first = read_arguments('{"b": {"y": 1, "x": [1, 2]}, "a": "é"}', ANY)
    second = read_arguments(' {"a":"\\u00e9","b":{"x":[1,2],"y":1}} ', ANY)
    assert canonical(first) == canonical(second) == '{"a":"é","b":{"x":[1,2],"y":1}}'


def test_a_number_stays_as_json_has_it() -> None:
    assert canonical(read_arguments('{"n": 1}', ANY)) == '{"n":1}'
    assert canonical(read_arguments('{"n": 1.0}', ANY)) == '{"n":1.0}'
    assert canonical({"n": True}) == '{"n":true}'


def test_what_is_not_json_has_no_canonical_text() -> None:
    cyclic: dict[str, Any] = {}
    cyclic["self"] = cyclic
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    values: list[Any] = [cyclic, {"n": float("nan")}, {"n": {1, 2}}, {"n": deep}, {1: "a", "b": 2}]
    for value in values:
        with pytest.raises(ToolError, match="not JSON"):
            canonical(value)


@given(st.dictionaries(st.text(), JSON))
def test_canonical_texts_are_equal_only_for_equal_arguments(value: dict[str, Any]) -> None:
    text = canonical(value)
    again = read_arguments(text, ANY)
    assert canonical(again) == text
    assert canonical(dict(reversed(list(again.items())))) == text


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (None, "must be a mapping"),
        ({}, "needs"),
        ({"type": "string"}, "needs"),
        ({"type": "object", "properties": {"a": {"type": "text"}}}, "not valid"),
        ({"type": "object", "properties": []}, "not valid"),
        ({"type": "object", "default": float("nan")}, "not JSON"),
        ({"type": "object", "default": object()}, "not JSON"),
        ({"type": "object", "description": "x" * 200_000}, "characters"),
        ({"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:1/x"}}}, "not fetched"),
        ({"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}}, "not fetched"),
    ],
)
def test_a_schema_that_cannot_serve_is_refused_with_the_reason(broken: Any, words: str) -> None:
    assert words in (schema_problem(broken) or "")


def test_a_schema_may_refer_to_its_own_definitions_and_name_an_older_draft() -> None:
    own = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {"at": {"$ref": "#/definitions/place"}},
        "definitions": {"place": {"type": "string", "minLength": 2}},
    }
    assert schema_problem(own) is None
    assert read_arguments('{"at": "ab"}', own) == {"at": "ab"}
    with pytest.raises(ToolError, match="too short"):
        read_arguments('{"at": "a"}', own)


@pytest.mark.parametrize(
    "endless", [{"$ref": "#"}, {"$ref": "#/nowhere"}, {"allOf": [{"$ref": "#"}]}]
)
def test_a_schema_that_refers_to_itself_or_to_nothing_is_an_error(endless: Any) -> None:
    with pytest.raises(ToolError, match="cannot be applied"):
        check_arguments({}, {"type": "object", **endless})


@pytest.mark.parametrize(
    "keyword",
    [
        {"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}},
        {"patternProperties": {"^(a+)+$": {"type": "string"}}, "additionalProperties": False},
        {"propertyNames": {"pattern": "^(a|aa)+$"}},
    ],
)
def test_a_pattern_that_backtracks_costs_linear_time(keyword: Any) -> None:
    value = {"a": "a" * 40 + "!", "a" * 40 + "!": "b"}
    started = time.process_time()
    with pytest.raises(ToolError):
        check_arguments(value, {"type": "object", **keyword})
    assert time.process_time() - started < 5


@pytest.mark.parametrize(("keyword", "value"), [("anyOf", 1), ("allOf", "text"), ("oneOf", 1)])
def test_references_that_double_at_each_step_are_bounded(keyword: str, value: Any) -> None:
    steps = {
        f"s{number}": {keyword: [{"$ref": f"#/$defs/s{number + 1}"}] * 2} for number in range(40)
    }
    doubling = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/s0"}},
        "$defs": {**steps, "s40": {"type": "string"}},
    }
    assert schema_problem(doubling) is None
    with pytest.raises(ToolError, match="references"):
        check_arguments({"a": value}, doubling)
    check_arguments({}, doubling)


def test_unevaluated_properties_are_checked_unless_there_are_patterns() -> None:
    closed = {"type": "object", "properties": {"a": {}}, "unevaluatedProperties": False}
    with pytest.raises(ToolError):
        check_arguments({"b": 1}, closed)
    check_arguments({"a" * 40 + "!": 1}, {**closed, "patternProperties": {"^(a+)+$": {}}})


def test_long_arrays_are_compared_in_linear_time() -> None:
    unique = schema(rows={"type": "array", "uniqueItems": True})
    rows: list[Any] = [{"n": number} for number in range(20_000)]
    check_arguments({"rows": rows}, unique)
    with pytest.raises(ToolError, match="equal items"):
        check_arguments({"rows": [*rows, {"n": 5}]}, unique)
    with pytest.raises(ToolError, match="non-unique"):
        check_arguments({"rows": [1, 1.0]}, unique)


def test_patterns_and_additional_properties_are_checked() -> None:
    rules = {
        "type": "object",
        "patternProperties": {"^x_": {"type": "integer"}},
        "additionalProperties": {"type": "string", "pattern": "^[a-z]+$"},
    }
    check_arguments({"x_a": 1, "b": "text"}, rules)
    for wrong in ({"x_a": "1"}, {"b": 1}, {"b": "A"}):
        with pytest.raises(ToolError):
            check_arguments(wrong, rules)
    check_arguments({"a": "b"}, schema(a={"type": "string", "pattern": "^(?=b)"}))  # not checked


def test_many_mistakes_are_named_in_few_words() -> None:
    rows = schema(rows={"type": "array", "items": {"type": "integer"}})
    with pytest.raises(ToolError) as caught:
        read_arguments(json.dumps({"rows": ["x"] * 100_000}), rows)
    assert len(str(caught.value)) < 500
