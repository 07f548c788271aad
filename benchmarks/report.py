"""The settings of a run, its figures, and the JSON report of a benchmark.

Invariant: `Figure.holds` is True only for a measured value that meets its goal, False for a value
that misses it or could not be measured (the note says why), and None for a reference without a
goal. Settings are frozen, and a benchmark has no other input except its data files.
"""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .machine import commit, machine, versions

Better = Literal["lower", "higher"]


Progress = Callable[[str, int, int], None]
"""Called with the current step, the number of repetitions done, and the number to do."""

_DATA_VARIABLE = "VANTA_BENCH_DATA"


def quiet(_step: str, _done: int, _total: int) -> None:
    """Report no progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to run a benchmark.

    :param quick: end within a minute on two cores.
    :param repetitions: the number of repetitions, or None for that of the benchmark.
    :param peer_python: an interpreter with the peers that vanta does not depend on.
    :param llama_bin: the folder with the programs of llama.cpp.
    :param parts: the parts to measure of a benchmark that has some; empty for all.
    :param progress: called as the run proceeds.
    """

    quick: bool = False
    repetitions: int | None = None
    peer_python: Path | None = None
    llama_bin: Path | None = None
    parts: Sequence[str] = ()
    progress: Progress = quiet

    def times(self, full: int, quick: int) -> int:
        """Return the number of repetitions: `quick` of them in a quick run, otherwise `full`."""
        return self.repetitions or (quick if self.quick else full)


def run_parts(package: str, names: Sequence[str], settings: Settings) -> Iterator[Figure]:
    """Measure the parts of a benchmark, one after another.

    :param package: the benchmark's package, whose modules are its parts.
    :param names: all of its parts, in order.
    :param settings: how to run it, and which parts.
    """
    for name in names:
        if not settings.parts or name in settings.parts:
            part = importlib.import_module(f".{name}", package)
            yield from part.figures(settings)


def data_file(name: str) -> Path | None:
    """Return the data file `name`, or None if it does not exist.

    It is in the folder VANTA_BENCH_DATA, or in `../shared/data` beside the checkout.
    """
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get(_DATA_VARIABLE, beside)) / name
    return path if path.is_file() else None


def missing_data(name: str) -> str:
    """Return the note of a figure whose data file does not exist."""
    return f"{name!r} does not exist: set {_DATA_VARIABLE} to its folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A measured number.

    :param name: the name of the figure, unique in its benchmark.
    :param value: the measured value, or None if it could not be measured.
    :param unit: the unit of the value, the goal and the value of the peer.
    :param better: whether lower or higher values are better.
    :param goal: the value to reach, or None for a reference.
    :param peer: the alternative that was measured in the same run, or None.
    :param peer_value: the value of the peer, or None.
    :param note: conditions of the measurement, or why there is no value.
    """

    name: str
    value: float | None
    unit: str
    better: Better = "lower"
    goal: float | None = None
    peer: str | None = None
    peer_value: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if self.value is None and not self.note:
            raise ValueError(f"figure {self.name!r} has no value: state the reason in its note")
        if self.peer is None and self.peer_value is not None:
            raise ValueError(f"figure {self.name!r} has a peer value but names no peer")

    @property
    def holds(self) -> bool | None:
        """Whether the goal is met; None for a reference without a goal."""
        if self.value is None:
            return False
        if self.goal is None:
            return None
        return self.value <= self.goal if self.better == "lower" else self.value >= self.goal

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return {
            "name": self.name,
            "value": _rounded(self.value),
            "unit": self.unit,
            "better": self.better,
            "goal": self.goal,
            "holds": self.holds,
            "peer": self.peer,
            "peer_value": _rounded(self.peer_value),
            "note": self.note,
        }


def report(bench: str, figures: Iterable[Figure], *, quick: bool) -> dict[str, Any]:
    """Return the report of a run as JSON-ready data."""
    return {
        "bench": bench,
        "quick": quick,
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
        "figures": [figure.to_dict() for figure in figures],
    }


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least `share` (0 to 1) of all values do not exceed.

    The percentile of an empty sequence is None.
    """
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def median(values: Sequence[float]) -> float | None:
    """Return the median, the lower of two middle values; None for an empty sequence."""
    return percentile(values, 0.5)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
