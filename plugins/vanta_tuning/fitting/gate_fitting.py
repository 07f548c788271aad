"""Fits the calibrated gate, and says how far its probabilities held on answers it had not seen.

Invariant: no answer is judged by a model or a curve that was fitted with it; the same answers give
the same model in any process.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vanta.errors import UsageError
from vanta.routing.calibration import (
    Platt,
    Reliability,
    Steps,
    fit_platt,
    fit_steps,
    reliability,
)
from vanta.routing.judgement import NAMES, SIGNS, GateModel, Judgement, vector
from vanta.routing.linear import sigmoid
from vanta.routing.signals import Signals, measure, signals
from vanta.scheduling import declines
from vanta_tuning.fitting.outcomes import JudgedAnswer

LEAST_ROWS = 40
ENOUGH_FOR_STEPS = 1000
"""Below this, Platt's two numbers are the better curve (Niculescu-Mizil & Caruana, 2005)."""

_FOLDS = 5
_BEGINNINGS = (0.25, 0.5, 0.75)
_SWEEPS = 40
_RIDGE = 1.0


@dataclass(frozen=True, slots=True)
class FittedGate:
    """A gate's model; reliability and auroc are of finished answers that it had not seen.

    auroc: the probability that a right answer is judged above a wrong one. curve: which one.
    """

    model: GateModel
    rows: int
    reliability: Reliability
    auroc: float
    curve: str


@dataclass(frozen=True, slots=True)
class _Row:
    found: Signals
    right: bool
    fold: int


def fit_gate(answers: Sequence[JudgedAnswer]) -> FittedGate:
    """A gate from judged answers. Raises UsageError if they are too few or all alike."""
    rights = sum(one.right for one in answers)
    if min(rights, len(answers) - rights) < LEAST_ROWS // 4 or len(answers) < LEAST_ROWS:
        raise UsageError(
            f"{len(answers)} answers, {rights} of them right, are too few to fit a gate: at least "
            f"{LEAST_ROWS} are needed, {LEAST_ROWS // 4} of them right and as many wrong."
        )
    whole = [_Row(signals(one.answer), one.right, i % _FOLDS) for i, one in enumerate(answers)]
    part = [row for i, one in enumerate(answers) for row in _beginnings(one, i % _FOLDS)] or whole
    told = _unseen(whole)
    labels = [row.right for row in whole]
    held = reliability(told, labels)
    area = auroc(told, labels)
    about: dict[str, Any] = {
        "rows": len(answers),
        "right": round(rights / len(answers), 4),
        "ece": round(held.ece, 4),
        "auroc": round(area, 4),
    }
    model = GateModel(_fit(whole), _fit(part), about)
    curve = "isotonic" if isinstance(model.whole.curve, Steps) else "Platt"
    return FittedGate(model, len(answers), held, area, curve)


def auroc(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """The probability that a true row scores above a false one, ties counting half."""
    positives, ranks, i = sum(labels), 0.0, 0
    ordered = sorted(zip(scores, labels, strict=True))
    while i < len(ordered):
        end = i
        while end < len(ordered) and ordered[end][0] == ordered[i][0]:
            end += 1
        ranks += sum(label for _, label in ordered[i:end]) * (i + 1 + end) / 2
        i = end
    pairs = positives * (len(labels) - positives)
    return (ranks - positives * (positives + 1) / 2) / pairs if pairs else 0.5


def _beginnings(one: JudgedAnswer, fold: int) -> list[_Row]:
    """What was there of an answer on the way."""
    logprobs = [token.logprob for token in one.answer.logprobs]
    text = one.answer.text.strip()
    rows = []
    for share in _BEGINNINGS:
        begun = text[: round(len(text) * share)]
        tokens = logprobs[: round(len(logprobs) * share)]
        found = measure(tokens, chars=len(begun), refusal=declines(begun), cut_off=False)
        rows.append(_Row(found, one.right, fold))
    return rows


def _unseen(rows: Sequence[_Row]) -> list[float]:
    """Each row's probability by a model and a curve fitted without its fold."""
    told = [0.0] * len(rows)
    for fold in range(_FOLDS):
        model = _fit([row for row in rows if row.fold != fold])
        for i, row in enumerate(rows):
            if row.fold == fold:
                told[i] = model.probability(row.found)
    return told


def _fit(rows: Sequence[_Row]) -> Judgement:
    """The logistic model of all rows, and a curve over log-odds of rows that it had not seen."""
    scores: list[float] = []
    labels: list[bool] = []
    for fold in {row.fold for row in rows}:
        model = _fit_logistic([row for row in rows if row.fold != fold])
        unseen = [row for row in rows if row.fold == fold]
        scores += [model.logit(row.found) for row in unseen]
        labels += [row.right for row in unseen]
    curve: Platt | Steps
    if len(rows) >= ENOUGH_FOR_STEPS:
        curve = fit_steps(scores, labels)
    else:
        curve = fit_platt(scores, labels)
    plain = _fit_logistic(rows)
    return Judgement(plain.weights, plain.intercept, plain.means, plain.spreads, curve)


def _fit_logistic(rows: Sequence[_Row]) -> Judgement:
    """Ridge logistic regression by coordinate descent, weights kept to their signs."""
    known = [vector(row.found) for row in rows if row.found.mean is not None]
    every = [vector(row.found) for row in rows]
    means = tuple(
        _mean([x[j] for x in (known if j < 4 and known else every)]) for j in range(len(NAMES))
    )
    data = [vector(row.found, means) for row in rows]
    spreads = tuple(
        math.sqrt(_mean([(x[j] - means[j]) ** 2 for x in data])) or 1.0 for j in range(len(NAMES))
    )
    columns = [[(x[j] - means[j]) / spreads[j] for x in data] for j in range(len(NAMES))]
    labels = [float(row.right) for row in rows]
    weights, intercept = _descend(columns, labels)
    return Judgement(weights, intercept, means, spreads, Platt(1.0, 0.0))


def _descend(
    columns: Sequence[Sequence[float]], labels: Sequence[float]
) -> tuple[tuple[float, ...], float]:
    weights = [0.0] * len(columns)
    intercept = 0.0
    margins = [0.0] * len(labels)
    ones = [1.0] * len(labels)
    # 1/4 bounds the curvature of the logistic loss, so that no step overshoots.
    for _ in range(_SWEEPS):
        largest = abs(step := _step(ones, margins, labels, 0.0, 0.0))
        intercept += step
        margins = [margin + step for margin in margins]
        for j, column in enumerate(columns):
            wanted = weights[j] + _step(column, margins, labels, weights[j], _RIDGE)
            wanted = _clipped(wanted, SIGNS[j])
            step = wanted - weights[j]
            if step:
                margins = [m + step * x for m, x in zip(margins, column, strict=True)]
                weights[j] = wanted
            largest = max(largest, abs(step))
        if largest < 1e-4:
            break
    return tuple(weights), intercept


def _step(
    column: Sequence[float],
    margins: Sequence[float],
    labels: Sequence[float],
    weight: float,
    ridge: float,
) -> float:
    gradient, curvature = ridge * weight, ridge + 1e-9
    for x, margin, label in zip(column, margins, labels, strict=True):
        gradient += (sigmoid(margin) - label) * x
        curvature += x * x / 4
    return -gradient / curvature


def _clipped(weight: float, sign: int) -> float:
    return max(0.0, weight) if sign > 0 else min(0.0, weight) if sign < 0 else weight


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
