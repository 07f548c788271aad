"""From candidates to scores: pure functions, every part of a score named.

Invariant: the parts of a score add up to it; a public item's score and place among the public ones
depend on public candidates alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from vanta.memory.items import Recalled
from vanta.memory.lexical import words
from vanta.memory.retrieval import Candidate

WORDS, MEANING, NEIGHBOURS, SPEAKER, RECENCY = 1.0, 1.0, 0.3, 0.1, 0.05
"""The weights of the parts."""

HALF_LIFE_S = 90 * 24 * 3600.0
"""Age at which recency is worth half."""

SAME = 0.9
"""Share of common words from which on a text says the same as one that is recalled already."""


def rank(candidates: Sequence[Candidate], question: str, now: float, limit: int) -> list[Recalled]:
    """The best, best first: up to `limit` public ones, and as many private ones. now: seconds since
    the epoch."""
    public = [candidate for candidate in candidates if not candidate.item.private]
    ranked = _best(public, question, now, limit)
    private = [candidate for candidate in candidates if candidate.item.private]
    ranked += _best(private, question, now, limit)
    return sorted(ranked, key=_order)


def _best(candidates: Sequence[Candidate], question: str, now: float, limit: int) -> list[Recalled]:
    own = {candidate.item.id: _own(candidate) for candidate in candidates}
    scored = [_scored(candidate, own, question, now) for candidate in candidates]
    return _without_twins(sorted(scored, key=_order), limit)


def _own(candidate: Candidate) -> dict[str, float]:
    parts = {"words": WORDS * candidate.lexical / candidate.best if candidate.best else 0.0}
    if candidate.cosine is not None:
        parts["meaning"] = MEANING * candidate.cosine
    return parts


def _scored(
    candidate: Candidate, own: dict[int, dict[str, float]], question: str, now: float
) -> Recalled:
    item = candidate.item
    parts = dict(own[item.id])
    beside = [sum(own[key].values()) for key in (candidate.before, candidate.after) if key in own]
    parts["neighbours"] = NEIGHBOURS * max(beside, default=0.0)
    if item.role.lower() in words(question):
        parts["speaker"] = SPEAKER
    parts["recency"] = RECENCY * 0.5 ** (max(0.0, now - item.said_at) / HALF_LIFE_S)
    return Recalled(item, sum(parts.values()), parts)


def _without_twins(ranked: Sequence[Recalled], limit: int) -> list[Recalled]:
    """The first `limit` that do not say what a better one says already."""
    taken: list[Recalled] = []
    said: set[frozenset[str]] = set()
    for recalled in ranked:
        if len(taken) == limit:
            break
        text = frozenset(words(recalled.item.text))
        if text not in said:
            said.add(text)
            taken.append(recalled)
    return taken


def _order(recalled: Recalled) -> tuple[float, int]:
    return -recalled.score, -recalled.item.id
