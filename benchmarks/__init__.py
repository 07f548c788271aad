"""The benchmarks behind `vanta bench NAME`: where every number that vanta claims comes from.

Each module of `BENCHMARKS` has `SUMMARY`, a line for people, and `run(settings)`, which blocks and
gives its figures as they are taken. Invariant: a figure is measured in this run, on this machine,
or says why it was not.

The package is loaded from its folder under a private name (`vanta.cli.bench`), since it lies in
`benchmarks/` of a checkout and in `vanta/_data/benchmarks/` of an installed wheel: inside it
imports are relative, and its scripts that run as programs import nothing of it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any, Protocol

from .report import Figure, report
from .settings import Settings

BENCHMARKS = (
    "cost",
    "faults",
    "hedge",
    "local",
    "memory",
    "overhead",
    "race",
    "route",
    "scripts",
)

__all__ = ["BENCHMARKS", "Benchmark", "Figure", "Settings", "load", "report"]


class Benchmark(Protocol):
    """What a module of `BENCHMARKS` has."""

    SUMMARY: str

    def run(self, settings: Settings) -> Iterable[Figure]:
        """Measure; a figure comes once it is taken. Raises VantaError where nothing at all can be
        measured."""
        ...


def load(name: str) -> Benchmark:
    """The benchmark `name`, one of `BENCHMARKS`."""
    module: Any = importlib.import_module(f".{name}", __name__)
    return module  # type: ignore[no-any-return]
