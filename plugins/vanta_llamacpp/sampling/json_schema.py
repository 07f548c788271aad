"""A JSON schema as a GBNF grammar, through llama-cpp-python's converter.

The converter ignores what it does not know; an answer could then break the schema that it was asked
to keep. Invariant: `grammar_of` either returns a grammar all of whose sentences are valid under the
schema, or raises `SchemaFault` naming the keyword that cannot be kept.

`format` is an annotation, as JSON Schema has it by default: `date`, `time`, `date-time` and `uuid`
give a text its shape, every other format (`email`, `uri`) lets any text through.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

MOST_WRITTEN = 256 * 1024
"""Characters of grammar that repetitions may make; `demands` allows a quarter of them."""
UNREACHABLE = 100_000_000
"""Characters or items that no answer gets to: ten for each token of the widest windows there are.
A maximum above it says nothing, and is left out."""
MOST_COMPARED = 50_000
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
    r"\^(?:[\w ,:;/@#%&=~<>'-]"
    r"|\[-?(?:[a-z]-[a-z]|[A-Z]-[A-Z]|[0-9]-[0-9]|[\w ,:;/@#](?!-[^\]]))++-?\]"
    r"|[()|?*+]|\{\d+(?:,\d*)?\})*+\$",
    re.ASCII,
)
"""Patterns whose every match may stand in a JSON string as it is: no quote, no backslash. A text
fits in one way only, so that one that does not is refused in linear time."""
_REPEATED = re.compile(r"\{(\d+)(,?)(\d*)\}")
_SIZES = (("minLength", "maxLength"), ("minItems", "maxItems"))


class SchemaFault(Exception):  # noqa: N818 - the word that the messages use
    """Why a schema cannot be kept by construction."""


def grammar_of(schema: Mapping[str, Any]) -> str:
    """GBNF text for `schema`. Raises SchemaFault."""
    from llama_cpp.llama_grammar import json_schema_to_gbnf

    try:
        plain = json.loads(json.dumps(schema))
        written = _check(plain, "#", _Branches(plain))
        if written > MOST_WRITTEN:
            raise SchemaFault(
                f"its lengths and repetitions make a grammar of {written} characters; "
                f"{MOST_WRITTEN} are allowed"
            )
        grammar = str(json_schema_to_gbnf(json.dumps(_prepared(plain))))
    except SchemaFault:
        raise
    except RecursionError as error:
        raise SchemaFault("the schema is nested too deeply") from error
    except Exception as error:  # the converter asserts, looks up and indexes as it goes
        raise SchemaFault(f"the schema cannot be converted: {error!r}") from error
    # The converter lets control characters stand in strings, which JSON forbids (RFC 8259, 7).
    return grammar.replace(_LOOSE_CHAR, _STRICT_CHAR)


def _check(schema: object, where: str, branches: _Branches) -> int:
    """The characters of grammar that the repetitions in `schema` would make, at most."""
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
    for key in ("anyOf", "oneOf"):
        if schema.get(key) == []:
            raise SchemaFault(f"the {key!r} at {where} is empty: nothing is valid")
    branches.check(schema.get("oneOf", ()), where)
    # A repetition writes the name of a rule, which is the way to it.
    written = _repeats(schema, where) * (len(where) + 48)
    for key, inner in _children(schema):
        written += _check(inner, f"{where}/{key}", branches)
    return written


def _refuse(keywords: set[str], where: str, main: str) -> None:
    if keywords:
        beside = f" beside {main!r}" if main else ""
        raise SchemaFault(f"{min(keywords)!r}{beside} at {where} cannot be kept by a grammar")


def _check_type(schema: Mapping[str, Any], where: str) -> None:
    kinds = schema.get("type", [])
    listed = kinds if isinstance(kinds, list) else [kinds]
    if not set(listed) <= set(_KINDS):
        raise SchemaFault(f"the type {kinds!r} at {where} does not exist")
    if schema.get("type") == []:
        raise SchemaFault(f"the list of types at {where} is empty: nothing is valid")
    if isinstance(kinds, list) and kinds and set(schema) - _NOTES != {"type"}:
        raise SchemaFault(f"a list of types beside other keywords at {where} cannot be kept")
    missing = set(schema.get("required", ())) - set(schema.get("properties", ()))
    if missing:
        raise SchemaFault(f"{min(missing)!r} at {where} is required but no property")
    _check_values(schema, listed, where)


def _check_values(schema: Mapping[str, Any], kinds: list[str], where: str) -> None:
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if values == []:
        raise SchemaFault(f"the enum at {where} is empty: nothing is valid")
    for value in values or ():
        for kind in kinds:
            if not _is_kind(value, kind):
                raise SchemaFault(f"{value!r} at {where} is not of the type {kind!r}")


def _is_kind(value: object, kind: str) -> bool:
    return isinstance(value, _KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _repeats(schema: Mapping[str, Any], where: str) -> int:
    """How often a rule is written out for the lengths, the counts and the pattern of `schema`."""
    repeats = 0
    for names in _SIZES:
        least, most = (_size(schema, name, where) for name in names)
        if most is not None and most < (least or 0):
            raise SchemaFault(f"{names[1]!r} at {where} is below {names[0]!r}: nothing is valid")
        if most is None or most > UNREACHABLE:
            most = least or 0
        repeats += most
    pattern = schema.get("pattern")
    return repeats if pattern is None else repeats + _pattern_repeats(pattern, where)


def _size(schema: Mapping[str, Any], name: str, where: str) -> int | None:
    size = schema.get(name)
    if size is None or (_is_kind(size, "integer") and size >= 0):
        return size
    raise SchemaFault(f"{name!r} at {where} is {size!r}, not a number of characters or items")


def _pattern_repeats(pattern: str, where: str) -> int:
    if not _SAFE_PATTERN.fullmatch(pattern):
        raise SchemaFault(f"the pattern {pattern!r} at {where} cannot be kept by a grammar")
    repeats = 0
    for least, _, most in _REPEATED.findall(pattern):
        repeats += max(int(least), int(most or 0))
        if most and int(most) < int(least):
            raise SchemaFault(f"the pattern {pattern!r} at {where} repeats from more to less")
    if repeats < MOST_WRITTEN:
        try:
            re.compile(pattern)
        except re.error as error:
            raise SchemaFault(f"the pattern {pattern!r} at {where} is none: {error}") from error
    return repeats


class _Branches:
    """Whether the branches of a `oneOf` exclude each other: the converter takes it for `anyOf`."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = MOST_COMPARED

    def check(self, branches: Any, where: str) -> None:
        """Raise SchemaFault unless no value can be valid under two of `branches`."""
        for one, other in combinations(range(len(branches)), 2):
            if not self._apart(branches[one], branches[other]):
                raise SchemaFault(
                    f"'oneOf' at {where} cannot be kept by a grammar: its branches {one} and "
                    f"{other} may both be valid; write 'anyOf', or give them different types or "
                    "a required property with different constants"
                )

    def _apart(self, one: Any, other: Any) -> bool:
        self._left -= 1
        one, other = self._target(one), self._target(other)
        if self._left < 0 or not isinstance(one, dict) or not isinstance(other, dict):
            return False
        for left, right in ((one, other), (other, one)):
            inner = left.get("anyOf") or left.get("oneOf")
            if inner:
                return all(self._apart(each, right) for each in inner)
        if _possible_kinds(one).isdisjoint(_possible_kinds(other)):
            return True
        mine, theirs = _values(one), _values(other)
        if mine is not None and theirs is not None:
            return not any(value in theirs for value in mine)
        return self._objects_apart(one, other)

    def _objects_apart(self, one: dict[str, Any], other: dict[str, Any]) -> bool:
        """By a property that a value must have and that cannot suit both."""
        if "object" not in (one.get("type"), other.get("type")):
            return False  # either may be valid for everything that is no object
        return any(
            name in first.get("properties", {})
            and name in second.get("properties", {})
            and self._apart(first["properties"][name], second["properties"][name])
            for first, second in ((one, other), (other, one))
            for name in first.get("required", ())
        )

    def _target(self, schema: Any) -> Any:
        for _ in range(8):
            if not isinstance(schema, dict) or "$ref" not in schema:
                return schema
            group, _, name = str(schema["$ref"]).removeprefix("#/").partition("/")
            schema = self._root.get(group, {}).get(name)
        return None


def _possible_kinds(schema: dict[str, Any]) -> set[str]:
    """The types of the values that may be valid; integers count as numbers."""
    values = _values(schema)
    kinds = schema.get("type", list(_KINDS))
    listed = set(kinds if isinstance(kinds, list) else [kinds])
    if values is not None:
        listed = {kind for kind in _KINDS if any(_is_kind(value, kind) for value in values)}
    return {"number" if kind == "integer" else kind for kind in listed}


def _values(schema: dict[str, Any]) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    values: list[Any] | None = schema.get("enum")
    return values


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
    with properties are closed; leaving out what is allowed but not required is valid. It would let
    the alternatives of a pattern reach beyond the quotes, so patterns are put in brackets.
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


def _rewrite(schema: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    ref = schema.get("$ref")
    if ref is not None:
        if ref not in names:
            raise SchemaFault(f"the reference {ref!r} leads nowhere; only '#/$defs/NAME' is known")
        return {"$ref": f"#/$defs/{names[ref]}"}
    used = {key: value for key, value in schema.items() if key not in _NOTES}
    found = {key: _rewritten(key, value, names) for key, value in used.items()}
    for _, most in _SIZES:
        if found.get(most, 0) > UNREACHABLE:
            del found[most]
    if "|" in found.get("pattern", ""):
        found["pattern"] = f"^({found['pattern'][1:-1]})$"
    if found.get("properties") and found.get("additionalProperties"):
        found["additionalProperties"] = False
    return found


def _rewritten(key: str, value: Any, names: Mapping[str, str]) -> Any:
    """What stands under the keyword `key`, with the schemas in it rewritten."""
    if key == "properties":
        return {name: _rewrite(inner, names) for name, inner in value.items()}
    if key in ("anyOf", "oneOf"):
        return [_rewrite(inner, names) for inner in value]
    if key in ("items", "additionalProperties") and isinstance(value, dict):
        return _rewrite(value, names)
    return value
