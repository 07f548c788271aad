"""Logistic regression on sets of features, in plain Python, the same on every machine.

Invariant: `fit` is deterministic for its arguments, and what it minimises is convex, so that the
order of the rows changes nothing but the last digits.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass

MOST_FEATURES = 1 << 16
_PASSES = 12
_NEWTON_STEPS = 3
_SMALL = 1e-3


@dataclass(frozen=True, slots=True)
class Linear:
    """P(true) = sigmoid(intercept + sum of the weights of the features / sqrt(their number)).

    Features without a weight say nothing, and do not count.
    """

    weights: Mapping[int, float]
    intercept: float

    def known(self, features: Set[int]) -> Set[int]:
        """Those that have a weight."""
        return features & self.weights.keys()

    def logit(self, known: Set[int]) -> float:
        """The log-odds for a row of known features."""
        total = sum(map(self.weights.__getitem__, known))
        return self.intercept + total / math.sqrt(len(known) or 1)


def sigmoid(value: float) -> float:
    """The logistic function, for any float."""
    if value >= 0:
        return 1 / (1 + math.exp(-value))
    grown = math.exp(value)
    return grown / (1 + grown)


def logit(probability: float) -> float:
    """The inverse of `sigmoid`; 0 and 1 are taken for nearly so."""
    kept = min(max(probability, 1e-9), 1 - 1e-9)
    return math.log(kept / (1 - kept))


def importance(rows: Sequence[Collection[int]]) -> dict[int, float]:
    """What each feature's presence counts: the root of its inverse document frequency (Sparck
    Jones, 1972), so that what every row has counts for nothing. A feature of a single row is left
    out: nothing can be learnt from it."""
    frequency = Counter(feature for row in rows for feature in row)
    kept = sorted(frequency.items(), key=lambda item: (-item[1], item[0]))[:MOST_FEATURES]
    total = 1 + len(rows)
    return {feature: math.sqrt(math.log(total / count)) for feature, count in kept if count > 1}


def fit(
    rows: Sequence[Collection[int]],
    labels: Sequence[float],
    scales: Mapping[int, float],
    cost: float = 1.0,
) -> Linear:
    """Minimise ||w||^2 / 2 + cost * (the sum of the logistic losses).

    labels: from 0 to 1, a row with 0.7 counts as 0.7 of a true one and 0.3 of a false one.
    By dual coordinate descent (Yu, Huang & Lin, "Dual Coordinate Descent Methods for Logistic
    Regression and Maximum Entropy Models", 2011): a true row has a multiplier in (0, cost), a false
    one in (-cost, 0), found through its log-odds, where Newton's method needs no bounds.
    """
    weights = dict.fromkeys(scales, 0.0)
    intercept = 0.0
    data = [_scaled(row, scales) for row in rows]
    norms = [1 + sum(value * value for value in row.values()) for row in data]
    duals = [0.0] * len(rows)
    order = list(range(len(rows)))
    shuffle = random.Random(0).shuffle  # noqa: S311 - an order of rows, not a secret
    for _ in range(_PASSES):
        shuffle(order)
        largest = 0.0
        for i in order:
            row = data[i]
            margin = intercept
            for feature, value in row.items():
                margin += weights[feature] * value
            change = _best_dual(margin, duals[i], labels[i], norms[i], cost) - duals[i]
            duals[i] += change
            largest = max(largest, abs(change))
            intercept += change
            for feature, value in row.items():
                weights[feature] += change * value
        if largest < _SMALL * cost:
            break
    folded = {feature: weight * scales[feature] for feature, weight in weights.items()}
    return Linear(folded, intercept)


def _scaled(row: Collection[int], scales: Mapping[int, float]) -> dict[int, float]:
    known = sorted(feature for feature in row if feature in scales)
    root = math.sqrt(len(known) or 1)
    return {feature: scales[feature] / root for feature in known}


def _best_dual(margin: float, dual: float, label: float, norm: float, cost: float) -> float:
    """The multiplier that is best for a row while all others stay: the solution of
    cost * (label - sigmoid(z)) = multiplier, where z = margin + norm * (multiplier - dual)."""
    z = margin
    for _ in range(_NEWTON_STEPS):
        share = sigmoid(z)
        error = z - margin - norm * (cost * (label - share) - dual)
        z -= error / (1 + norm * cost * share * (1 - share))
    return cost * (label - sigmoid(z))
