"""How good a ranking of messages is for routing.

Invariant: ties are worth the mean of all their orders, so that a score that says nothing gets 0.5
and no order of the rows helps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby


def apgr(scores: Sequence[float], gains: Sequence[float]) -> float | None:
    """The average performance gap recovered, of RouteLLM (Ong et al., 2024).

    scores: how much each row wants the strong track; gains: what it gains there, the strong track's
    correctness less the weak one's. The share of the gap between both tracks that is recovered,
    averaged over all shares of calls to the strong one: 0.5 at random, above 1 where the weak track
    alone knows some answers. None if there is no gap: then the figure means nothing.
    """
    total = math.fsum(gains)
    if not scores or abs(total) < 1e-12:
        return None
    area = recovered = 0.0
    ranked = sorted(zip(scores, gains, strict=True), key=_by_score, reverse=True)
    for _, group in groupby(ranked, key=_by_score):
        members = [gain for _, gain in group]
        added = math.fsum(members)
        area += len(members) * (recovered + added / 2)
        recovered += added
    return area / total / len(scores)


def _by_score(row: tuple[float, float]) -> float:
    return row[0]
