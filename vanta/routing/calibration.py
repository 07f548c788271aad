"""From scores to probabilities, and how far the probabilities can be trusted.

Invariant: a `Platt` is strictly increasing, so that it never changes an order; a `Steps` never
falls. A reliability curve has every row in exactly one bin.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

from vanta.routing.linear import sigmoid

_LEAST_SLOPE = 1e-3


@dataclass(frozen=True, slots=True)
class Platt:
    """P(true) = sigmoid(slope * score + offset)."""

    slope: float
    offset: float

    def __call__(self, score: float) -> float:
        """The probability that a row with this score is true."""
        return sigmoid(self.slope * score + self.offset)


@dataclass(frozen=True, slots=True)
class Steps:
    """A curve that never falls: straight between its points, level outside them."""

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __call__(self, score: float) -> float:
        """The probability that a row with this score is true."""
        right = bisect.bisect_right(self.scores, score)
        if right == 0:
            return self.probabilities[0]
        if right == len(self.scores):
            return self.probabilities[-1]
        low, high = self.scores[right - 1], self.scores[right]
        share = (score - low) / (high - low)
        return self.probabilities[right - 1] * (1 - share) + self.probabilities[right] * share


@dataclass(frozen=True, slots=True)
class Bin:
    """Rows of one range of probabilities: how many, what was told of them, what came true."""

    low: float
    high: float
    rows: int
    told: float
    true: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """How well told probabilities held: `ece` is the expected calibration error (0: perfectly),
    `brier` the mean squared error."""

    bins: tuple[Bin, ...]
    ece: float
    brier: float


def fit_platt(scores: Sequence[float], labels: Sequence[bool]) -> Platt:
    """Platt scaling, by Newton's method with Platt's own smoothed targets.

    Lin, Lin & Weng, "A Note on Platt's Probabilistic Outputs for Support Vector Machines" (2007).
    The slope stays positive: scores that say nothing, or the opposite, give one probability for
    all, but for a trace that keeps their order.
    """
    positives = sum(labels)
    negatives = len(labels) - positives
    high, low = (positives + 1) / (positives + 2), 1 / (negatives + 2)
    targets = [high if label else low for label in labels]
    slope, offset = 0.0, math.log((positives + 1) / (negatives + 1))
    for _ in range(50):
        improved = _search(scores, targets, slope, offset)
        if improved is None:
            break
        slope, offset = improved
    if slope < _LEAST_SLOPE:
        return Platt(_LEAST_SLOPE, math.log((positives + 1) / (negatives + 1)))
    return Platt(slope, offset)


def fit_steps(scores: Sequence[float], labels: Sequence[bool]) -> Steps:
    """Isotonic regression by pooling adjacent violators (Zadrozny & Elkan, 2002).

    Each pool is smoothed by half a row of either kind, so that no score becomes a certainty.
    """
    pools: list[tuple[float, int, float]] = []  # the sum of labels, rows, the sum of scores
    for score, label in sorted(zip(scores, labels, strict=True)):
        pool = (float(label), 1, score)
        while pools and pools[-1][0] * pool[1] >= pool[0] * pools[-1][1]:
            last = pools.pop()
            pool = (last[0] + pool[0], last[1] + pool[1], last[2] + pool[2])
        pools.append(pool)
    points: dict[float, float] = {}
    highest = 0.0
    for true, rows, total in pools:
        highest = max(highest, (true + 0.5) / (rows + 1))
        points[total / rows] = highest
    return Steps(tuple(points), tuple(points.values()))


def reliability(told: Sequence[float], labels: Sequence[bool], bins: int = 10) -> Reliability:
    """What came true of what was told, in `bins` of equal width (empty ones left out)."""
    rows: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for probability, label in zip(told, labels, strict=True):
        rows[min(int(probability * bins), bins - 1)].append((probability, label))
    found = tuple(
        Bin(
            low=i / bins,
            high=(i + 1) / bins,
            rows=len(members),
            told=math.fsum(probability for probability, _ in members) / len(members),
            true=sum(label for _, label in members) / len(members),
        )
        for i, members in enumerate(rows)
        if members
    )
    total = max(1, len(told))
    squares = math.fsum((p - label) ** 2 for p, label in zip(told, labels, strict=True))
    ece = math.fsum(one.rows * abs(one.told - one.true) for one in found) / total
    return Reliability(found, ece, squares / total)


def _loss(scores: Sequence[float], targets: Sequence[float], slope: float, offset: float) -> float:
    total = 0.0
    for score, target in zip(scores, targets, strict=True):
        value = slope * score + offset
        total += max(value, 0) + math.log1p(math.exp(-abs(value))) - target * value
    return total


def _search(
    scores: Sequence[float], targets: Sequence[float], slope: float, offset: float
) -> tuple[float, float] | None:
    """A better slope and offset along Newton's step, None where there is none worth taking."""
    loss = _loss(scores, targets, slope, offset)
    step = _newton(scores, targets, slope, offset)
    size = 1.0
    while size > 1e-6:
        there = slope - size * step[0], offset - size * step[1]
        if _loss(scores, targets, *there) < loss - 1e-9:
            return there
        size /= 2
    return None


def _newton(
    scores: Sequence[float], targets: Sequence[float], slope: float, offset: float
) -> tuple[float, float]:
    """The Newton step for slope and offset."""
    g_slope = g_offset = h_cross = 0.0
    h_slope = h_offset = 1e-9
    for score, target in zip(scores, targets, strict=True):
        share = sigmoid(slope * score + offset)
        error, weight = share - target, share * (1 - share)
        g_slope += error * score
        g_offset += error
        h_slope += weight * score * score
        h_cross += weight * score
        h_offset += weight
    determinant = h_slope * h_offset - h_cross * h_cross or 1e-12
    return (
        (h_offset * g_slope - h_cross * g_offset) / determinant,
        (h_slope * g_offset - h_cross * g_slope) / determinant,
    )
