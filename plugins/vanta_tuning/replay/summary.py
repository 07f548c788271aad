"""The summary of a replay: accuracy, latency, money, and the share of each track.

Invariant: nothing flatters. A failed turn counts as wrong and as infinitely late, so failing cannot
make a policy look fast. Figures that the data do not contain are None.
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
    """Seconds within which 50, 95 and 99 % of the turns stay; None if too many turns failed."""

    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """One policy over all turns.

    :param policy: its name.
    :param turns: the number of turns.
    :param accuracy: mean score, None if unknown.
    :param failed: the share of failed turns.
    :param first_content_s: of the first content.
    :param whole_s: of whole turns.
    :param cost_usd: mean cost of a turn.
    :param calls: legs per turn.
    :param served: the share of turns that each track answered.
    :param asked: the share of turns in which each track was started.
    """

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
        """Return JSON-ready data."""
        return dataclasses.asdict(self)


def summarise(policy: str, results: Sequence[Result]) -> Summary:
    """Return the summary of a replay of at least one turn."""
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
    """Return the Pareto frontier of accuracy, p95 of first content and cost.

    A summary is dominated if another is at least as good in all three and better in one.
    """
    return [item for item in summaries if not any(_beats(other, item) for other in summaries)]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile of sorted values; `share` is 0 to 1."""
    return values[max(0, math.ceil(share * len(values)) - 1)]


def _beats(summary: Summary, other: Summary) -> bool:
    ours, theirs = _merits(summary), _merits(other)
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
    figures = (percentile(known, share) for share in (0.5, 0.95, 0.99))
    return Percentiles(*(value if math.isfinite(value) else None for value in figures))


def _share(holds: Iterable[bool]) -> float:
    marks = list(holds)
    return sum(marks) / len(marks)
