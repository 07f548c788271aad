"""P(the answer is right) from its signals: the calibrated gate's fitted numbers, and their file.

Invariant: likelier tokens never make an answer less likely to be right, nor does the lack of a
refusal or of a cut: those weights have one sign, whatever the outcomes said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vanta.routing import files
from vanta.routing.calibration import Platt, Steps
from vanta.routing.signals import Signals

KIND = "gate"
VERSION = 1
NAMES = (
    "mean logprob",
    "10 % quantile",
    "median",
    "least likely token",
    "refusal",
    "cut off",
    "no logprobs",
    "length",
)
SIGNS = (1, 1, 1, 1, -1, -1, 0, 0)
"""Which way a signal may push: up, down, either."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A logistic model over standardised signals, and the curve from its log-odds to how often
    answers like that were right."""

    weights: tuple[float, ...]
    intercept: float
    means: tuple[float, ...]
    spreads: tuple[float, ...]
    curve: Platt | Steps

    def logit(self, found: Signals) -> float:
        """The log-odds before calibration."""
        values = zip(vector(found, self.means), self.means, self.spreads, self.weights, strict=True)
        return self.intercept + sum((x - mean) / spread * w for x, mean, spread, w in values)

    def probability(self, found: Signals) -> float:
        """P(right)."""
        return self.curve(self.logit(found))


@dataclass(frozen=True, slots=True)
class GateModel:
    """whole: for finished answers; part: for what there is of an unfinished one, fitted on the
    beginnings of the same answers. about: what it was fitted on and how it did."""

    whole: Judgement
    part: Judgement
    about: Mapping[str, Any] = field(default_factory=dict)


def vector(found: Signals, typical: tuple[float, ...] | None = None) -> list[float]:
    """The signals as numbers, in the order of `NAMES`; without logprobs, the typical ones."""
    if found.mean is None or found.low is None or found.middle is None or found.least is None:
        logprobs = list(typical[:4]) if typical else [0.0] * 4
    else:
        logprobs = [found.mean, found.low, found.middle, found.least]
    return [
        *logprobs,
        float(found.refusal),
        float(found.cut_off),
        float(found.mean is None),
        math.log1p(found.tokens or found.chars / 4),
    ]


def save(model: GateModel, path: Path) -> None:
    """Write a model file. Raises UsageError if it cannot be written."""
    data = {"about": dict(model.about), "whole": _data(model.whole), "part": _data(model.part)}
    files.write(path, KIND, VERSION, data)


def load(path: Path) -> GateModel:
    """Read a model file. Raises UsageError if it is missing or broken."""
    data = files.read(path, KIND, VERSION)
    try:
        about = data.get("about")
        if not isinstance(about, dict):
            raise ValueError("it has no 'about'")  # noqa: TRY004 - one error for broken files
        return GateModel(_judgement(data.get("whole")), _judgement(data.get("part")), about)
    except ValueError as error:
        raise files.broken(path, KIND, error) from error


def _data(one: Judgement) -> dict[str, Any]:
    curve: dict[str, Any]
    if isinstance(one.curve, Platt):
        curve = {"slope": one.curve.slope, "offset": one.curve.offset}
    else:
        curve = {"scores": one.curve.scores, "probabilities": one.curve.probabilities}
    return {
        "signals": NAMES,
        "weights": one.weights,
        "intercept": one.intercept,
        "means": one.means,
        "spreads": one.spreads,
        "curve": curve,
    }


def _judgement(data: object) -> Judgement:
    if not isinstance(data, dict) or data.get("signals") != list(NAMES):
        raise ValueError(f"it does not judge by {', '.join(NAMES)}")
    weights, means = files.numbers(data.get("weights")), files.numbers(data.get("means"))
    spreads = files.numbers(data.get("spreads"), 1e-9)
    if not len(weights) == len(means) == len(spreads) == len(NAMES):
        raise ValueError(f"it has not {len(NAMES)} weights, means and spreads")
    if any(weight * sign < 0 for weight, sign in zip(weights, SIGNS, strict=True)):
        raise ValueError("a weight has the wrong sign")
    return Judgement(
        weights, files.number(data.get("intercept")), means, spreads, _curve(data.get("curve"))
    )


def _curve(data: object) -> Platt | Steps:
    if not isinstance(data, dict):
        raise ValueError("it has no 'curve'")  # noqa: TRY004 - one error for broken files
    if "slope" in data:
        return Platt(files.number(data["slope"], 0), files.number(data.get("offset")))
    scores = files.numbers(data.get("scores"))
    chances = files.numbers(data.get("probabilities"), 0, 1)
    if not scores or len(scores) != len(chances):
        raise ValueError("its curve has not as many probabilities as scores")
    if list(chances) != sorted(chances) or list(scores) != sorted(set(scores)):
        raise ValueError("its curve falls")
    return Steps(scores, chances)
