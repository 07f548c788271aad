"""Schemas without the keywords that no grammar can enforce.

The schema of an answer is enforced or refused, unless the caller checks the answer. The schema of a
tool is written for other readers as well, and arguments are checked before a call is run. Then what
a grammar cannot express is left out. Invariant: `grammar_of` accepts every schema that is returned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vanta_llamacpp.sampling.json_schema import (
    COMPATIBLE,
    KINDS,
    UnsupportedSchemaError,
    grammar_of,
    is_kind,
    pattern_repeats,
)
from vanta_llamacpp.sampling.ranges import LIMITS, range_of

LONGEST, LONGEST_LIST = 256, 64
"""Characters and items of a maximum that is enforced; a grammar grows with each."""
WIDEST_RANGE = 100
"""Integers of a range that is enforced, as a list of them."""
ANYTHING: Mapping[str, Any] = {"type": "object"}
_GROUPS = ("$defs", "definitions")


def loosened(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a schema that a grammar can enforce: `schema` itself, or one with fewer keywords.

    :param schema: the JSON schema of a tool's arguments or of an answer, an object.
    """
    if not {"type", "$ref", "anyOf", "oneOf", "allOf"} & set(schema):
        schema = {"type": "object", **schema}
    try:
        grammar_of(schema)
    except UnsupportedSchemaError:
        pass
    else:
        return schema
    try:
        looser = _Loosening(schema).root()
        grammar_of(looser)
    except (UnsupportedSchemaError, RecursionError):
        return ANYTHING
    return looser


def with_definitions(
    schema: Mapping[str, Any], prefix: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a schema to be used inside another one, and its definitions under new names.

    :param schema: a schema that `grammar_of` accepts.
    :param prefix: what the new names begin with.
    """
    names = {
        f"#/{group}/{name}": f"{prefix}-{number}-{group.strip('$')}"
        for group in _GROUPS
        for number, name in enumerate(schema.get(group, {}))
    }
    definitions = {
        names[f"#/{group}/{name}"]: _renamed(inner, names)
        for group in _GROUPS
        for name, inner in schema.get(group, {}).items()
    }
    root = {key: value for key, value in schema.items() if key not in _GROUPS}
    return _renamed(root, names), definitions


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        ref = value.get("$ref")
        if isinstance(ref, str) and ref in names:
            return {"$ref": f"#/$defs/{names[ref]}"}
        return {
            key: inner if key in ("const", "enum") else _renamed(inner, names)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_renamed(inner, names) for inner in value]
    return value


class _Loosening:
    """Loosens one schema with its definitions."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema
        self._groups = {
            group: schema[group] for group in _GROUPS if isinstance(schema.get(group), Mapping)
        }
        self._refs = {
            f"#/{group}/{name}" for group, members in self._groups.items() for name in members
        }

    def root(self) -> dict[str, Any]:
        """Return the whole schema."""
        root = self._loosen(self._schema)
        for group, members in self._groups.items():
            root[group] = {name: self._loosen(inner) for name, inner in members.items()}
        return root

    def _loosen(self, schema: Any) -> dict[str, Any]:
        if not isinstance(schema, Mapping):
            return {}
        parts = schema.get("allOf")
        if isinstance(parts, list) and len(parts) == 1 and isinstance(parts[0], Mapping):
            schema = {**{key: schema[key] for key in schema if key != "allOf"}, **parts[0]}
        values = _integers(schema)
        if values:
            return {"enum": values}
        used = next((main for main, _ in COMPATIBLE if main in schema), "")
        keep = {used, *dict(COMPATIBLE).get(used, ())}
        kept = {key: value for key, value in schema.items() if key in keep}
        if used == "$ref":
            return kept if kept["$ref"] in self._refs else {}
        if used in ("anyOf", "oneOf"):
            branches = kept[used] if isinstance(kept[used], list) else []
            named = [branch for branch in branches if not _is_loose_text(branch)] or branches
            return {"anyOf": [self._loosen(branch) for branch in named]} if named else {}
        if used in ("const", "enum"):
            return _listed(kept, used)
        return self._typed(kept, used)

    def _typed(self, kept: dict[str, Any], used: str) -> dict[str, Any]:
        """Return a schema of properties, items, texts or a bare type."""
        if used in ("properties", "additionalProperties"):
            return self._object(kept)
        if used in LIMITS:
            is_number = kept.get("type") in ("integer", "number")
            if is_number and range_of(kept) is not None:
                return kept
            used, kept = "type", {key: kept[key] for key in kept if key == "type"}
        kinds = kept.get("type")
        listed = kinds if isinstance(kinds, list) else [kinds] if kinds else []
        known = [kind for kind in listed if isinstance(kind, str) and kind in KINDS]
        if used in ("", "type"):
            return {"type": known if len(known) > 1 else known[0]} if known else {}
        if used == "items":
            kept["type"] = "array"
            if isinstance(kept["items"], Mapping):
                kept["items"] = self._loosen(kept["items"])
            else:
                kept = {"type": "array"}
            return _sized(kept, "minItems", "maxItems", LONGEST_LIST)
        kept["type"] = "string"
        if used == "pattern" and not _is_enforced(kept["pattern"]):
            del kept["pattern"]
        return _sized(kept, "minLength", "maxLength", LONGEST)

    def _object(self, kept: dict[str, Any]) -> dict[str, Any]:
        properties = kept.get("properties")
        members = properties if isinstance(properties, Mapping) else {}
        result: dict[str, Any] = {"type": "object"}
        loose = {name: self._loosen(inner) for name, inner in members.items()}
        required = kept.get("required")
        names = [name for name in required if isinstance(name, str)] if required else []
        loose |= {name: {} for name in names if name not in loose}
        if loose:
            result["properties"] = loose
        if names:
            result["required"] = list(dict.fromkeys(names))
        more = kept.get("additionalProperties")
        if isinstance(more, Mapping):
            result["additionalProperties"] = self._loosen(more)
        elif more is False:
            result["additionalProperties"] = False
        return result


def _integers(schema: Mapping[str, Any]) -> list[int]:
    """Return the integers of a narrow range, [] for any other schema."""
    least, most = schema.get("minimum"), schema.get("maximum")
    if schema.get("type") != "integer" or not {"const", "enum"}.isdisjoint(schema):
        return []
    if not is_kind(least, "integer") or not is_kind(most, "integer"):
        return []
    assert isinstance(least, int)  # noqa: S101 - `is_kind` has checked it
    assert isinstance(most, int)  # noqa: S101
    return list(range(least, most + 1)) if 0 <= most - least < WIDEST_RANGE else []


def _listed(kept: dict[str, Any], used: str) -> dict[str, Any]:
    """Return a constant or a list of values, those of the type if one is given."""
    values = [kept["const"]] if used == "const" else kept["enum"]
    kinds = kept.get("type", [])
    allowed = kinds if isinstance(kinds, list) else [kinds]
    fitting = [
        value
        for value in (values if isinstance(values, list) else [])
        if not allowed or any(is_kind(value, kind) for kind in allowed if kind in KINDS)
    ]
    return {"enum": fitting} if fitting else {}


def _sized(kept: dict[str, Any], least: str, most: str, limit: int) -> dict[str, Any]:
    """Return the schema without sizes that are wrong or larger than `limit`."""
    for name in (least, most):
        size = kept.get(name)
        if size is not None and not (is_kind(size, "integer") and 0 <= size <= limit):
            del kept[name]
    if kept.get(most, limit) < kept.get(least, 0):
        del kept[most]
    return kept


def _is_loose_text(branch: Any) -> bool:
    """Whether a branch is a text of a pattern that is not enforced, as pydantic has for Decimal."""
    return (
        isinstance(branch, Mapping) and "pattern" in branch and not _is_enforced(branch["pattern"])
    )


def _is_enforced(pattern: Any) -> bool:
    try:
        return isinstance(pattern, str) and pattern_repeats(pattern, "#") <= LONGEST
    except UnsupportedSchemaError:
        return False
