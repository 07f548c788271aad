"""Weights of the ranking, fitted: under which the turns with the evidence are most likely.

A softmax over the candidates of each question, by Newton's method with a ridge, since there are a
dozen weights only. Invariant: a fit sees the questions that it is given and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

RIDGE = 0.01
STEPS, SMALLEST = 15, 1e-3
RECENCY = 0.2
"""Set by hand: see `vanta.memory.search`."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A question's candidates: ids, features, and which of them hold evidence."""

    ids: Sequence[int]
    features: Sequence[Mapping[str, float]]
    evidence: Set[int]


def fit(questions: Sequence[Labelled], names: Sequence[str]) -> dict[str, float]:
    """The weights of `names`; "recency" is held fast."""
    import numpy as np

    free = [name for name in names if name != "recency"]
    tables = [_table(question, free) for question in questions if question.ids]
    weights = np.zeros(len(free))
    loss, step = _loss(tables, weights)
    for _ in range(STEPS):
        share = 1.0
        while share > SMALLEST:
            tried = weights - share * step
            found, following = _loss(tables, tried)
            if found < loss:
                weights, loss, step = tried, found, following
                break
            share /= 2
    return dict(zip(free, weights.tolist(), strict=True)) | {"recency": RECENCY}


def _loss(tables: Sequence[tuple[Any, Any, Any]], weights: Any) -> tuple[float, Any]:
    """The mean loss, and the step that Newton would take from it."""
    import numpy as np

    loss = RIDGE * float(weights @ weights)
    gradient = 2 * RIDGE * weights
    curvature = 2 * RIDGE * np.eye(len(weights))
    for rows, offsets, targets in tables:
        scores = rows @ weights + offsets
        scores -= scores.max()
        likely = np.exp(scores)
        total = likely.sum()
        likely /= total
        mean, held = likely @ rows, targets.sum()
        loss -= float(targets @ scores - held * np.log(total)) / len(tables)
        gradient += (held * mean - targets @ rows) / len(tables)
        spread = (rows * likely[:, None]).T @ rows - np.outer(mean, mean)
        curvature += held * spread / len(tables)
    return loss, np.linalg.solve(curvature, gradient)


def _table(question: Labelled, names: Sequence[str]) -> tuple[Any, Any, Any]:
    import numpy as np

    rows = np.array([[told.get(name, 0.0) for name in names] for told in question.features])
    offsets = np.array([RECENCY * told["recency"] for told in question.features])
    share = 1 / len(question.evidence)
    targets = np.array([share * (key in question.evidence) for key in question.ids])
    return rows, offsets, targets
