"""Fits the router, and says what it is worth on rows that it has not seen.

Every figure, the calibration and the thresholds come from predictions across folds: each row is
scored by a model fitted without it (and without its twins: rows with one prompt share a fold).
Invariant: the same rows give the same model, to the last bit, in any process.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from vanta.errors import UsageError
from vanta.routing import features
from vanta.routing.calibration import Reliability, fit_platt, reliability
from vanta.routing.linear import Linear, fit, importance, sigmoid
from vanta.routing.quantiles import quantiles
from vanta.routing.router import QUANTILES, Model, Router
from vanta_tuning.fitting.metrics import apgr
from vanta_tuning.fitting.outcomes import Outcome

LEAST_ROWS = 50
COSTS = (0.05, 0.1, 0.2, 0.4)
"""How much a row counts against small weights; the one that ranks best across folds is taken."""

_FOLDS = 5
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A router and how it did on rows that it had not seen.

    apgr: see `vanta_tuning.fitting.metrics`; by_length: the same for the length of the prompt
    alone; both are None where both tracks are equally good. reliability: of the difficulty as a
    probability.
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

    outcomes: Sequence[Outcome]
    found: Sequence[set[int]]
    folds: Sequence[int]

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> _Rows:
        """Dealt out by prompt, so that no prompt is in two folds."""
        ranked = sorted({row.prompt for row in outcomes}, key=_scattered)
        fold = {prompt: i % _FOLDS for i, prompt in enumerate(ranked)}
        return cls(
            outcomes,
            [features.features(row.prompt) for row in outcomes],
            [fold[row.prompt] for row in outcomes],
        )


def fit_router(
    outcomes: Sequence[Outcome],
    *,
    costs: Sequence[float] = COSTS,
    progress: Progress = lambda _done, _total: None,
) -> Fitted:
    """A router from what both tracks made of many prompts. Raises UsageError for too few rows."""
    _require(outcomes)
    rows = _Rows.of(outcomes)
    steps = itertools.count(1)
    total = len(costs) * _FOLDS + 1

    def gains(cost: float) -> list[float]:
        unseen = [0.0] * len(outcomes)
        for fold in range(_FOLDS):
            weak, strong = _fit_both(rows, cost, leave_out=fold)
            for i, found in enumerate(rows.found):
                if rows.folds[i] == fold:
                    known = weak.known(found)
                    unseen[i] = sigmoid(strong.logit(known)) - sigmoid(weak.logit(known))
            progress(next(steps), total)
        return unseen

    real = [row.gain for row in outcomes]
    cost, unseen = max(((cost, gains(cost)) for cost in costs), key=lambda one: _rank(one[1], real))
    weak, strong = _fit_both(rows, cost)
    progress(total, total)
    return _finish(outcomes, weak, strong, cost, unseen)


def _finish(
    outcomes: Sequence[Outcome], weak: Linear, strong: Linear, cost: float, unseen: Sequence[float]
) -> Fitted:
    needed = fit_platt(unseen, _needed(outcomes))
    told = [needed(gain) for gain in unseen]
    real = [row.gain for row in outcomes]
    report = {
        "rows": len(outcomes),
        "weak_correct": round(_mean([row.weak for row in outcomes]), 4),
        "strong_correct": round(_mean([row.strong for row in outcomes]), 4),
        "cost": cost,
    }
    score = apgr(unseen, real)
    about: dict[str, Any] = {**report, "apgr": None if score is None else round(score, 4)}
    model = Model(weak, strong, needed, quantiles(told, QUANTILES), about)
    return Fitted(
        router=Router(model),
        rows=len(outcomes),
        cost=cost,
        apgr=score,
        by_length=apgr([float(len(row.prompt)) for row in outcomes], real),
        reliability=reliability(told, _needed(outcomes)),
    )


def _fit_both(rows: _Rows, cost: float, leave_out: int | None = None) -> tuple[Linear, Linear]:
    """P(weak is right) and P(strong is right), fitted without one fold."""
    kept = [i for i, fold in enumerate(rows.folds) if fold != leave_out]
    found = [rows.found[i] for i in kept]
    scales = importance(found)
    weak = fit(found, [rows.outcomes[i].weak for i in kept], scales, cost)
    strong = fit(found, [rows.outcomes[i].strong for i in kept], scales, cost)
    return weak, strong


def _require(outcomes: Sequence[Outcome]) -> None:
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


def _needed(outcomes: Sequence[Outcome]) -> list[bool]:
    """Whether only the strong track was right."""
    return [row.gain > 0 for row in outcomes]


def _rank(scores: Sequence[float], gains: Sequence[float]) -> float:
    found = apgr(scores, gains)
    # Without a gap between the tracks, the area has no sign; with a negative one, it is turned.
    return -math.inf if found is None else math.copysign(found, math.fsum(gains))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _scattered(prompt: str) -> tuple[int, str]:
    return crc32(prompt.encode(errors="replace")), prompt
