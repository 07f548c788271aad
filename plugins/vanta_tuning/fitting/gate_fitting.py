"""Fit the calibrated gate and measure its probabilities on answers that it has not seen.

Invariant: no answer is judged by a model or a curve that was fitted with it; the same answers give
the same model in any process.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vanta import UsageError
from vanta.routing import (
    SIGNALS,
    SIGNS,
    GateModel,
    Judgement,
    Platt,
    Signals,
    Steps,
    measure,
    signals,
    vector,
)
from vanta.scheduling import declines
from vanta_tuning.fitting.metrics import Reliability, auroc, reliability
from vanta_tuning.fitting.outcomes import JudgedAnswer
from vanta_tuning.fitting.regression import (
    FOLDS,
    LEAST_SLOPE,
    fit_curve,
    fit_platt,
    fit_signed,
    fit_steps,
    require_libraries,
)
from vanta_tuning.fitting.verifier_fitting import (
    EscalationLimit,
    FittedVerifier,
    fit_verifier,
    limits_for,
)

LEAST_ROWS = 40
ENOUGH_FOR_STEPS = 1000
"""Below this, Platt's two numbers are the better curve (Niculescu-Mizil & Caruana, 2005)."""

_BEGINNINGS = (0.25, 0.5, 0.75)
_RIDGE = 1.0


@dataclass(frozen=True, slots=True)
class FittedGate:
    """A gate's model and its figures on finished answers that it has not seen.

    :param model: the fitted numbers.
    :param rows: the number of answers.
    :param reliability: of P(right).
    :param auroc: the probability that a right answer is judged above a wrong one.
    :param curve: the kind of calibration curve: "isotonic", "Platt", or "base rate" if the signals
        predict no better than the share of right answers.
    :param limits: values of `min_probability` for shares of escalated answers.
    :param verifier: the model of a verifier's word; None if fewer than `LEAST_ROWS` answers have
        one.
    """

    model: GateModel
    rows: int
    reliability: Reliability
    auroc: float
    curve: str
    limits: tuple[EscalationLimit, ...]
    verifier: FittedVerifier | None


@dataclass(frozen=True, slots=True)
class _Example:
    found: Signals
    right: bool
    fold: int


def fit_gate(answers: Sequence[JudgedAnswer]) -> FittedGate:
    """Fit a gate on judged answers.

    :param answers: at least `LEAST_ROWS`, a quarter of that number right and as many wrong.
    :raises UsageError: there are too few answers, or scikit-learn is missing.
    """
    require_libraries()
    rights = sum(item.right for item in answers)
    if not _suffice(answers):
        raise UsageError(
            f"{len(answers)} answers, {rights} of them right, are too few to fit a gate: at least "
            f"{LEAST_ROWS} are needed, {LEAST_ROWS // 4} of them right and as many wrong."
        )
    folded = [(item, i % FOLDS) for i, item in enumerate(answers)]
    whole = [_Example(signals(item.answer), item.right, fold) for item, fold in folded]
    part = [row for item, fold in folded for row in _beginnings(item, fold)] or whole
    predicted = _unseen(whole)
    labels = [row.right for row in whole]
    curve = reliability(predicted, labels)
    area = auroc(predicted, labels)
    about: dict[str, Any] = {
        "rows": len(answers),
        "right": round(rights / len(answers), 4),
        "ece": round(curve.ece, 4),
        "auroc": round(area, 4),
    }
    verifier = _verifier(answers, predicted)
    if verifier:
        about |= {"verified": verifier.rows, "verified_auroc": round(verifier.auroc, 4)}
    judged = verifier.model if verifier else None
    model = GateModel(_fit(whole), _fit(part), about, judged)
    limits = limits_for(predicted, labels)
    return FittedGate(model, len(answers), curve, area, _kind(model), limits, verifier)


def _kind(model: GateModel) -> str:
    curve = model.whole.curve
    if isinstance(curve, Steps):
        return "isotonic"
    return "base rate" if curve.slope == LEAST_SLOPE else "Platt"


def _suffice(answers: Sequence[JudgedAnswer]) -> bool:
    rights = sum(item.right for item in answers)
    least = min(rights, len(answers) - rights)
    return len(answers) >= LEAST_ROWS and least >= LEAST_ROWS // 4


def _verifier(answers: Sequence[JudgedAnswer], predicted: Sequence[float]) -> FittedVerifier | None:
    """Fit the verifier's model on the answers that one judged, None if they are too few."""
    judged = [
        (item, right)
        for item, right in zip(answers, predicted, strict=True)
        if item.yes is not None
    ]
    if not _suffice([item for item, _ in judged]):
        return None
    rights = [right for _, right in judged]
    words = [item.yes for item, _ in judged if item.yes is not None]
    return fit_verifier(rights, words, [item.right for item, _ in judged])


def _beginnings(item: JudgedAnswer, fold: int) -> list[_Example]:
    """Return the unfinished stages of an answer."""
    logprobs = [token.logprob for token in item.answer.logprobs]
    text = item.answer.text.strip()
    rows = []
    for share in _BEGINNINGS:
        begun = text[: round(len(text) * share)]
        tokens = logprobs[: round(len(logprobs) * share)]
        found = measure(tokens, chars=len(begun), refusal=declines(begun), cut_off=False)
        rows.append(_Example(found, item.right, fold))
    return rows


def _unseen(rows: Sequence[_Example]) -> list[float]:
    """Return each row's probability by a model and a curve fitted without its fold."""
    predicted = [0.0] * len(rows)
    for fold in range(FOLDS):
        model = _fit([row for row in rows if row.fold != fold])
        for i, row in enumerate(rows):
            if row.fold == fold:
                predicted[i] = model.probability(row.found)
    return predicted


def _fit(rows: Sequence[_Example]) -> Judgement:
    """Fit the model on all rows and the curve on log-odds of rows that it has not seen."""
    scores: list[float] = []
    labels: list[bool] = []
    for fold in sorted({row.fold for row in rows}):
        model = _fit_logistic([row for row in rows if row.fold != fold])
        unseen = [row for row in rows if row.fold == fold]
        scores += [model.logit(row.found) for row in unseen]
        labels += [row.right for row in unseen]
    plain = _fit_logistic(rows)
    curve: Platt | Steps
    if len(rows) >= ENOUGH_FOR_STEPS:
        curve = fit_curve(scores, labels, fit_steps)
    else:
        curve = fit_curve(scores, labels, fit_platt)
    return Judgement(plain.weights, plain.intercept, plain.means, plain.spreads, curve)


def _fit_logistic(rows: Sequence[_Example]) -> Judgement:
    """Fit a ridge logistic regression over standardised signals, weights kept to their signs."""
    known = [vector(row.found) for row in rows if row.found.mean is not None]
    every = [vector(row.found) for row in rows]
    columns = range(len(SIGNALS))
    means = tuple(_mean([x[j] for x in (known if j < 4 and known else every)]) for j in columns)
    data = [vector(row.found, means) for row in rows]
    spreads = tuple(
        math.sqrt(_mean([(x[j] - means[j]) ** 2 for x in data])) or 1.0 for j in columns
    )
    scaled = [[(x[j] - means[j]) / spreads[j] for j in columns] for x in data]
    weights, intercept = fit_signed(scaled, [row.right for row in rows], SIGNS, ridge=_RIDGE)
    return Judgement(weights, intercept, means, spreads, Platt(1.0, 0.0))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
