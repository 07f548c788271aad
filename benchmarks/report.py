"""Figures, and the one JSON object that a benchmark comes to.

Invariant: `holds` is True only for a value that was measured and meets its goal, False for one that
misses it or could not be taken (the note says why), None for a reference that has no goal.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .machine import machine, versions

Better = Literal["lower", "higher"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number. peer: what the same was measured of in this run, with peer_value."""

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
            raise ValueError(f"figure {self.name!r} has no value: its note has to say why")
        if self.peer is None and self.peer_value is not None:
            raise ValueError(f"figure {self.name!r} has a peer's value, but names no peer")

    @property
    def holds(self) -> bool | None:
        """Whether the goal is met; None for a reference without one."""
        if self.value is None:
            return False
        if self.goal is None:
            return None
        return self.value <= self.goal if self.better == "lower" else self.value >= self.goal

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
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
    """All that a run found, as JSON-ready data."""
    return {
        "bench": bench,
        "quick": quick,
        "machine": machine(),
        "versions": versions(),
        "figures": [figure.to_dict() for figure in figures],
    }


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` (0 to 1) of all do not pass; None of none."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def median(values: Sequence[float]) -> float | None:
    """The middle value, the lower of two; None of none."""
    return percentile(values, 0.5)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
