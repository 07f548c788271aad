"""Runs side by side: two reports, or the variants of one, as a table of figures.

Invariant: pure; a figure that was not measured is shown as such and never as zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vanta_scripts.figures import by_variant


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of all sides, as text; best: which sides are the best, where that can be said."""

    name: str
    values: tuple[str, ...]
    best: tuple[int, ...] = ()


def sides_of(
    report: Mapping[str, Any], before: Mapping[str, Any] | None = None
) -> dict[str, Mapping[str, Any]]:
    """What there is to compare: with an earlier report, else the variants of a matrix."""
    if before is not None:
        return {"before": before["figures"], "this run": report["figures"]}
    return dict(by_variant(report))


def rows(sides: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """The table: a row a figure, a column a side."""
    each = list(sides.values())
    tracks = sorted({track for one in each for track in one["wins"]})
    return [
        _row("turns that passed", each, "pass_rate", lambda rate: f"{rate:.1%}", more=True),
        _row("first text, p50", each, "first_p50_s", _seconds),
        _row("first text, p95", each, "first_p95_s", _seconds),
        _row("whole turn, p50", each, "p50_s", _seconds),
        _row("whole turn, p95", each, "p95_s", _seconds),
        _row("cost", each, "cost_usd", lambda usd: f"${usd:.6f}"),
        *(
            Row(f"turns won by {track}", tuple(str(one["wins"].get(track, 0)) for one in each))
            for track in tracks
        ),
    ]


def _row(
    name: str, sides: Sequence[Mapping[str, Any]], key: str, shown: Any, *, more: bool = False
) -> Row:
    values = [side[key] for side in sides]
    known = [value for value in values if value is not None]
    best = (max(known) if more else min(known)) if known else None
    winners = tuple(at for at, value in enumerate(values) if value is not None and value == best)
    told = tuple("-" if value is None else shown(value) for value in values)
    return Row(name, told, winners if len(winners) < len(values) else ())


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
