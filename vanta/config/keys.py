"""Look up a key of the configuration: its type, its default, its description, its neighbours.

Invariant: types, defaults and descriptions come from the schema alone.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from vanta.config.schema import Config
from vanta.errors import did_you_mean
from vanta.text import is_key_shaped

Key = tuple[str, ...]

_TYPE_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
}

_INLINE = re.compile(r"(^|[_-])(key|secret|password|passwd|authorization)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SchemaEntry:
    """The schema's entry for a key: its type annotation and its description."""

    annotation: Any
    description: str


def dotted(key: Sequence[str]) -> str:
    """Return a key as people write it: `tracks.local.window`."""
    return ".".join(key)


def find(key: Key) -> SchemaEntry | None:
    """Return the schema's entry for `key`, or None if the schema has no such key."""
    entry = SchemaEntry(Config, _first_line(Config))
    for part in key:
        child = _child(entry, part)
        if child is None:
            return None
        entry = child
    return entry


def default_of(key: Key) -> Any:
    """Return the schema's default of `key`; None if it has none or is not known."""
    kinds: tuple[Any, ...] = (Config,)
    field = None
    for part in key:
        models = [kind for kind in kinds if _is_model(kind)]
        field = next(
            (kind.model_fields[part] for kind in models if part in kind.model_fields), None
        )
        if field is None:  # the name of a track or of a policy
            kinds = tuple(get_args(kind)[1] for kind in kinds if get_origin(kind) is dict)
        else:
            kinds = _core(field.annotation)
    if field is None or field.is_required():
        return None
    return field.get_default(call_default_factory=True)


def all_patterns(model: type[BaseModel] = Config, prefix: Key = ()) -> Iterator[Key]:
    """Yield every key that takes a value; `*` stands for the name of a track or a policy."""
    for name, field in model.model_fields.items():
        key = (*prefix, name)
        kinds = _core(field.annotation)
        tables = [kind for kind in kinds if _is_model(kind)]
        named = [get_args(kind)[1] for kind in kinds if get_origin(kind) is dict]
        if tables:
            yield from all_patterns(tables[0], key)
        elif named and _is_model(named[0]):
            yield from all_patterns(named[0], (*key, "*"))
        else:
            yield key


def takes_text(key: Key) -> bool:
    """Return whether the value of `key` can only be a text, so that it needs no parsing."""
    entry = find(key)
    return entry is not None and _core(entry.annotation) in {(str,), (Path,)}


def expected_type(key: Key) -> str:
    """Return the type of the value of `key` in words."""
    entry = find(key)
    return _in_words(entry.annotation) if entry else "nothing"


def advice(key: Key) -> str:
    """Return a sentence that names the known key nearest to an unknown `key`."""
    depth = next(n for n in range(1, len(key) + 1) if find(key[:n]) is None)
    table, name = key[: depth - 1], key[depth - 1]
    sentence = did_you_mean(name, _siblings(table))
    if not sentence.startswith("Did"):
        elsewhere = [dotted(path) for path in _all_keys() if path[-1] == name]
        return f"Did you mean {elsewhere[0]!r}?" if elsewhere else sentence
    nearest = sentence.removeprefix("Did you mean ").strip("'?")
    return f"Did you mean {dotted((*table, nearest))!r}?"


def is_inline_secret(name: str, value: Any) -> bool:
    """Return whether an option holds a secret itself: `api_key`, or a value shaped like a key."""
    return bool(_INLINE.search(name)) or (isinstance(value, str) and is_key_shaped(value))


def _siblings(table: Key) -> list[str]:
    entry = find(table)
    models = [kind for kind in _core(entry.annotation) if _is_model(kind)] if entry else []
    return [name for model in models for name in model.model_fields]


def _all_keys(model: type[BaseModel] = Config, prefix: Key = ()) -> Iterator[Key]:
    for name, field in model.model_fields.items():
        yield (*prefix, name)
        for kind in _core(field.annotation):
            if _is_model(kind):
                yield from _all_keys(kind, (*prefix, name))
            elif get_origin(kind) is dict and _is_model(get_args(kind)[1]):
                yield from _all_keys(get_args(kind)[1], (*prefix, name, "NAME"))


def _child(entry: SchemaEntry, part: str) -> SchemaEntry | None:
    for kind in _core(entry.annotation):
        if _is_model(kind) and part in kind.model_fields:
            field = kind.model_fields[part]
            return SchemaEntry(field.annotation, field.description or "")
        if get_origin(kind) in {dict, Mapping}:
            value = get_args(kind)[1]
            description = _first_line(value) if _is_model(value) else entry.description
            return SchemaEntry(value, description)
        if kind is Any:
            return entry
    return None


def _core(annotation: Any) -> tuple[Any, ...]:
    """Return the types of a value, without None and without constraints."""
    if get_origin(annotation) is Annotated:
        return _core(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        return tuple(kind for branch in get_args(annotation) for kind in _core(branch))
    return () if annotation is type(None) else (annotation,)


def _in_words(annotation: Any) -> str:
    return " or ".join(_type_in_words(kind) for kind in _core(annotation))


def _type_in_words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(repr(choice) for choice in get_args(kind))
    if get_origin(kind) in {list, tuple}:
        return "a list, each item " + _in_words(get_args(kind)[0])
    if _is_model(kind) or get_origin(kind) in {dict, Mapping}:
        return "a table"
    return _TYPE_NAMES.get(kind, "a value")


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().split("\n", 1)[0]
