"""Fitting of the ranking weights: the weights that make the turns with evidence most likely.

The model is a softmax over the candidates of each question, fitted with Newton's method and a ridge
penalty, because there are only a dozen weights. Invariant: a fit depends on the given questions
only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

RIDGE = 0.01
STEPS, MIN_STEP = 15, 1e-3
RECENCY = 0.2
"""Set by hand: see `vanta.memory.search`."""


@dataclass(frozen=True, slots=True)
class LabelledQuestion:
    """The candidates of a question: ids, features, and the ids with evidence."""

    ids: Sequence[int]
    features: Sequence[Mapping[str, float]]
    evidence: Set[int]


def fit(questions: Sequence[LabelledQuestion], names: Sequence[str]) -> dict[str, float]:
    """Return the fitted weights of `names`; the weight of "recency" is fixed."""
    import numpy as np

    free = [name for name in names if name != "recency"]
    tables = [_table(question, free) for question in questions if question.ids]
    weights = np.zeros(len(free))
    loss, step = _loss(tables, weights)
    for _ in range(STEPS):
        share = 1.0
        while share > MIN_STEP:
            candidate = weights - share * step
            candidate_loss, next_step = _loss(tables, candidate)
            if candidate_loss < loss:
                weights, loss, step = candidate, candidate_loss, next_step
                break
            share /= 2
    return dict(zip(free, weights.tolist(), strict=True)) | {"recency": RECENCY}


def _loss(tables: Sequence[tuple[Any, Any, Any]], weights: Any) -> tuple[float, Any]:
    """Return the mean loss and the Newton step."""
    import numpy as np

    loss = RIDGE * float(weights @ weights)
    gradient = 2 * RIDGE * weights
    curvature = 2 * RIDGE * np.eye(len(weights))
    for rows, offsets, targets in tables:
        scores = rows @ weights + offsets
        scores -= scores.max()
        probabilities = np.exp(scores)
        total = probabilities.sum()
        probabilities /= total
        mean, held = probabilities @ rows, targets.sum()
        loss -= float(targets @ scores - held * np.log(total)) / len(tables)
        gradient += (held * mean - targets @ rows) / len(tables)
        spread = (rows * probabilities[:, None]).T @ rows - np.outer(mean, mean)
        curvature += held * spread / len(tables)
    return loss, np.linalg.solve(curvature, gradient)


def _table(question: LabelledQuestion, names: Sequence[str]) -> tuple[Any, Any, Any]:
    import numpy as np

    rows = np.array([[row.get(name, 0.0) for name in names] for row in question.features])
    offsets = np.array([RECENCY * row["recency"] for row in question.features])
    share = 1 / len(question.evidence)
    targets = np.array([share * (key in question.evidence) for key in question.ids])
    return rows, offsets, targets
