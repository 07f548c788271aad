"""The fitted numbers of router and gate: logistic models and calibration curves, in plain Python.

`vanta_tuning` fits them; here they only decide. Invariant: a `Platt` curve strictly increases, so
it never changes an order; a `Steps` curve never falls.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Set
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Linear:
    """P(true) = sigmoid(intercept + sum of the features' weights / sqrt(their number)).

    Features without a weight are ignored and do not count.

    :param weights: the weight of each feature, by its hash.
    :param intercept: the log-odds of a row without known features.
    """

    weights: Mapping[int, float]
    intercept: float

    def known(self, features: Set[int]) -> Set[int]:
        """Return the features that have a weight."""
        return features & self.weights.keys()

    def logit(self, known: Set[int]) -> float:
        """Return the log-odds of a row of known features."""
        total = sum(map(self.weights.__getitem__, known))
        return self.intercept + total / math.sqrt(len(known) or 1)


@dataclass(frozen=True, slots=True)
class Platt:
    """Platt scaling: P(true) = sigmoid(slope * score + offset).

    :param slope: above 0.
    :param offset: the log-odds at score 0.
    """

    slope: float
    offset: float

    def __call__(self, score: float) -> float:
        """Return the probability that a row with this score is true."""
        return sigmoid(self.slope * score + self.offset)


@dataclass(frozen=True, slots=True)
class Steps:
    """A curve that never falls: linear between its points, constant outside them.

    :param scores: ascending.
    :param probabilities: 0 to 1, ascending, one for each score.
    """

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __call__(self, score: float) -> float:
        """Return the probability that a row with this score is true."""
        right = bisect.bisect_right(self.scores, score)
        if right == 0:
            return self.probabilities[0]
        if right == len(self.scores):
            return self.probabilities[-1]
        low, high = self.scores[right - 1], self.scores[right]
        share = (score - low) / (high - low)
        return self.probabilities[right - 1] * (1 - share) + self.probabilities[right] * share


def sigmoid(value: float) -> float:
    """Return the logistic function of any float."""
    if value >= 0:
        return 1 / (1 + math.exp(-value))
    grown = math.exp(value)
    return grown / (1 + grown)


def logit(probability: float) -> float:
    """Return the inverse of `sigmoid`; 0 and 1 are moved inwards by 1e-9."""
    kept = min(max(probability, 1e-9), 1 - 1e-9)
    return math.log(kept / (1 - kept))
