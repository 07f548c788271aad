"""Figures of rankings and probabilities.

Invariant: ties are worth the mean of all their orders, so a score without information gets 0.5, and
no order of the rows matters. A reliability curve has every row in exactly one bin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True, slots=True)
class Bin:
    """The rows of one range of predicted probabilities.

    :param low: the start of the range.
    :param high: its end.
    :param rows: the number of rows.
    :param predicted: their mean predicted probability.
    :param actual: the share of them that came true.
    """

    low: float
    high: float
    rows: int
    predicted: float
    actual: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """How well predicted probabilities hold.

    :param bins: the curve; empty bins are left out.
    :param ece: the expected calibration error, 0 for a perfect curve.
    :param brier: the mean squared error.
    """

    bins: tuple[Bin, ...]
    ece: float
    brier: float


def apgr(scores: Sequence[float], gains: Sequence[float]) -> float | None:
    """Return the average performance gap recovered, of RouteLLM (Ong et al., 2024).

    It is the share of the gap between both tracks that a ranking recovers, averaged over all
    shares of calls to the strong track: 0.5 at random, above 1 where the weak track alone knows
    some answers.

    :param scores: how much each row wants the strong track.
    :param gains: the strong track's correctness minus the weak one's.
    :returns: the figure, or None if there is no gap.
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


def auroc(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """Return the probability that a true row scores above a false one, ties counting half."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(labels, scores)) if len(set(labels)) == 2 else 0.5


def reliability(predicted: Sequence[float], labels: Sequence[bool], bins: int = 10) -> Reliability:
    """Return the reliability curve of predicted probabilities, in bins of equal width."""
    rows: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for probability, label in zip(predicted, labels, strict=True):
        rows[min(int(probability * bins), bins - 1)].append((probability, label))
    curve = tuple(
        Bin(
            low=i / bins,
            high=(i + 1) / bins,
            rows=len(members),
            predicted=math.fsum(probability for probability, _ in members) / len(members),
            actual=sum(label for _, label in members) / len(members),
        )
        for i, members in enumerate(rows)
        if members
    )
    total = max(1, len(predicted))
    squares = math.fsum((p - label) ** 2 for p, label in zip(predicted, labels, strict=True))
    ece = math.fsum(item.rows * abs(item.predicted - item.actual) for item in curve) / total
    return Reliability(curve, ece, squares / total)


def _by_score(row: tuple[float, float]) -> float:
    return row[0]
