"""A JSON schema as a GBNF grammar, through llama-cpp-python's converter.

The converter ignores what it does not know; an answer could then break the schema that it was asked
to keep. Invariant: `grammar_of` either returns a grammar all of whose sentences are valid under the
schema, or raises `SchemaFault` naming the keyword that cannot be kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_NOTES = {"title", "description", "default", "examples", "deprecated", "$schema", "$id", "$comment"}
_NOTES |= {"$defs", "definitions", "readOnly", "writeOnly", "discriminator"}
_TOGETHER: tuple[tuple[str, frozenset[str]], ...] = (
    ("$ref", frozenset()),
    ("anyOf", frozenset()),
    ("oneOf", frozenset()),
    ("const", frozenset({"type"})),
    ("enum", frozenset({"type"})),
    ("properties", frozenset({"type", "required", "additionalProperties"})),
    ("additionalProperties", frozenset({"type"})),
    ("items", frozenset({"type", "minItems", "maxItems"})),
    ("pattern", frozenset({"type"})),
    ("minLength", frozenset({"type", "maxLength"})),
    ("maxLength", frozenset({"type"})),
    ("format", frozenset({"type"})),
    ("type", frozenset()),
)
_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "null": type(None),
}
_LOOSE_CHAR = r'char ::= [^"\\]'
_STRICT_CHAR = r'char ::= [^"\\\x7F\x00-\x1F]'
_SAFE_PATTERN = re.compile(
    r"\^(?:[\w ,:;/@#%&=~<>'-]|\[(?:[a-z]-[a-z]|[A-Z]-[A-Z]|\d-\d|[\w ,:;/@#-])+\]"
    r"|[()|?*+]|\{\d+(?:,\d*)?\})*\$",
    re.ASCII,
)
"""Patterns whose every match may stand in a JSON string as it is: no quote, no backslash."""


class SchemaFault(Exception):  # noqa: N818 - the word that the messages use
    """Why a schema cannot be kept by construction."""


def grammar_of(schema: Mapping[str, Any]) -> str:
    """GBNF text for `schema`. Raises SchemaFault."""
    from llama_cpp.llama_grammar import json_schema_to_gbnf

    try:
        plain = json.loads(json.dumps(schema))
        _check(plain, "#")
        grammar = str(json_schema_to_gbnf(json.dumps(_prepared(plain))))
    except SchemaFault:
        raise
    except RecursionError as error:
        raise SchemaFault("the schema is nested too deeply") from error
    except Exception as error:  # the converter asserts, looks up and indexes as it goes
        raise SchemaFault(f"the schema cannot be converted: {error!r}") from error
    # The converter lets control characters stand in strings, which JSON forbids (RFC 8259, 7).
    return grammar.replace(_LOOSE_CHAR, _STRICT_CHAR)


def _check(schema: object, where: str) -> None:
    if not isinstance(schema, Mapping):
        raise SchemaFault(f"{where} is {schema!r}, not a schema object")
    used = set(schema) - _NOTES
    for main, beside in _TOGETHER:
        if main in used:
            _refuse(used - {main} - beside, where, main)
            break
    else:
        _refuse(used, where, "")
    _check_type(schema, where)
    for key, inner in _children(schema):
        _check(inner, f"{where}/{key}")


def _refuse(keywords: set[str], where: str, main: str) -> None:
    if keywords:
        beside = f" beside {main!r}" if main else ""
        raise SchemaFault(f"{min(keywords)!r}{beside} at {where} cannot be kept by a grammar")


def _check_type(schema: Mapping[str, Any], where: str) -> None:
    kinds = schema.get("type", [])
    listed = kinds if isinstance(kinds, list) else [kinds]
    if not set(listed) <= set(_KINDS):
        raise SchemaFault(f"the type {kinds!r} at {where} does not exist")
    if isinstance(kinds, list) and kinds and set(schema) - _NOTES != {"type"}:
        raise SchemaFault(f"a list of types beside other keywords at {where} cannot be kept")
    missing = set(schema.get("required", ())) - set(schema.get("properties", ()))
    if missing:
        raise SchemaFault(f"{min(missing)!r} at {where} is required but no property")
    pattern = schema.get("pattern")
    if pattern is not None and not _SAFE_PATTERN.fullmatch(pattern):
        raise SchemaFault(f"the pattern {pattern!r} at {where} cannot be kept by a grammar")
    _check_values(schema, listed, where)


def _check_values(schema: Mapping[str, Any], kinds: list[str], where: str) -> None:
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if values == []:
        raise SchemaFault(f"the enum at {where} is empty: nothing is valid")
    for value in values or ():
        for kind in kinds:
            if not isinstance(value, _KINDS[kind]) or (
                isinstance(value, bool) and kind != "boolean"
            ):
                raise SchemaFault(f"{value!r} at {where} is not of the type {kind!r}")


def _children(schema: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for group in ("properties", "$defs", "definitions"):
        for name, inner in schema.get(group, {}).items():
            yield f"{group}/{name}", inner
    for group in ("anyOf", "oneOf"):
        for number, inner in enumerate(schema.get(group, ())):
            yield f"{group}/{number}", inner
    for name in ("items", "additionalProperties"):
        if name in schema and not isinstance(schema[name], bool):
            yield name, schema[name]


def _prepared(schema: Mapping[str, Any]) -> Any:
    """The schema in terms that the converter cannot mistake.

    It names rules by the last part of a reference, so definitions get names that nothing else has.
    Beside known properties it would let a stranger repeat one of them with another type, so objects
    with properties are closed; leaving out what is allowed but not required is valid.
    """
    names = {
        f"#/{group}/{name}": f"definition-of-vanta-{group.strip('$')}-{number}"
        for group in ("$defs", "definitions")
        for number, name in enumerate(schema.get(group, {}))
    }
    root = {key: value for key, value in schema.items() if key not in ("$defs", "definitions")}
    prepared = _rewrite(root, names)
    if names:
        prepared["$defs"] = {
            names[f"#/{group}/{name}"]: _rewrite(inner, names)
            for group in ("$defs", "definitions")
            for name, inner in schema.get(group, {}).items()
        }
    return prepared


def _rewrite(schema: Any, names: Mapping[str, str]) -> Any:
    if isinstance(schema, list):
        return [_rewrite(inner, names) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    ref = schema.get("$ref")
    if isinstance(ref, str):
        if ref not in names:
            raise SchemaFault(f"the reference {ref!r} leads nowhere; only '#/$defs/NAME' is known")
        return {"$ref": f"#/$defs/{names[ref]}"}
    found = {key: _rewrite(inner, names) for key, inner in schema.items()}
    if found.get("properties") and found.get("additionalProperties"):
        found["additionalProperties"] = False
    return found
