"""What `memory.min_relevance` shows and hides, and the fit of its weights.

A question's own conversation has its evidence; every conversation is also asked questions of the
others, for which it has none. The weights are those of a logistic regression in which evidence and
all other candidates weigh the same in total. Invariant: a conversation is judged with weights that
are fitted on the questions and the stores of the others.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vanta.memory.search import MIN_RELEVANCE, RecallCandidate, evidence

from ..report import Figure
from .conversations import Dialogue, LocomoQuestion

RIDGE, STEPS = 1e-3, 12
EVERY = 6
"""One of so many questions is asked in the conversations that do not have its answer."""

Retrieve = Callable[[Dialogue, LocomoQuestion], Sequence[RecallCandidate]]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question in a store: the evidence of each candidate, and which of them answer it."""

    store: str
    origin: str
    rows: Sequence[dict[str, float]]
    answers: Sequence[bool]


def relevance_figures(
    dialogues: Sequence[Dialogue], retrieve: Retrieve, condition: str
) -> Iterator[Figure]:
    """Yield the figures, and the weights fitted on all conversations in a note."""
    asked = list(_ask(dialogues, retrieve))
    own, foreign = list[float](), list[bool]()
    for dialogue in dialogues:
        name = dialogue.name
        weights = fit([item for item in asked if name not in (item.store, item.origin)])
        for item in asked:
            if item.store == name:
                _judge(item, weights, own, foreign)
    yield Figure(
        name=f"locomo: recalled evidence that is relevant enough to show, {condition}",
        value=100 * statistics.fmean(own),
        unit="%",
        better="higher",
        note=f"at memory.min_relevance = {MIN_RELEVANCE}; weights fitted on all: "
        + ", ".join(f"{name} {weight:.2f}" for name, weight in fit(asked).items()),
    )
    yield Figure(
        name=f"locomo: questions without an answer that are shown nothing, {condition}",
        value=100 * statistics.fmean(foreign),
        unit="%",
        better="higher",
        note=f"{len(foreign)} questions of other conversations, among memories of another one",
    )


def fit(asked: Sequence[_Asked]) -> dict[str, float]:
    """Return the weights of a logistic regression, fitted with Newton's method."""
    import numpy as np

    names = ["constant", *next(item.rows[0] for item in asked if item.rows)]
    table = np.array(
        [[1.0, *(row[name] for name in names[1:])] for item in asked for row in item.rows]
    )
    labels = np.array([float(answer) for item in asked for answer in item.answers])
    share = np.where(labels == 1, 1 / labels.sum(), 1 / (1 - labels).sum()) * 1000
    weights = np.zeros(len(names))
    for _ in range(STEPS):
        likely = _sigmoid(table @ weights)
        gradient = table.T @ (share * (likely - labels)) + RIDGE * weights
        curvature = (table * (share * likely * (1 - likely))[:, None]).T @ table
        weights -= np.linalg.solve(curvature + RIDGE * np.eye(len(names)), gradient)
    return dict(zip(names, weights.tolist(), strict=True))


def _ask(dialogues: Sequence[Dialogue], retrieve: Retrieve) -> Iterator[_Asked]:
    for store in dialogues:
        for origin in dialogues:
            questions = origin.questions if origin is store else origin.questions[::EVERY]
            for question in questions:
                candidates = retrieve(store, question)
                right = question.evidence if origin is store else frozenset[int]()
                yield _Asked(
                    store.name,
                    origin.name,
                    [evidence(candidate) for candidate in candidates],
                    [candidate.item.id in right for candidate in candidates],
                )


def _judge(item: _Asked, weights: dict[str, float], own: list[float], foreign: list[bool]) -> None:
    shown = [
        _sigmoid(weights["constant"] + sum(weights[name] * row[name] for name in row))
        >= MIN_RELEVANCE
        for row in item.rows
    ]
    if item.store != item.origin:
        foreign.append(not any(shown))
    elif any(item.answers):
        kept = [seen for seen, answer in zip(shown, item.answers, strict=True) if answer]
        own.append(statistics.fmean(kept))


def _sigmoid(odds: Any) -> Any:
    import numpy as np

    return 1 / (1 + np.exp(-np.clip(odds, -500, 500)))
