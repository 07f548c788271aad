"""The figures of a run (pass rate, times, cost, wins), and tables that compare runs.

Invariant: pure functions of JSON-ready results. A percentile is a measured value (nearest rank),
and a figure that was not measured is None, never zero.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One figure of all compared runs, as text.

    :param name: the figure's name.
    :param values: its value in each run.
    :param best: indexes of the best runs; empty if all are equal or the figure has no direction.
    """

    name: str
    values: tuple[str, ...]
    best: tuple[int, ...] = ()


def figures(scripts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures of results (`ScriptResult.to_dict()`).

    :returns: counts of scripts and turns, the pass rate of turns (0 to 1), p50 and p95 of the
        turns' duration and time to first text in seconds, USD, and the turns won by each track.
    """
    turns = [turn for script in scripts for turn in script["turns"]]
    replies = [turn["reply"] for turn in turns if turn["reply"]]
    durations = [reply["timings"]["duration_s"] for reply in replies]
    first = [
        reply["timings"]["first_content_s"]
        for reply in replies
        if reply["timings"]["first_content_s"] is not None
    ]
    return {
        "scripts": len(scripts),
        "turns": len(turns),
        "passed_turns": sum(turn["passed"] for turn in turns),
        "pass_rate": sum(turn["passed"] for turn in turns) / len(turns) if turns else None,
        "p50_s": percentile(durations, 0.5),
        "p95_s": percentile(durations, 0.95),
        "first_p50_s": percentile(first, 0.5),
        "first_p95_s": percentile(first, 0.95),
        "cost_usd": sum(turn["cost_usd"] for turn in turns),
        "wins": dict(sorted(Counter(reply["track"] for reply in replies).items())),
    }


def variant_figures(report: Mapping[str, Any]) -> dict[str, Figures]:
    """Return the figures of each matrix variant in a report; empty without a matrix."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for script in report["scripts"]:
        if script["variant"]:
            label = ", ".join(f"{axis}={value}" for axis, value in script["variant"].items())
            groups.setdefault(label, []).append(script)
    return {label: figures(scripts) for label, scripts in groups.items()}


def compared_figures(
    report: Mapping[str, Any], before: Mapping[str, Any] | None = None
) -> dict[str, Figures]:
    """Return the figures to compare, by label.

    :param report: a report.
    :param before: an earlier report, or None to compare the matrix variants of `report`.
    """
    if before is not None:
        return {"before": before["figures"], "this run": report["figures"]}
    return variant_figures(report)


def comparison(compared: Mapping[str, Figures]) -> list[ComparisonRow]:
    """Return a table with a row for each figure and a column for each of `compared`."""
    columns = list(compared.values())
    tracks = sorted({track for column in columns for track in column["wins"]})
    return [
        _row("passed turns", columns, "pass_rate", lambda rate: f"{rate:.1%}", more_is_better=True),
        _row("first text, p50", columns, "first_p50_s", _seconds),
        _row("first text, p95", columns, "first_p95_s", _seconds),
        _row("whole turn, p50", columns, "p50_s", _seconds),
        _row("whole turn, p95", columns, "p95_s", _seconds),
        _row("cost", columns, "cost_usd", lambda usd: f"${usd:.6f}"),
        *(
            ComparisonRow(
                f"turns won by {track}",
                tuple(str(column["wins"].get(track, 0)) for column in columns),
            )
            for track in tracks
        ),
    ]


def percentile(values: Iterable[float], share: float) -> float | None:
    """Return the smallest value that at least `share` (0 to 1) of all values do not exceed.

    None without values.
    """
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else None


def _row(
    name: str, columns: Sequence[Figures], key: str, shown: Any, *, more_is_better: bool = False
) -> ComparisonRow:
    values = [column[key] for column in columns]
    measured = [value for value in values if value is not None]
    best = (max(measured) if more_is_better else min(measured)) if measured else None
    winners = tuple(at for at, value in enumerate(values) if value is not None and value == best)
    texts = tuple("-" if value is None else shown(value) for value in values)
    return ComparisonRow(name, texts, winners if len(winners) < len(values) else ())


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
