"""From a script with a matrix to the scripts that it stands for.

Invariant: pure; the order is that of the axes in the format, the last one running fastest; a
script without a matrix is its own only variant.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from vanta.context import merge_sampling
from vanta.engine import Sampling
from vanta_scripts.model import Matrix, Script


def variants(script: Script) -> tuple[Script, ...]:
    """`script` for every combination of its matrix; each knows its `variant`."""
    axes = list(_axes(script.matrix))
    return tuple(_variant(script, chosen) for chosen in itertools.product(*axes))


def repetition(script: Script, number: int) -> Script:
    """`script` for its run `number`, from 1: with a seed of its own, where it has a seed."""
    if script.seed is None:
        return script
    seed = script.seed + number - 1
    return dataclasses.replace(script, sampling=dataclasses.replace(script.sampling, seed=seed))


def _axes(matrix: Matrix) -> Iterator[list[tuple[str, Any]]]:
    for axis in dataclasses.fields(Matrix):
        values = getattr(matrix, axis.name)
        if values is not None:
            yield [(axis.name, value) for value in values]


def _variant(script: Script, chosen: tuple[tuple[str, Any], ...]) -> Script:
    changes: dict[str, Any] = dict(chosen)
    if "policy" in changes:
        changes["track"] = None
    if "models" in changes:
        changes["models"] = {**script.models, **changes["models"]}
    if "sampling" in changes:
        changes["sampling"] = merge_sampling(script.sampling, changes["sampling"])
    shown = {axis: _shown(value) for axis, value in chosen}
    return dataclasses.replace(script, **changes, matrix=Matrix(), variant=shown)


def _shown(value: Any) -> str:
    if isinstance(value, Sampling):
        default = Sampling()
        told = {
            field.name: getattr(value, field.name)
            for field in dataclasses.fields(Sampling)
            if getattr(value, field.name) != getattr(default, field.name)
        }
        return " ".join(f"{name}:{what}" for name, what in told.items()) or "unchanged"
    if isinstance(value, Mapping):
        return " ".join(f"{track}:{model}" for track, model in value.items())
    return str(value)
