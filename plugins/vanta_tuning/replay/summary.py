"""What a replay comes to: accuracy, latency, money, and who did the work.

Invariant: nothing flatters. A failed turn counts as wrong and as one whose words never came, so
that failing cannot make a policy look fast; figures that the data cannot give are None.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vanta_tuning.replay.stage import Result


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Seconds that half, 95 % and 99 % of the turns stay under; None: so many never came."""

    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """One policy over all turns. cost_usd: mean of a turn. served, asked: shares of the turns that
    each track served, and in which it was asked; calls: legs a turn."""

    policy: str
    turns: int
    accuracy: float | None
    failed: float
    first_content_s: Percentiles
    whole_s: Percentiles
    cost_usd: float
    calls: float
    served: dict[str, float]
    asked: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return dataclasses.asdict(self)


def summarise(policy: str, results: Sequence[Result]) -> Summary:
    """The summary of a replay of at least one turn."""
    scores = [result.score for result in results if result.score is not None]
    tracks = sorted({track for result in results for track in result.asked})
    answered = [result for result in results if result.track is not None]
    return Summary(
        policy=policy,
        turns=len(results),
        accuracy=sum(scores) / len(scores) if scores else None,
        failed=1 - len(answered) / len(results),
        first_content_s=_percentiles(_first(result) for result in results),
        whole_s=_percentiles(_whole(result) for result in results),
        cost_usd=sum(result.cost_usd for result in results) / len(results),
        calls=sum(len(result.asked) for result in results) / len(results),
        served={track: _share(result.track == track for result in results) for track in tracks},
        asked={track: _share(track in result.asked for result in results) for track in tracks},
    )


def frontier(summaries: Sequence[Summary]) -> list[Summary]:
    """Those that no other beats: none is at once as good, as fast and as cheap, and better in one.

    Good is accuracy, fast the p95 of first content, cheap the cost of a turn.
    """
    return [one for one in summaries if not any(_beats(other, one) for other in summaries)]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of all, sorted, do not pass."""
    return values[max(0, math.ceil(share * len(values)) - 1)]


def _beats(one: Summary, other: Summary) -> bool:
    ours, theirs = _merits(one), _merits(other)
    return ours != theirs and all(a >= b for a, b in zip(ours, theirs, strict=True))


def _merits(summary: Summary) -> tuple[float, float, float]:
    p95 = summary.first_content_s.p95
    return (summary.accuracy or 0.0, -math.inf if p95 is None else -p95, -summary.cost_usd)


def _first(result: Result) -> float:
    return math.inf if result.first_content_s is None else result.first_content_s


def _whole(result: Result) -> float:
    return math.inf if result.track is None else result.duration_s


def _percentiles(values: Iterable[float]) -> Percentiles:
    known = sorted(values)
    found = (percentile(known, share) for share in (0.5, 0.95, 0.99))
    return Percentiles(*(value if math.isfinite(value) else None for value in found))


def _share(holds: Iterable[bool]) -> float:
    marks = list(holds)
    return sum(marks) / len(marks)
