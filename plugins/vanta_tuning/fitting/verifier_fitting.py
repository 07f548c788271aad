"""Fit what a verifier's word means, and choose limits for shares of escalated answers.

A verifier's P(yes) orders answers well and is often close to certain, so a limit of 0.5 on it means
little. `fit_verifier` learns P(right) from it and from the gate's own P(right). A limit for a share
of escalations is the quantile of such probabilities.

Invariant: every figure is of answers that the judging model has not seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vanta.routing import VerifierModel, quantile, verified_vector
from vanta_tuning.fitting.metrics import Reliability, auroc, reliability
from vanta_tuning.fitting.regression import FOLDS, fit_signed

SHARES = (0.05, 0.1, 0.2, 0.3, 0.5)
"""The shares of escalated answers that limits are chosen for."""

_RIDGE = 1.0


@dataclass(frozen=True, slots=True)
class EscalationLimit:
    """A limit, and what it does to answers like the fitted ones.

    :param limit: the least probability with which an answer is served, 0 to 1.
    :param escalated: the share of answers below it, which go to the other track.
    :param right: the share of right answers among those that are served; None if none is.
    """

    limit: float
    escalated: float
    right: float | None


@dataclass(frozen=True, slots=True)
class FittedVerifier:
    """The model of a verifier's word and its figures on answers that it has not seen.

    :param model: the fitted numbers.
    :param rows: the number of answers with a word.
    :param auroc: the probability that a right answer is judged above a wrong one.
    :param auroc_of_gate: the same for the gate alone, on the same answers.
    :param reliability: of P(right).
    :param limits: limits for `SHARES` of escalated answers.
    """

    model: VerifierModel
    rows: int
    auroc: float
    auroc_of_gate: float
    reliability: Reliability
    limits: tuple[EscalationLimit, ...]


def fit_verifier(
    rights: Sequence[float], words: Sequence[float], labels: Sequence[bool]
) -> FittedVerifier:
    """Fit a verifier's model.

    :param rights: for each answer the gate's P(right), by a model fitted without it.
    :param words: for each answer the verifier's P(yes).
    :param labels: whether the answers were right; some were and some were not.
    """
    rows = [verified_vector(right, yes) for right, yes in zip(rights, words, strict=True)]
    whole = _fit(rows, labels)
    predicted = [0.0] * len(rows)
    for fold in range(FOLDS):
        kept = [i for i in range(len(rows)) if i % FOLDS != fold]
        model = _at_level_of(whole, _fit([rows[i] for i in kept], [labels[i] for i in kept]), rows)
        for i in range(fold, len(rows), FOLDS):
            predicted[i] = model.probability(rights[i], words[i])
    return FittedVerifier(
        model=whole,
        rows=len(rows),
        auroc=auroc(predicted, labels),
        auroc_of_gate=auroc(rights, labels),
        reliability=reliability(predicted, labels),
        limits=limits_for(predicted, labels),
    )


def limits_for(predicted: Sequence[float], labels: Sequence[bool]) -> tuple[EscalationLimit, ...]:
    """Return the limits for `SHARES` of escalated answers, each limit once.

    :param predicted: P(right) of answers.
    :param labels: whether they were right.
    """
    ordered = sorted(predicted)
    limits = dict.fromkeys(round(quantile(ordered, share), 4) for share in SHARES)
    return tuple(_limit(limit, predicted, labels) for limit in limits)


def _limit(limit: float, predicted: Sequence[float], labels: Sequence[bool]) -> EscalationLimit:
    served = [label for value, label in zip(predicted, labels, strict=True) if value >= limit]
    return EscalationLimit(
        limit=limit,
        escalated=1 - len(served) / len(labels),
        right=sum(served) / len(served) if served else None,
    )


def _at_level_of(
    whole: VerifierModel, part: VerifierModel, rows: Sequence[tuple[float, float]]
) -> VerifierModel:
    """Return `part` with the mean log-odds of `whole`.

    Models of parts differ by the share of right answers in their parts, and limits chosen across
    them would be those of none of them.
    """
    gate, yes = (math.fsum(row[j] for row in rows) / len(rows) for j in (0, 1))
    level = whole.intercept + (whole.gate - part.gate) * gate + (whole.yes - part.yes) * yes
    return VerifierModel(part.gate, part.yes, level)


def _fit(rows: Sequence[tuple[float, float]], labels: Sequence[bool]) -> VerifierModel:
    """Fit a ridge logistic regression over both log-odds, with weights of at least 0."""
    means = [math.fsum(row[j] for row in rows) / len(rows) for j in (0, 1)]
    spreads = [
        math.sqrt(math.fsum((row[j] - means[j]) ** 2 for row in rows) / len(rows)) or 1.0
        for j in (0, 1)
    ]
    scaled = [[(row[j] - means[j]) / spreads[j] for j in (0, 1)] for row in rows]
    weights, intercept = fit_signed(scaled, labels, (1, 1), ridge=_RIDGE)
    gate, yes = (weight / spread for weight, spread in zip(weights, spreads, strict=True))
    return VerifierModel(gate, yes, intercept - gate * means[0] - yes * means[1])
