"""The field `response_format`: how a server is asked to keep the schema of an answer.

OpenAI's strict mode holds the model to a schema, but accepts only a part of JSON Schema
(https://platform.openai.com/docs/guides/structured-outputs): every object is closed and has all its
properties. `strict_schema` narrows a schema to that. Servers that refuse a schema get one that is
not strict, then JSON mode, then nothing but the words of the message.

Invariant: an answer under a narrowed schema is valid under the schema itself, but for keywords that
the strict mode lacks; those are left to the caller, who checks the answer.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from vanta.learning import Expiring

STEPS = ("strict", "schema", "json_object", "words")
"""How an answer's form is asked for, each for a server that refuses the one before."""

SCHEMAS = 64
"""Schemas whose refusal is remembered."""

_WORDS = ("response_format", "response format", "json_schema", "json schema", "structured output")
_REFUSES_SCHEMA = ("invalid schema", "unsupported schema", "schema is not supported")
_DROPPED = frozenset(
    {"title", "default", "examples", "discriminator", "minLength", "maxLength", "uniqueItems"}
    | {"$schema", "$id", "$comment", "deprecated", "readOnly", "writeOnly", "definitions"}
    | {"format", "$defs", "properties", "additionalProperties"}
)
_KEPT = frozenset(
    {"type", "description", "enum", "const", "pattern", "minItems", "maxItems", "multipleOf"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "required"}
)
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
)


class _NotStrictError(Exception):
    """The schema has a part that the strict mode does not accept."""


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a schema as the strict mode accepts it, None if it has no such form.

    :param schema: the schema of an object; the answer is checked under it.
    """
    try:
        narrowed = _narrowed(schema)
        if "$defs" in schema:
            narrowed["$defs"] = {name: _narrowed(item) for name, item in schema["$defs"].items()}
    except (_NotStrictError, RecursionError):
        return None
    return narrowed if narrowed.get("type") == "object" else None


def _narrowed(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, Mapping):
        raise _NotStrictError
    parts = schema.get("allOf")
    if isinstance(parts, list) and len(parts) == 1 and isinstance(parts[0], Mapping):
        schema = {**{key: schema[key] for key in schema if key != "allOf"}, **parts[0]}
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}
    narrowed: dict[str, Any] = {}
    for key, value in schema.items():
        narrowed |= _keyword(key, value)
    if narrowed.get("type") == "object" or "properties" in schema:
        return narrowed | _closed(schema)
    if not {"type", "enum", "const", "anyOf"} & set(narrowed):
        raise _NotStrictError
    return narrowed


def _keyword(key: str, value: Any) -> dict[str, Any]:
    """Return what the strict mode has for a keyword: nothing for one that is left to the check."""
    if key in ("anyOf", "oneOf"):
        return {"anyOf": [_narrowed(branch) for branch in value]}
    if key == "items":
        return {"items": _narrowed(value)}
    if key in _KEPT or (key == "format" and value in _FORMATS):
        return {key: value}
    if key not in _DROPPED:
        raise _NotStrictError
    return {}


def _closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a closed object that has all its properties."""
    properties = schema.get("properties")
    if not properties or isinstance(schema.get("additionalProperties"), Mapping):
        raise _NotStrictError
    return {
        "type": "object",
        "properties": {name: _narrowed(inner) for name, inner in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }


class ResponseFormats:
    """What one server has shown about `response_format`."""

    def __init__(self) -> None:
        self._step: Expiring[int] = Expiring()
        self._refused: OrderedDict[str, int] = OrderedDict()

    @property
    def learnt(self) -> Expiring[int]:
        """The place in `STEPS` that the server accepts; no value if it accepts all."""
        return self._step

    def step(self, schema: Mapping[str, Any]) -> str:
        """Return how the form of an answer is asked for."""
        least = max(self._step.value or 0, self._refused.get(_digest(schema), 0))
        if least == 0 and strict_schema(schema) is None:
            least = 1
        return STEPS[least]

    def field(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of a request for an answer under `schema`, which is checked."""
        step = self.step(schema)
        if step == "words":
            return {}
        if step == "json_object":
            return {"response_format": {"type": "json_object"}}
        sent = strict_schema(schema) if step == "strict" else dict(schema)
        form = {"name": "answer", "strict": step == "strict", "schema": sent}
        return {"response_format": {"type": "json_schema", "json_schema": form}}

    def learn_from(self, message: str, schema: Mapping[str, Any]) -> bool:
        """Learn from a refusal; return whether another form is left to try.

        :param message: what the server wrote.
        :param schema: the schema that was sent.
        """
        text, place = message.lower(), STEPS.index(self.step(schema))
        if place + 1 >= len(STEPS) or not any(word in text for word in _WORDS):
            return False
        if any(words in text for words in _REFUSES_SCHEMA) and place < STEPS.index("json_object"):
            self._refused[_digest(schema)] = place + 1
            while len(self._refused) > SCHEMAS:
                self._refused.popitem(last=False)
        else:
            self._step.set(max(place + 1, STEPS.index("json_object")))
        return True

    def forget(self) -> None:
        """Forget what the server has refused."""
        self._step.forget()
        self._refused.clear()


def _digest(schema: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(schema, default=str).encode()).hexdigest()
