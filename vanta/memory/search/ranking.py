"""From candidates to scores: pure functions, every part of a score named.

A score is a sum of parts, each a feature times its weight, in natural units of log-odds: of two
items, the one with 1 more is e times as likely to be what the question needs. Words and meaning
count relative to the best candidate, so that scales of embedders do not matter. Invariant: the
parts add up to the score; a public item's score, and its place among the public ones, depend on
public candidates alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vanta.memory.dates.dates import mentioned
from vanta.memory.items import MemoryItem, Recalled
from vanta.memory.search.lexical import words
from vanta.memory.search.retrieval import Candidate

Weights = Mapping[str, float]
"""What the parts count, by their names."""

HYBRID: Weights = {
    "words": 2.1,
    "words around": 2.9,
    "words beside": 1.2,
    "meaning": 1.9,
    "meaning around": 1.2,
    "session": 1.2,
    "speaker": 2.0,
    "length": 0.8,
    "answer": 0.7,
    "date": 1.2,
    "time": 1.8,
    "recency": 0.2,
}
"""Weights with vectors: those under which the turns that hold the answer are most likely (softmax
over the candidates, ridge 0.01) in five conversations of LoCoMo, rounded; `benchmarks/
memory_locomo.py` fits them anew and measures on what they were not fitted on. Recency is set by
hand: questions of that kind hardly need it, a person who changes their mind does."""

LEXICAL: Weights = {
    "words": 2.0,
    "words around": 2.4,
    "words beside": 1.1,
    "session": 2.6,
    "speaker": 1.9,
    "length": 0.6,
    "answer": 0.7,
    "date": 1.1,
    "time": 1.6,
    "recency": 0.2,
}
"""Weights without, found in the same way."""

HALF_LIFE_S = 90 * 24 * 3600.0
"""Age at which recency is worth half."""

NEAR_S = 14 * 24 * 3600.0
"""So far from a time that a question names, it is worth 1/e."""

SAYS_SOMETHING = 4
"""Words below which a text ("Yes, please.") means something only where it was said."""

_WHEN = re.compile(
    r"\s*(?:when|how (?:long|recently)|how many (?:days|weeks|months|years)"
    r"|(?:(?:in|on|at) )?(?:what|which) (?:date|day|month|year|time))\b",
    re.IGNORECASE,
)
_FIRST_PERSON = {"i", "me", "my", "mine", "we", "our", "us"}
_SECOND_PERSON = {"you", "your", "yours"}
_FILLERS = {
    "a",
    "an",
    "the",
    "so",
    "well",
    "oh",
    "ok",
    "okay",
    "please",
    "just",
    "and",
    "hi",
    "hey",
}


def rank(
    candidates: Sequence[Candidate],
    question: str,
    now: float,
    limit: int,
    weights: Weights | None = None,
) -> list[Recalled]:
    """The best, best first: up to `limit` public ones, and as many private ones. now: seconds since
    the epoch. weights: in place of `HYBRID` and `LEXICAL`."""
    asked = _Asked.of(question, now)
    public = [candidate for candidate in candidates if not candidate.item.private]
    ranked = _without_twins(_score(public, public, asked, weights), limit)
    private = [candidate for candidate in candidates if candidate.item.private]
    if private:
        ranked += _without_twins(_score(private, candidates, asked, weights), limit)
        ranked.sort(key=_order)
    return ranked


def features(
    candidates: Sequence[Candidate], question: str, now: float
) -> list[Mapping[str, float]]:
    """What speaks for each candidate, each feature from 0 to about 1 (length: -0.7 to 2.5); what
    weights are fitted on."""
    asked, scale = _Asked.of(question, now), _Scale.of(candidates)
    return [_features(candidate, scale, asked) for candidate in candidates]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a question tells by itself. roles: whose words it asks for, and how surely."""

    words: frozenset[str]
    roles: Mapping[str, float]
    when: bool
    times: Sequence[tuple[float, float]]
    now: float

    @classmethod
    def of(cls, question: str, now: float) -> _Asked:
        said = frozenset(words(question))
        mine, yours = bool(said & _FIRST_PERSON), bool(said & _SECOND_PERSON)
        roles = {} if mine == yours else {"user" if mine else "assistant": 0.5}
        return cls(said, roles, bool(_WHEN.match(question)), mentioned(question, now), now)


@dataclass(frozen=True, slots=True)
class _Scale:
    """What the candidates are measured by: the best of each kind, and the best of each session."""

    words: float
    cosine: float | None
    sessions: Mapping[tuple[str, str, str], float]

    @classmethod
    def of(cls, candidates: Sequence[Candidate]) -> _Scale:
        most = max((candidate.words for candidate in candidates), default=0.0)
        cosines = [candidate.cosine for candidate in candidates if candidate.cosine is not None]
        nearest = max(cosines) if cosines else None
        scale = cls(most, nearest, {})
        sessions: dict[tuple[str, str, str], float] = {}
        for candidate in candidates:
            value = scale.own_words(candidate) if nearest is None else scale.own_meaning(candidate)
            key = _session(candidate.item)
            sessions[key] = max(value, sessions.get(key, 0.0))
        return cls(most, nearest, sessions)

    def own_words(self, candidate: Candidate) -> float:
        return candidate.words / self.words if self.words else 0.0

    def own_meaning(self, candidate: Candidate) -> float:
        return self.relative(candidate.cosine)

    def relative(self, cosine: float | None) -> float:
        if cosine is None or self.cosine is None or self.cosine <= 0:
            return 0.0
        return max(0.0, cosine) / self.cosine


def _features(candidate: Candidate, scale: _Scale, asked: _Asked) -> dict[str, float]:
    item = candidate.item
    told = {
        "words": scale.own_words(candidate),
        "words around": candidate.around,
        "words beside": min(1.0, candidate.beside / scale.words) if scale.words else 0.0,
        "session": scale.sessions[_session(item)],
        "speaker": 1.0 if item.role.lower() in asked.words else asked.roles.get(item.role, 0.0),
        "length": min(2.5, math.log(max(len(item.text), 10) / 20)),
        "answer": float(candidate.answers),
        "date": float(asked.when and bool(item.dates)),
        "time": max((_nearness(item.said_at, time) for time in asked.times), default=0.0),
        "recency": 0.5 ** (max(0.0, asked.now - item.said_at) / HALF_LIFE_S),
    }
    if scale.cosine is not None:
        told["meaning"] = scale.own_meaning(candidate)
        told["meaning around"] = scale.relative(candidate.cosine_beside)
    return told


def _score(
    candidates: Sequence[Candidate],
    beside: Sequence[Candidate],
    asked: _Asked,
    weights: Weights | None,
) -> list[Recalled]:
    """Scores, best first. beside: the candidates that they are measured by."""
    scale = _Scale.of(beside)
    if weights is None:
        weights = LEXICAL if scale.cosine is None else HYBRID
    scored = []
    for candidate in candidates:
        told = _features(candidate, scale, asked)
        parts = {name: weight * told[name] for name, weight in weights.items() if told[name]}
        scored.append(Recalled(candidate.item, sum(parts.values()), parts))
    return sorted(scored, key=_order)


def _without_twins(ranked: Sequence[Recalled], limit: int) -> list[Recalled]:
    """The first `limit`, without those that say what a better one says already: the same words in
    the same order, case, signs and fillers aside. One that differs by a number or by a "not" is no
    twin."""
    taken: list[Recalled] = []
    said: set[tuple[str, ...]] = set()
    for recalled in ranked:
        if len(taken) == limit:
            break
        item = recalled.item
        told = tuple(word for word in words(item.text) if word not in _FILLERS)
        if len(told) >= SAYS_SOMETHING:
            told = (item.kind, item.role, *told)
            if told in said:
                continue
            said.add(told)
        taken.append(recalled)
    return taken


def _nearness(moment: float, time: tuple[float, float]) -> float:
    since, until = time
    gap = max(0.0, since - moment, moment - until)
    return math.exp(-gap / NEAR_S)


def _session(item: MemoryItem) -> tuple[str, str, str]:
    return item.session, item.kind, item.source


def _order(recalled: Recalled) -> tuple[float, int]:
    return -recalled.score, -recalled.item.id
