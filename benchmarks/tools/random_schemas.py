"""Random schemas of tools, of what schemas in the wild are made of."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

WORDS = ("city", "days", "unit", "to", "body", "count", "when", "tags", "path", "limit")
_PLAIN: tuple[Mapping[str, Any], ...] = (
    {"type": "string"},
    {"type": "string", "description": "A name."},
    {"type": "string", "maxLength": 12},
    {"type": "string", "minLength": 3, "maxLength": 20},
    {"type": "string", "pattern": "^[A-Z]{2}[0-9]{1,3}$"},
    {"type": "string", "format": "date"},
    {"enum": ["low", "medium", "high"]},
    {"type": "string", "enum": ["°C", "°F", 'a "quoted" one']},
    {"const": 3},
    {"type": "integer"},
    {"type": "integer", "minimum": 1, "maximum": 7},
    {"type": "number"},
    {"type": "boolean"},
    {"type": "null"},
    {"type": ["string", "null"]},
    {"anyOf": [{"type": "integer"}, {"type": "string"}]},
    {"oneOf": [{"type": "boolean"}, {"type": "array", "items": {"type": "integer"}}]},
    {"$ref": "#/$defs/place"},
    {"allOf": [{"$ref": "#/$defs/place"}], "description": "Where."},
)


def random_tool_schema(dice: random.Random) -> dict[str, Any]:
    """Return the schema of a tool's arguments."""
    schema = _object(dice, 2)
    place = {
        "type": "object",
        "properties": {"lat": {"type": "number"}, "name": {"type": "string"}},
        "required": ["lat"],
        "additionalProperties": False,
    }
    return {**schema, "$defs": {"place": place}}


def _object(dice: random.Random, depth: int) -> dict[str, Any]:
    names = dice.sample(WORDS, dice.randint(0 if depth < 2 else 1, 4))
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: _value(dice, depth) for name in names},
    }
    if names and dice.random() < 0.9:
        schema["required"] = dice.sample(names, dice.randint(1, len(names)))
    if dice.random() < 0.4:
        schema["additionalProperties"] = False
    return schema


def _value(dice: random.Random, depth: int) -> dict[str, Any]:
    makers: list[Callable[[], dict[str, Any]]] = [lambda: dict(dice.choice(_PLAIN))] * 4
    if depth:
        makers.append(lambda: _object(dice, depth - 1))
        makers.append(lambda: _array(dice, depth - 1))
    return dice.choice(makers)()


def _array(dice: random.Random, depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "array", "items": _value(dice, depth)}
    if dice.random() < 0.5:
        schema |= {"minItems": dice.randint(0, 2), "maxItems": dice.randint(2, 4)}
    return schema
