"""JSON schemas become grammars all of whose sentences are valid; what cannot be kept is refused."""

from __future__ import annotations

from typing import Any

import pytest

from vanta_llamacpp.schema import SchemaFault, grammar_of


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ({"type": "integer", "minimum": 3}, "minimum"),
        ({"type": "array", "items": {"type": "string"}, "uniqueItems": True}, "uniqueItems"),
        ({"type": "object", "properties": {}, "required": ["a"]}, "required"),
        ({"type": "string", "pattern": '^".$'}, "pattern"),
        ({"type": "string", "pattern": "^[^a]$"}, "pattern"),
        ({"type": "string", "pattern": "abc"}, "pattern"),
        ({"type": "text"}, "does not exist"),
        ({"enum": []}, "nothing is valid"),
        ({"type": "string", "enum": [1]}, "not of the type"),
        ({"type": "integer", "const": True}, "not of the type"),
        ({"type": ["string", "null"], "minLength": 3}, "list of types"),
        ({"$ref": "#/$defs/none"}, "nowhere"),
        ({"$ref": "https://example.com/schema"}, "nowhere"),
        ({"not": {"type": "string"}}, "not"),
        ({"type": "object", "properties": {"a": 3}}, "not a schema"),
        ({"allOf": [{"type": "object"}]}, "allOf"),
        ({"type": "object", "x": {1, 2}}, "cannot be converted"),
    ],
)
def test_what_cannot_be_kept_is_refused(schema: dict[str, Any], named: str) -> None:
    """With the keyword's name: the converter itself would ignore it."""
    with pytest.raises(SchemaFault, match=named):
        grammar_of(schema)


def test_a_schema_nested_too_deeply_is_refused() -> None:
    """Not a RecursionError."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(2000):
        schema = {"type": "array", "items": schema}
    with pytest.raises(SchemaFault):
        grammar_of(schema)


def test_control_characters_cannot_stand_in_strings() -> None:
    """JSON forbids them; the converter's own rule would let them in."""
    assert r"\x00-\x1F" in grammar_of({"type": "object", "properties": {"a": {"type": "string"}}})


def test_definitions_named_like_built_in_rules_are_kept_apart() -> None:
    """A definition called "string" is not a string."""
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/string"}},
        "required": ["a"],
        "$defs": {"string": {"type": "integer"}},
    }
    grammar = grammar_of(schema)
    assert "integral-part" in grammar
    assert "char" not in grammar
