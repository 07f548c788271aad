"""The figures of a run: how much held, how long it took, what it cost, who answered.

They are made from results as JSON-ready data, those of a saved report included. Invariant: pure; a
percentile is a value that was measured (nearest rank), None of nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Figures = Mapping[str, Any]


def figures(scripts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of results (`ScriptResult.to_dict()`): pass rate of turns, p50 and p95 of times in seconds,
    USD, and how many turns each track won."""
    turns = [turn for script in scripts for turn in script["turns"]]
    replies = [turn["reply"] for turn in turns if turn["reply"]]
    took = [reply["timings"]["duration_s"] for reply in replies]
    first = [reply["timings"]["first_content_s"] for reply in replies]
    return {
        "scripts": len(scripts),
        "turns": len(turns),
        "passed_turns": sum(turn["passed"] for turn in turns),
        "pass_rate": sum(turn["passed"] for turn in turns) / len(turns) if turns else None,
        "p50_s": percentile(took, 0.5),
        "p95_s": percentile(took, 0.95),
        "first_p50_s": percentile((one for one in first if one is not None), 0.5),
        "first_p95_s": percentile((one for one in first if one is not None), 0.95),
        "cost_usd": sum(turn["cost_usd"] for turn in turns),
        "wins": dict(sorted(Counter(reply["track"] for reply in replies).items())),
    }


def by_variant(report: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The figures of each variant of a matrix in a report; empty if there is none."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for script in report["scripts"]:
        if script["variant"]:
            label = ", ".join(f"{axis}={value}" for axis, value in script["variant"].items())
            groups.setdefault(label, []).append(script)
    return {label: figures(scripts) for label, scripts in groups.items()}


def percentile(values: Iterable[float], share: float) -> float | None:
    """The smallest value that at least `share` (0 to 1) of all do not pass; None of none."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else None
