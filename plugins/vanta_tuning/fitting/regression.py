"""Fit the numbers of the router and the gate with scikit-learn and SciPy (extra `fit`).

Only fitting needs these libraries: the fitted models decide in plain Python (`vanta.routing`).
Invariant: every objective is convex and every solver deterministic, so the same rows give the same
numbers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from vanta import UsageError, install_hint
from vanta.routing import Linear, Platt, Steps, logit

MOST_FEATURES = 1 << 16
LEAST_SLOPE = 1e-3
FOLDS = 5

Curve = TypeVar("Curve", Platt, Steps, Platt | Steps)
_FREE_INTERCEPT = 30.0
"""liblinear penalises the intercept too, by this number squared less than a weight. A penalised one
grows with the number of rows, so a model of all rows would be on another level than one of a part.
"""

_TRACE = 1e-6
"""The weight of an artificial row of the missing class where all rows have one label."""


def require_libraries() -> None:
    """Check that the extra `fit` is installed.

    :raises UsageError: scikit-learn is missing; the message says how to install it.
    """
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"fitting needs scikit-learn, which is not installed. Install it: {install_hint('fit')}"
        ) from error


def importance(rows: Sequence[Collection[int]]) -> dict[int, float]:
    """Return the scale of each feature: the root of its inverse document frequency.

    Spärck Jones, "A Statistical Interpretation of Term Specificity" (1972). A feature that every
    row has counts for nothing; a feature of a single row is left out, since nothing can be learnt
    from it.
    """
    frequency = Counter(feature for row in rows for feature in row)
    kept = sorted(frequency.items(), key=lambda item: (-item[1], item[0]))[:MOST_FEATURES]
    total = 1 + len(rows)
    return {feature: math.sqrt(math.log(total / count)) for feature, count in kept if count > 1}


def fit_linear(
    rows: Sequence[Collection[int]],
    labels: Sequence[float],
    scales: Mapping[int, float],
    cost: float = 1.0,
) -> Linear:
    """Minimise ||w||^2 / 2 + cost * (the sum of the logistic losses). The intercept is free.

    :param rows: the features of each row; each counts `scales[feature] / sqrt(their number)`.
    :param labels: 0 to 1; a row with 0.7 counts as 0.7 of a true row and 0.3 of a false one.
    :param scales: the features that get a weight.
    :param cost: how much a row counts against small weights, above 0.
    :returns: the weights, already multiplied by their scales.
    """
    from sklearn.linear_model import LogisticRegression

    columns = {feature: column for column, feature in enumerate(scales)}
    matrix, targets, weights = _both_classes(_sparse(rows, scales, columns), labels)
    model = LogisticRegression(
        C=cost,
        solver="liblinear",
        intercept_scaling=_FREE_INTERCEPT,
        tol=1e-4,
        random_state=0,
    )
    model.fit(matrix, targets, sample_weight=weights)
    found = model.coef_[0].tolist()
    folded = {feature: found[column] * scales[feature] for feature, column in columns.items()}
    return Linear(folded, float(model.intercept_[0]))


def _sparse(
    rows: Sequence[Collection[int]], scales: Mapping[int, float], columns: Mapping[int, int]
) -> Any:
    """Return the rows as a sparse matrix of shape (rows, features)."""
    from scipy.sparse import csr_matrix

    values: list[float] = []
    indices: list[int] = []
    ends = [0]
    for row in rows:
        known = sorted(feature for feature in row if feature in scales)
        root = math.sqrt(len(known) or 1)
        values += [scales[feature] / root for feature in known]
        indices += [columns[feature] for feature in known]
        ends.append(len(indices))
    return csr_matrix((values, indices, ends), shape=(len(rows), len(columns)))


def _both_classes(matrix: Any, labels: Sequence[float]) -> tuple[Any, Any, Any]:
    """Split fractional labels into weighted rows of both classes."""
    import numpy as np
    from scipy.sparse import csr_matrix, vstack

    shares = np.asarray(labels, float)
    true, false = shares > 0, shares < 1
    empty = csr_matrix((1, matrix.shape[1]))
    parts = [matrix[true], matrix[false], empty, empty]
    targets = [np.ones(true.sum()), np.zeros(false.sum()), np.ones(1), np.zeros(1)]
    weights = [shares[true], 1 - shares[false], np.full(2, _TRACE)]
    return vstack(parts).tocsr(), np.concatenate(targets), np.concatenate(weights)


def fit_platt(scores: Sequence[float], labels: Sequence[bool]) -> Platt:
    """Fit Platt scaling with Platt's smoothed targets.

    Lin, Lin & Weng, "A Note on Platt's Probabilistic Outputs for Support Vector Machines" (2007).
    The slope is at least `LEAST_SLOPE`: scores without information, or with the opposite meaning,
    give one probability for all rows, except for a trace that keeps their order.
    """
    import numpy as np

    positives = sum(labels)
    negatives = len(labels) - positives
    high, low = (positives + 1) / (positives + 2), 1 / (negatives + 2)
    unit = max(map(abs, scores), default=1.0) or 1.0
    columns = np.asarray([[score / unit, 1.0] for score in scores])
    targets = np.where(np.asarray(labels, bool), high, low)
    start = [LEAST_SLOPE * unit, math.log((positives + 1) / (negatives + 1))]
    bounds = [(LEAST_SLOPE * unit, None), (None, None)]
    slope, offset = _minimise(columns, targets, start, bounds, ridge=[0.0, 0.0])
    return Platt(slope / unit, offset)


def fit_steps(scores: Sequence[float], labels: Sequence[bool]) -> Steps:
    """Fit isotonic regression (Zadrozny & Elkan, 2002).

    Each level is smoothed by half a row of either kind, so that no score becomes a certainty.
    """
    from sklearn.isotonic import IsotonicRegression

    levels = IsotonicRegression().fit_transform(scores, [float(label) for label in labels])
    pools: dict[float, list[tuple[float, bool]]] = {}
    for level, score, label in sorted(zip(levels.tolist(), scores, labels, strict=True)):
        pools.setdefault(level, []).append((score, label))
    points: dict[float, float] = {}
    highest = 0.0
    for rows in pools.values():
        true = sum(label for _, label in rows)
        highest = max(highest, (true + 0.5) / (len(rows) + 1))
        points[math.fsum(score for score, _ in rows) / len(rows)] = highest
    return Steps(tuple(points), tuple(points.values()))


def fit_curve(
    scores: Sequence[float],
    labels: Sequence[bool],
    fit: Callable[[Sequence[float], Sequence[bool]], Curve],
) -> Curve | Platt:
    """Fit a calibration curve, or the base rate if the curve does not beat it on rows left out.

    Scores with little information give a curve that is worse than the share of true rows alone
    (Brier score across folds). `Platt` with the least slope then keeps their order.

    :param scores: of rows that the scoring model has not seen.
    :param labels: whether the rows are true.
    :param fit: `fit_platt` or `fit_steps`.
    """
    flat = _base_rate(labels)
    predicted = across_folds(scores, labels, fit)
    rates = across_folds(scores, labels, lambda _scores, kept: _base_rate(kept))
    return fit(scores, labels) if _brier(predicted, labels) < _brier(rates, labels) else flat


def across_folds(
    scores: Sequence[float],
    labels: Sequence[bool],
    fit: Callable[[Sequence[float], Sequence[bool]], Curve],
) -> list[float]:
    """Return each row's probability by a curve that was fitted without its fold."""
    predicted = [0.0] * len(scores)
    for fold in range(min(FOLDS, len(scores))):
        kept = [i for i in range(len(scores)) if i % FOLDS != fold]
        curve = fit([scores[i] for i in kept], [labels[i] for i in kept])
        for i in range(fold, len(scores), FOLDS):
            predicted[i] = curve(scores[i])
    return predicted


def _base_rate(labels: Sequence[bool]) -> Platt:
    """Return the curve that gives every row the share of true rows, except for a trace of order."""
    return Platt(LEAST_SLOPE, logit((sum(labels) + 1) / (len(labels) + 2)))


def _brier(predicted: Sequence[float], labels: Sequence[bool]) -> float:
    return math.fsum((p - label) ** 2 for p, label in zip(predicted, labels, strict=True))


def fit_signed(
    rows: Sequence[Sequence[float]],
    labels: Sequence[bool],
    signs: Sequence[int],
    *,
    ridge: float,
) -> tuple[tuple[float, ...], float]:
    """Fit a ridge logistic regression whose weights keep to their signs.

    :param rows: standardised values, one row for each label.
    :param signs: for each column 1 (weight at least 0), -1 (at most 0) or 0 (either).
    :param ridge: the weight of half the squared weights; the intercept is free.
    :returns: the weights and the intercept.
    """
    import numpy as np

    columns = np.column_stack([np.asarray(rows, float), np.ones(len(rows))])
    limits = {1: (0.0, None), -1: (None, 0.0), 0: (None, None)}
    bounds = [*(limits[sign] for sign in signs), (None, None)]
    penalties = [ridge] * len(signs) + [0.0]
    targets = np.asarray(labels, float)
    *weights, intercept = _minimise(columns, targets, [0.0] * len(bounds), bounds, penalties)
    return tuple(weights), intercept


def _minimise(
    columns: Any,
    targets: Any,
    start: Sequence[float],
    bounds: Sequence[tuple[float | None, float | None]],
    ridge: Sequence[float],
) -> list[float]:
    """Minimise the logistic loss within bounds (L-BFGS-B; Byrd et al., 1995)."""
    import numpy as np
    from scipy.optimize import minimize
    from scipy.special import expit

    penalty = np.asarray(ridge)

    def loss(weights: Any) -> tuple[float, Any]:
        margins = columns @ weights
        errors = expit(margins) - targets
        value = np.logaddexp(0.0, margins) - targets * margins
        return (
            float(value.sum() + 0.5 * (penalty * weights**2).sum()),
            columns.T @ errors + penalty * weights,
        )

    options = {"maxiter": 500, "ftol": 1e-12, "gtol": 1e-8}
    solution = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return [float(weight) for weight in solution.x]
