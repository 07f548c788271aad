"""Test that grammars enforce their JSON schemas, and that other schemas are refused."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from vanta_llamacpp.sampling.json_schema import UNREACHABLE, UnsupportedSchemaError, grammar_of


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ({"type": "integer", "multipleOf": 3}, "multipleOf"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "allow no number"),
        ({"minimum": 3}, "limits without a type"),
        ({"type": "array", "items": {"type": "string"}, "uniqueItems": True}, "uniqueItems"),
        ({"type": "object", "properties": {}, "required": ["a"]}, "required"),
        ({"type": "string", "pattern": '^".$'}, "pattern"),
        ({"type": "string", "pattern": "^[^a]$"}, "pattern"),
        ({"type": "string", "pattern": "abc"}, "pattern"),
        ({"type": "text"}, "not a JSON Schema type"),
        ({"enum": []}, "no value is valid"),
        ({"type": "string", "enum": [1]}, "not of the type"),
        ({"type": "integer", "const": True}, "not of the type"),
        ({"type": ["string", "null"], "minLength": 3}, "list of types"),
        ({"$ref": "#/$defs/none"}, "is not defined"),
        ({"$ref": "https://example.com/schema"}, "is not defined"),
        ({"not": {"type": "string"}}, "not"),
        ({"type": "object", "properties": {"a": 3}}, "not a schema"),
        ({"allOf": [{"type": "object"}]}, "allOf"),
        ({"type": "object", "x": {1, 2}}, "cannot be converted"),
        ({"anyOf": []}, "no value is valid"),
        ({"type": []}, "no value is valid"),
        ({"type": "string", "minLength": 1 << 31}, "characters; at most 262144 are allowed"),
        ({"type": "string", "maxLength": UNREACHABLE}, "characters; at most 262144 are allowed"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "no value is valid"),
        ({"type": "string", "maxLength": -1}, "not a number of characters"),
        ({"type": "string", "minLength": True}, "not a number of characters"),
        ({"type": "string", "maxLength": "9"}, "not a number of characters"),
        ({"type": "array", "items": {"type": "null"}, "minItems": 1 << 31}, "are allowed"),
        ({"type": "array", "items": {"type": "null"}, "maxItems": 999_999}, "are allowed"),
        ({"type": "string", "pattern": "^a{2147483647}$"}, "are allowed"),
        ({"type": "string", "pattern": "^(a{1,99999999}){2}$"}, "are allowed"),
        ({"type": "string", "pattern": "^a{3,2}$"}, "a minimum above its maximum"),
        ({"type": "string", "pattern": "^[z-a]$"}, "is not a regular expression"),
        ({"type": "string", "pattern": "^[ -a]$"}, "pattern"),
        ({"type": "string", "pattern": "^[,-a]$"}, "pattern"),
    ],
)
def test_a_keyword_that_cannot_be_enforced_is_refused(schema: dict[str, Any], named: str) -> None:
    """The error names the keyword, which the converter itself would ignore."""
    with pytest.raises(UnsupportedSchemaError, match=named):
        grammar_of(schema)


def test_a_schema_nested_too_deeply_is_refused() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(2000):
        schema = {"type": "array", "items": schema}
    with pytest.raises(UnsupportedSchemaError):
        grammar_of(schema)


def test_strings_contain_no_control_characters() -> None:
    """JSON forbids them; the converter's own rule would allow them."""
    assert r"\x00-\x1F" in grammar_of({"type": "object", "properties": {"a": {"type": "string"}}})


def test_a_definition_may_have_the_name_of_a_built_in_rule() -> None:
    """A definition named "string" is not a string."""
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/string"}},
        "required": ["a"],
        "$defs": {"string": {"type": "integer"}},
    }
    grammar = grammar_of(schema)
    assert "integral-part" in grammar
    assert "char" not in grammar


@pytest.mark.parametrize(
    "bounds",
    [
        {"maxLength": (1 << 31) - 1},
        {"maxLength": UNREACHABLE + 1},
        {"minLength": 2, "maxLength": (1 << 31) - 1},
    ],
)
def test_a_maximum_that_no_answer_reaches_is_ignored(bounds: dict[str, int]) -> None:
    """OpenAI's clients often send one; as a grammar it would fill the memory."""
    began = time.monotonic()
    grammar = grammar_of({"type": "string", **bounds})
    assert grammar == grammar_of(
        {"type": "string", **{name: size for name, size in bounds.items() if name != "maxLength"}}
    )
    items = {"type": "array", "items": {"type": "integer"}}
    assert grammar_of({**items, "maxItems": (1 << 31) - 1}) == grammar_of(items)
    assert time.monotonic() - began < 5


def test_lengths_are_limited_together() -> None:
    """Each alone may be short enough."""
    some = {"type": "string", "maxLength": 900}
    assert grammar_of({"type": "object", "properties": {"a": some}})
    with pytest.raises(UnsupportedSchemaError, match="are allowed"):
        grammar_of({"type": "object", "properties": {f"p{i}": some for i in range(100)}})
    with pytest.raises(UnsupportedSchemaError, match="are allowed"):
        grammar_of({"type": "object", "properties": {"p" * 10_000: some}})


@pytest.mark.parametrize(
    "pattern", ["^[" + "a-z" * 40 + "$", "^" + "a" * 50_000 + '"', "^" + "[a-z]" * 10_000 + "!$"]
)
def test_a_pattern_is_checked_in_linear_time(pattern: str) -> None:
    began = time.monotonic()
    with pytest.raises(UnsupportedSchemaError, match="pattern"):
        grammar_of({"type": "string", "pattern": pattern})
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("pattern", ["^[a-z0-9_-]{2,3}$", "^[-a]+$", "^(a|b)[A-F]?$", "^[a-]*$"])
def test_usual_patterns_are_enforced(pattern: str) -> None:
    """Including a minus that is not a range."""
    assert "root" in grammar_of({"type": "string", "pattern": pattern})


def test_the_alternatives_of_a_pattern_stay_between_the_quotes() -> None:
    """`"a` alone is not JSON."""
    (root,) = re.findall("root ::= (.*)", grammar_of({"type": "string", "pattern": "^a|b$"}))
    assert re.fullmatch(r'"\\"" \(.*\) "\\"" space', root)


CAT = {"type": "object", "properties": {"kind": {"const": "cat"}}, "required": ["kind"]}
DOG = {"type": "object", "properties": {"kind": {"enum": ["dog", "pug"]}}}


@pytest.mark.parametrize(
    "branches",
    [
        [{"type": "integer"}, {"type": "number"}],
        [{"type": "integer"}, {"type": ["string", "number"]}],
        [{"const": 1}, {"enum": [2, 1.0]}],
        [{"type": "string"}, {"const": "a"}],
        [{"type": "string"}, {"type": "string", "maxLength": 3}],
        [{"type": "null"}, {"type": "string"}, {"type": "null"}],
        [DOG, DOG],
        [{**CAT, "required": []}, DOG],
        [{"properties": CAT["properties"]}, {"properties": DOG["properties"]}],
        [{"anyOf": [{"type": "null"}, {"type": "integer"}]}, {"type": "number"}],
        [{"$ref": "#/$defs/cat"}, {"$ref": "#/$defs/cat"}],
        [{"$ref": "#/$defs/round"}, {"type": "null"}],
        [{}, {"type": "null"}],
    ],
)
def test_branches_that_may_both_be_valid_are_refused(branches: list[dict[str, Any]]) -> None:
    """A value valid under both is not valid under oneOf; the converter would allow it."""
    with pytest.raises(UnsupportedSchemaError, match="oneOf"):
        grammar_of({"oneOf": branches, "$defs": {"cat": CAT, "round": {"$ref": "#/$defs/round"}}})


@pytest.mark.parametrize(
    "branches",
    [
        [{"type": "integer"}, {"type": "string"}, {"type": "null"}],
        [{"const": 1}, {"enum": [2, "1"]}, {"const": True, "type": "boolean"}],
        [CAT, DOG],
        [DOG, CAT],
        [{"$ref": "#/$defs/cat"}, DOG],
        [{"anyOf": [{"type": "null"}, {"$ref": "#/$defs/cat"}]}, {"type": "number"}, DOG],
        [{"oneOf": [{"type": "null"}, CAT]}, DOG],
    ],
)
def test_branches_that_exclude_each_other_are_allowed(branches: list[dict[str, Any]]) -> None:
    """By type, by constants, or by a required property."""
    assert grammar_of({"oneOf": branches, "$defs": {"cat": CAT}})


def test_a_large_oneof_is_refused_in_time() -> None:
    """Even if its branches are nested."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(3):
        schema = {"anyOf": [schema] * 12}
    began = time.monotonic()
    with pytest.raises(UnsupportedSchemaError):
        grammar_of({"oneOf": [schema, {"type": "null"}] * 2})
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("name", ["email", "uri", "made-up"])
def test_a_format_is_an_annotation(name: str) -> None:
    """The default of JSON Schema: any text is valid."""
    assert grammar_of({"type": "string", "format": name}) == grammar_of({"type": "string"})


def test_a_constant_that_looks_like_a_schema_is_a_value() -> None:
    value = {"properties": {"a": 1}, "additionalProperties": {"b": 2}, "maxLength": 1 << 40}
    grammar = grammar_of({"const": value})
    assert '\\"b\\": 2' in grammar.replace('\\\\"', '\\"')
    assert str(1 << 40) in grammar
    assert "maxLength" in grammar_of(
        {"type": "object", "properties": {"maxLength": {"type": "integer"}}}
    )


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ('a "b"', r"\\\"".join(("a ", "b", ""))),
        ("a\nb", r"a\\nb"),
        ("a\\b", r"a\\\\b"),
        ("🙂", "🙂"),
        ("°", "°"),
        ("vanta-literal-0x", "vanta-literal-0x"),
    ],
)
def test_constants_and_names_are_written_as_json_writes_them(text: str, literal: str) -> None:
    """In a grammar a backslash needs another one, and an emoji is one character."""
    schema = {"type": "object", "properties": {text: {"enum": [text]}}, "required": [text]}
    grammar = grammar_of(schema)
    assert grammar.count(f'"\\"{literal}\\""') == 2
    assert grammar_of({"const": {text: [text]}}).count(f'\\"{literal}\\"') == 2
