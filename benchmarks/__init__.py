"""The benchmarks of `vanta bench NAME`, the source of every figure in the README.

Each module of `BENCHMARKS` has a one-line `SUMMARY` and a blocking `run(settings)` that yields
figures as they are measured. Invariant: a figure is measured in this run on this machine, or its
note states why it was not.

The package is loaded from its folder under a private name (`vanta.cli.bench`), because it is in
`benchmarks/` of a checkout and in `vanta/_data/benchmarks/` of an installed wheel. So imports
inside the package are relative, and scripts that run as programs import nothing from it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any, Protocol

from .report import Figure, Settings, report

BENCHMARKS = (
    "cost",
    "faults",
    "first",
    "hedge",
    "local",
    "memory",
    "overhead",
    "race",
    "route",
    "scripts",
    "serve",
    "tools",
)

__all__ = ["BENCHMARKS", "Benchmark", "Figure", "Settings", "load", "parts_of", "report"]


class Benchmark(Protocol):
    """The interface of the modules in `BENCHMARKS`."""

    SUMMARY: str

    def run(self, settings: Settings) -> Iterable[Figure]:
        """Yield each figure once it is measured. Blocking.

        :param settings: how to run the benchmark.
        :returns: the figures, in the order of their measurement.
        :raises VantaError: if nothing at all can be measured.
        """
        ...


def parts_of(name: str) -> tuple[str, ...]:
    """Return the parts of the benchmark `name` that can be measured alone; () if it has none."""
    return tuple(getattr(load(name), "PARTS", ()))


def load(name: str) -> Benchmark:
    """Return the benchmark `name`, one of `BENCHMARKS`."""
    module: Any = importlib.import_module(f".{name}", __name__)
    return module  # type: ignore[no-any-return]
