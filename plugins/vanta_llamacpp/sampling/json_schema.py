"""A JSON schema as a GBNF grammar, through llama-cpp-python's converter.

The converter ignores keywords that it does not know, so an answer could violate the schema.
Invariant: `grammar_of` either returns a grammar all of whose sentences are valid under the schema,
or raises `UnsupportedSchemaError` with the keyword that a grammar cannot enforce.

`format` is an annotation, the default of JSON Schema: `date`, `time`, `date-time` and `uuid` are
enforced, every other format (`email`, `uri`) allows any text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from vanta_llamacpp.sampling.ranges import LIMITS, range_of

MAX_EXPANSION = 256 * 1024
"""Characters of grammar that repetitions may make; `checks` allows a quarter of them."""
UNREACHABLE = 100_000_000
"""Characters or items that no answer reaches: ten for each token of the widest windows.

A maximum above it restricts nothing and is removed.
"""
MAX_COMPARISONS = 50_000
"""Pairs of `oneOf` branches that are compared before the schema is refused."""
_ANNOTATIONS = {
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "$schema",
    "$id",
    "$comment",
}
_ANNOTATIONS |= {"$defs", "definitions", "readOnly", "writeOnly", "discriminator"}
COMPATIBLE: tuple[tuple[str, frozenset[str]], ...] = (
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
    *((name, frozenset({"type", *LIMITS})) for name in LIMITS),
    ("type", frozenset()),
)
KINDS: Mapping[str, type | tuple[type, ...]] = {
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
"""Patterns whose matches need no escape in a JSON string: no quote, no backslash.

A text matches in one way only, so a mismatch is found in linear time.
"""
_PLACEHOLDER, _RANGE = "vanta-literal-", "vanta-range-"
_REPEATED = re.compile(r"\{(\d+)(,?)(\d*)\}")
_SIZES = (("minLength", "maxLength"), ("minItems", "maxItems"))


class UnsupportedSchemaError(Exception):
    """A schema that a grammar cannot enforce, with the reason."""


def grammar_of(schema: Mapping[str, Any]) -> str:
    """Return a GBNF grammar for `schema`.

    :param schema: a JSON schema; references must be local ('#/$defs/NAME').
    :raises UnsupportedSchemaError: if no grammar can enforce it.
    """
    from llama_cpp.llama_grammar import json_schema_to_gbnf

    try:
        plain = json.loads(json.dumps(schema))
        expansion = _check(plain, "#", _Branches(plain))
        if expansion > MAX_EXPANSION:
            raise UnsupportedSchemaError(
                f"its lengths and repetitions make a grammar of {expansion} characters; at most "
                f"{MAX_EXPANSION} are allowed"
            )
        literals = _Literals()
        prepared = literals.replace(_prepared(plain))
        grammar = literals.restore(str(json_schema_to_gbnf(json.dumps(prepared))))
    except UnsupportedSchemaError:
        raise
    except RecursionError as error:
        raise UnsupportedSchemaError("the schema is nested too deeply") from error
    except Exception as error:  # the converter may raise anything
        raise UnsupportedSchemaError(f"the schema cannot be converted: {error!r}") from error
    # The converter allows control characters in strings, which JSON forbids (RFC 8259, 7).
    return grammar.replace(_LOOSE_CHAR, _STRICT_CHAR)


class _Literals:
    """Texts that the converter would write wrongly as literals: a quote, a line end, an emoji.

    It escapes them for JSON only. Placeholders take their places in constants and names of
    properties until the grammar is written.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._ranges: dict[str, int] = {}

    def replace(self, schema: Any) -> Any:
        """Return a schema with placeholders."""
        if isinstance(schema, list):
            return [self.replace(inner) for inner in schema]
        if not isinstance(schema, dict):
            return schema
        if not set(LIMITS).isdisjoint(schema):
            expression = range_of(schema) or ""
            return {"const": f"{_RANGE}{self._ranges.setdefault(expression, len(self._ranges))}x"}
        return {key: self._keyword(key, value) for key, value in schema.items()}

    def restore(self, grammar: str) -> str:
        """Return the grammar with the literals of the texts."""
        for text, number in self._numbers.items():
            written = json.dumps(text, ensure_ascii=False)[1:-1]
            literal = written.replace("\\", "\\\\").replace('"', '\\"')
            grammar = grammar.replace(f'\\"{_PLACEHOLDER}{number}x\\"', f'\\"{literal}\\"')
        for expression, number in self._ranges.items():
            grammar = grammar.replace(f'"\\"{_RANGE}{number}x\\""', f"({expression})")
        return grammar

    def _keyword(self, key: str, value: Any) -> Any:
        if key in ("const", "enum", "required"):
            return self._value(value)
        if key in ("properties", "$defs") and isinstance(value, dict):
            rename = self._text if key == "properties" else str
            return {rename(name): self.replace(inner) for name, inner in value.items()}
        return self.replace(value)

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, list):
            return [self._value(inner) for inner in value]
        if isinstance(value, dict):
            return {self._text(name): self._value(inner) for name, inner in value.items()}
        return value

    def _text(self, text: str) -> str:
        is_plain = "\\" not in json.dumps(text)
        if is_plain and _PLACEHOLDER not in text and _RANGE not in text:
            return text
        return f"{_PLACEHOLDER}{self._numbers.setdefault(text, len(self._numbers))}x"


def _check(schema: object, where: str, branches: _Branches) -> int:
    """Return an upper bound of the characters of grammar that repetitions in `schema` make."""
    if not isinstance(schema, Mapping):
        raise UnsupportedSchemaError(f"{where} is {schema!r}, not a schema object")
    used = set(schema) - _ANNOTATIONS
    for main, compatible in COMPATIBLE:
        if main in used:
            _refuse(used - {main} - compatible, where, main)
            break
    else:
        _refuse(used, where, "")
    _check_type(schema, where)
    for key in ("anyOf", "oneOf"):
        if schema.get(key) == []:
            raise UnsupportedSchemaError(f"the {key!r} at {where} is empty: no value is valid")
    branches.check(schema.get("oneOf", ()), where)
    # A repetition writes the name of a rule, which is the path to it.
    expansion = _repeats(schema, where) * (len(where) + 48)
    for key, inner in _children(schema):
        expansion += _check(inner, f"{where}/{key}", branches)
    return expansion


def _refuse(keywords: set[str], where: str, main: str) -> None:
    if keywords:
        beside = f" beside {main!r}" if main else ""
        raise UnsupportedSchemaError(f"{min(keywords)!r}{beside} at {where} cannot be enforced")


def _check_type(schema: Mapping[str, Any], where: str) -> None:
    kinds = schema.get("type", [])
    listed = kinds if isinstance(kinds, list) else [kinds]
    if not set(listed) <= set(KINDS):
        raise UnsupportedSchemaError(f"{kinds!r} at {where} is not a JSON Schema type")
    if schema.get("type") == []:
        raise UnsupportedSchemaError(f"the list of types at {where} is empty: no value is valid")
    if isinstance(kinds, list) and kinds and set(schema) - _ANNOTATIONS != {"type"}:
        raise UnsupportedSchemaError(
            f"a list of types beside other keywords at {where} cannot be enforced"
        )
    missing = set(schema.get("required", ())) - set(schema.get("properties", ()))
    if missing:
        raise UnsupportedSchemaError(
            f"{min(missing)!r} at {where} is required but is not a property"
        )
    _check_values(schema, listed, where)
    if not set(LIMITS).isdisjoint(schema):
        if schema.get("type") not in ("integer", "number"):
            raise UnsupportedSchemaError(f"limits without a type of numbers at {where}")
        if range_of(schema) is None:
            raise UnsupportedSchemaError(f"the limits at {where} allow no number that is enforced")


def _check_values(schema: Mapping[str, Any], kinds: list[str], where: str) -> None:
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if values == []:
        raise UnsupportedSchemaError(f"the enum at {where} is empty: no value is valid")
    for value in values or ():
        for kind in kinds:
            if not is_kind(value, kind):
                raise UnsupportedSchemaError(f"{value!r} at {where} is not of the type {kind!r}")


def is_kind(value: object, kind: str) -> bool:
    return isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _repeats(schema: Mapping[str, Any], where: str) -> int:
    """Return how often the lengths, counts and the pattern of `schema` repeat a rule."""
    repeats = 0
    for names in _SIZES:
        least, most = (_size(schema, name, where) for name in names)
        if most is not None and most < (least or 0):
            raise UnsupportedSchemaError(
                f"{names[1]!r} at {where} is below {names[0]!r}: no value is valid"
            )
        if most is None or most > UNREACHABLE:
            most = least or 0
        repeats += most
    pattern = schema.get("pattern")
    return repeats if pattern is None else repeats + pattern_repeats(pattern, where)


def _size(schema: Mapping[str, Any], name: str, where: str) -> int | None:
    size = schema.get(name)
    if size is None or (is_kind(size, "integer") and size >= 0):
        return size
    raise UnsupportedSchemaError(
        f"{name!r} at {where} is {size!r}, not a number of characters or items"
    )


def pattern_repeats(pattern: str, where: str) -> int:
    if not _SAFE_PATTERN.fullmatch(pattern):
        raise UnsupportedSchemaError(f"the pattern {pattern!r} at {where} cannot be enforced")
    repeats = 0
    for least, _, most in _REPEATED.findall(pattern):
        repeats += max(int(least), int(most or 0))
        if most and int(most) < int(least):
            raise UnsupportedSchemaError(
                f"the pattern {pattern!r} at {where} has a minimum above its maximum"
            )
    if repeats < MAX_EXPANSION:
        try:
            re.compile(pattern)
        except re.error as error:
            raise UnsupportedSchemaError(
                f"the pattern {pattern!r} at {where} is not a regular expression: {error}"
            ) from error
    return repeats


class _Branches:
    """Checks that the branches of a `oneOf` exclude each other: the converter reads `anyOf`."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._budget = MAX_COMPARISONS

    def check(self, branches: Any, where: str) -> None:
        """Raise UnsupportedSchemaError if a value can be valid under two of `branches`."""
        for first, second in combinations(range(len(branches)), 2):
            if not self._disjoint(branches[first], branches[second]):
                raise UnsupportedSchemaError(
                    f"'oneOf' at {where} cannot be enforced: its branches {first} and {second} "
                    f"may both be valid; write 'anyOf', or give them different types or "
                    "a required property with different constants"
                )

    def _disjoint(self, first: Any, second: Any) -> bool:
        self._budget -= 1
        first, second = self._target(first), self._target(second)
        if self._budget < 0 or not isinstance(first, dict) or not isinstance(second, dict):
            return False
        for schema, other in ((first, second), (second, first)):
            inner = schema.get("anyOf") or schema.get("oneOf")
            if inner:
                return all(self._disjoint(branch, other) for branch in inner)
        if _possible_kinds(first).isdisjoint(_possible_kinds(second)):
            return True
        values, others = _values(first), _values(second)
        if values is not None and others is not None:
            return not any(value in others for value in values)
        return self._disjoint_objects(first, second)

    def _disjoint_objects(self, first: dict[str, Any], second: dict[str, Any]) -> bool:
        """Return whether a required property of one has no value that is valid in both."""
        if "object" not in (first.get("type"), second.get("type")):
            return False  # each may be valid for everything that is not an object
        return any(
            name in schema.get("properties", {})
            and name in other.get("properties", {})
            and self._disjoint(schema["properties"][name], other["properties"][name])
            for schema, other in ((first, second), (second, first))
            for name in schema.get("required", ())
        )

    def _target(self, schema: Any) -> Any:
        """Return the schema that a chain of references leads to, or None."""
        for _ in range(8):
            if not isinstance(schema, dict) or "$ref" not in schema:
                return schema
            group, _, name = str(schema["$ref"]).removeprefix("#/").partition("/")
            schema = self._root.get(group, {}).get(name)
        return None


def _possible_kinds(schema: dict[str, Any]) -> set[str]:
    """Return the types of the values that may be valid; integers count as numbers."""
    values = _values(schema)
    kinds = schema.get("type", list(KINDS))
    listed = set(kinds if isinstance(kinds, list) else [kinds])
    if values is not None:
        listed = {kind for kind in KINDS if any(is_kind(value, kind) for value in values)}
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
    """Return the schema without what the converter misreads.

    - The converter names rules by the last part of a reference, so definitions get unique names.
    - Beside known properties it would allow an additional property with the name of a known one and
      another type, so objects with properties are closed. Leaving out what is allowed but not
      required is valid.
    - It would apply the alternatives of a pattern to the quotes, so patterns get brackets.
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
            raise UnsupportedSchemaError(
                f"the reference {ref!r} is not defined; only '#/$defs/NAME' is supported"
            )
        return {"$ref": f"#/$defs/{names[ref]}"}
    used = {key: value for key, value in schema.items() if key not in _ANNOTATIONS}
    rewritten = {key: _rewritten(key, value, names) for key, value in used.items()}
    for _, most in _SIZES:
        if rewritten.get(most, 0) > UNREACHABLE:
            del rewritten[most]
    if "|" in rewritten.get("pattern", ""):
        rewritten["pattern"] = f"^({rewritten['pattern'][1:-1]})$"
    if rewritten.get("properties") and rewritten.get("additionalProperties"):
        rewritten["additionalProperties"] = False
    return rewritten


def _rewritten(key: str, value: Any, names: Mapping[str, str]) -> Any:
    """Return the value of the keyword `key` with the schemas in it rewritten."""
    if key == "properties":
        return {name: _rewrite(inner, names) for name, inner in value.items()}
    if key in ("anyOf", "oneOf"):
        return [_rewrite(inner, names) for inner in value]
    if key in ("items", "additionalProperties") and isinstance(value, dict):
        return _rewrite(value, names)
    return value
