"""Finds a key's place in the schema: its type, its description, its neighbours.

Invariant: nothing is known of a key here but what `vanta.config.schema` says.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from vanta.config.origin import Key
from vanta.config.schema import Config
from vanta.errors import did_you_mean

_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
}


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in the schema. annotation: its type. description: what it does."""

    annotation: Any
    description: str


def find(key: Key) -> Spot | None:
    """The place of `key` in the schema, None if the schema has none."""
    spot = Spot(Config, _first_line(Config))
    for part in key:
        below = _below(spot, part)
        if below is None:
            return None
        spot = below
    return spot


def takes_text(key: Key) -> bool:
    """True if the value of `key` is a text and nothing else, so that it needs no parsing."""
    spot = find(key)
    return spot is not None and _core(spot.annotation) in {(str,), (Path,)}


def expected(key: Key) -> str:
    """What sort of value `key` takes, in words."""
    spot = find(key)
    return _in_words(spot.annotation) if spot else "nothing"


def advice(key: Key) -> str:
    """A sentence on what could have been meant by a `key` that the schema does not have."""
    depth = next(n for n in range(1, len(key) + 1) if find(key[:n]) is None)
    table, name = key[: depth - 1], key[depth - 1]
    siblings = _siblings(table)
    sentence = did_you_mean(name, siblings)
    if not sentence.startswith("Did"):
        elsewhere = [".".join(path) for path in _all_keys() if path[-1] == name]
        if elsewhere:
            return f"Did you mean {elsewhere[0]!r}?"
        return sentence
    near = sentence.removeprefix("Did you mean ").strip("'?")
    return f"Did you mean {'.'.join((*table, near))!r}?"


def _siblings(table: Key) -> list[str]:
    spot = find(table)
    models = [one for one in _core(spot.annotation) if _is_model(one)] if spot else []
    return [name for model in models for name in model.model_fields]


def _all_keys(model: type[BaseModel] = Config, prefix: Key = ()) -> Iterator[Key]:
    for name, info in model.model_fields.items():
        yield (*prefix, name)
        for kind in _core(info.annotation):
            if _is_model(kind):
                yield from _all_keys(kind, (*prefix, name))
            elif get_origin(kind) is dict and _is_model(get_args(kind)[1]):
                yield from _all_keys(get_args(kind)[1], (*prefix, name, "NAME"))


def _below(spot: Spot, part: str) -> Spot | None:
    for kind in _core(spot.annotation):
        if _is_model(kind) and part in kind.model_fields:
            info = kind.model_fields[part]
            return Spot(info.annotation, info.description or "")
        if get_origin(kind) in {dict, Mapping}:
            value = get_args(kind)[1]
            return Spot(value, _first_line(value) if _is_model(value) else spot.description)
        if kind is Any:
            return spot
    return None


def _core(annotation: Any) -> tuple[Any, ...]:
    """The types that a value may have, without None and without constraints."""
    if get_origin(annotation) is Annotated:
        return _core(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        return tuple(kind for one in get_args(annotation) for kind in _core(one))
    return () if annotation is type(None) else (annotation,)


def _in_words(annotation: Any) -> str:
    return " or ".join(_kind_in_words(kind) for kind in _core(annotation))


def _kind_in_words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(repr(choice) for choice in get_args(kind))
    if get_origin(kind) in {list, tuple}:
        return "a list, each item " + _in_words(get_args(kind)[0])
    if _is_model(kind) or get_origin(kind) in {dict, Mapping}:
        return "a table"
    return _WORDS.get(kind, "a value")


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().split("\n", 1)[0]
