"""Fit the router and measure it on rows that it has not seen.

All figures, the calibration and the thresholds come from predictions across folds: each row is
scored by a model fitted without it and without its twins (rows with one prompt share a fold). A
fold's model is made to be like the whole one: its fewer rows count as much against small weights,
and its level (the gain of a prompt without known features, which follows its share of right
answers) is replaced by that of the whole model. Otherwise the thresholds would not fit the model.
Invariant: the same rows give the same model, to the last bit, in any process.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from vanta import UsageError
from vanta.routing import (
    QUANTILES,
    Linear,
    Platt,
    Router,
    RouterModel,
    features,
    quantiles,
    sigmoid,
)
from vanta_tuning.fitting.metrics import Reliability, apgr, reliability
from vanta_tuning.fitting.outcomes import OutcomeRow
from vanta_tuning.fitting.regression import (
    FOLDS,
    across_folds,
    fit_curve,
    fit_linear,
    fit_platt,
    importance,
    require_libraries,
)

LEAST_ROWS = 50
COSTS = (0.05, 0.1, 0.2, 0.4)
"""How much a row counts against small weights; the value that ranks best across folds is taken."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A router and its figures on rows that it has not seen.

    :param router: the fitted router.
    :param rows: the number of outcomes.
    :param cost: the chosen one of `COSTS`.
    :param apgr: see `vanta_tuning.fitting.metrics`; None if both tracks are equally good.
    :param by_length: the same for the length of the prompt alone.
    :param reliability: of the difficulty as a probability.
    """

    router: Router
    rows: int
    cost: float
    apgr: float | None
    by_length: float | None
    reliability: Reliability


@dataclass(frozen=True, slots=True)
class _Rows:
    """Outcomes with their features and their folds."""

    outcomes: Sequence[OutcomeRow]
    features: Sequence[set[int]]
    folds: Sequence[int]

    @classmethod
    def of(cls, outcomes: Sequence[OutcomeRow]) -> _Rows:
        """Assign folds by prompt, so that no prompt is in two folds."""
        ranked = sorted({row.prompt for row in outcomes}, key=_scattered)
        fold = {prompt: i % FOLDS for i, prompt in enumerate(ranked)}
        return cls(
            outcomes,
            [features(row.prompt) for row in outcomes],
            [fold[row.prompt] for row in outcomes],
        )


def fit_router(
    outcomes: Sequence[OutcomeRow],
    *,
    costs: Sequence[float] = COSTS,
    progress: Progress = lambda _done, _total: None,
) -> Fitted:
    """Fit a router on what both tracks made of many prompts.

    :param outcomes: at least `LEAST_ROWS` different prompts.
    :param costs: the candidates for the cost of a row.
    :param progress: called with the number of finished fits and their total.
    :raises UsageError: there are too few outcomes, nothing to route, or scikit-learn is missing.
    """
    require_libraries()
    _require(outcomes)
    rows = _Rows.of(outcomes)
    steps = itertools.count(1)
    total = len(costs) * FOLDS + 1

    def gains(cost: float) -> list[float]:
        """Return the gain of each row above the level of the model that has not seen it."""
        unseen = [0.0] * len(outcomes)
        for fold in range(FOLDS):
            weak, strong = _fit_both(rows, cost, leave_out=fold)
            for i, found in enumerate(rows.features):
                if rows.folds[i] == fold:
                    unseen[i] = _gain(weak, strong, found) - _gain(weak, strong, set())
            progress(next(steps), total)
        return unseen

    actual = [row.gain for row in outcomes]
    candidates = [(cost, gains(cost)) for cost in costs]
    cost, unseen = max(candidates, key=lambda candidate: _rank(candidate[1], actual))
    weak, strong = _fit_both(rows, cost)
    level = _gain(weak, strong, set())
    progress(total, total)
    return _finish(outcomes, weak, strong, cost, [level + gain for gain in unseen])


def _finish(
    outcomes: Sequence[OutcomeRow],
    weak: Linear,
    strong: Linear,
    cost: float,
    unseen: Sequence[float],
) -> Fitted:
    labels = _needed(outcomes)
    needed = _calibrate(unseen, labels)
    predicted = [needed(gain) for gain in unseen]
    actual = [row.gain for row in outcomes]
    score = apgr(unseen, actual)
    about: dict[str, Any] = {
        "rows": len(outcomes),
        "weak_correct": round(_mean([row.weak for row in outcomes]), 4),
        "strong_correct": round(_mean([row.strong for row in outcomes]), 4),
        "cost": cost,
        "apgr": None if score is None else round(score, 4),
    }
    model = RouterModel(weak, strong, needed, quantiles(predicted, QUANTILES), about)
    return Fitted(
        router=Router(model),
        rows=len(outcomes),
        cost=cost,
        apgr=score,
        by_length=apgr([float(len(row.prompt)) for row in outcomes], actual),
        reliability=reliability(across_folds(unseen, labels, _calibrate), labels),
    )


def _gain(weak: Linear, strong: Linear, found: Set[int]) -> float:
    known = weak.known(found)
    return sigmoid(strong.logit(known)) - sigmoid(weak.logit(known))


def _fit_both(rows: _Rows, cost: float, leave_out: int | None = None) -> tuple[Linear, Linear]:
    """Fit P(weak is right) and P(strong is right) without one fold.

    :param cost: for all rows together; without a fold each other row counts for more.
    """
    kept = [i for i, fold in enumerate(rows.folds) if fold != leave_out]
    cost *= len(rows.folds) / len(kept)
    found = [rows.features[i] for i in kept]
    scales = importance(found)
    weak = fit_linear(found, [rows.outcomes[i].weak for i in kept], scales, cost)
    strong = fit_linear(found, [rows.outcomes[i].strong for i in kept], scales, cost)
    return weak, strong


def _require(outcomes: Sequence[OutcomeRow]) -> None:
    prompts = len({row.prompt for row in outcomes})
    if prompts < LEAST_ROWS:
        raise UsageError(
            f"{prompts} different prompts are too few to fit a router: at least {LEAST_ROWS} are "
            "needed, some hundred are better."
        )
    if len(set(_needed(outcomes))) < 2:
        raise UsageError(
            "the outcomes are all alike: the strong track is needed for every prompt or for none. "
            "There is nothing to route; use the policy `api` or `local`."
        )


def _calibrate(scores: Sequence[float], labels: Sequence[bool]) -> Platt:
    return fit_curve(scores, labels, fit_platt)


def _needed(outcomes: Sequence[OutcomeRow]) -> list[bool]:
    """Return whether only the strong track was right."""
    return [row.gain > 0 for row in outcomes]


def _rank(scores: Sequence[float], gains: Sequence[float]) -> float:
    figure = apgr(scores, gains)
    # Without a gap between the tracks the area has no sign; a negative gap turns it.
    return -math.inf if figure is None else math.copysign(figure, math.fsum(gains))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _scattered(prompt: str) -> tuple[int, str]:
    return crc32(prompt.encode(errors="replace")), prompt
