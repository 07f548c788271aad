"""From candidates to scores: pure functions, with a name for every part of a score.

A score is a sum of parts, each a feature times its weight, in log-odds: of two items, the one with
1 more is e times as likely to be what the question needs. Words and meaning are relative to the
best candidate, so the scale of an embedder does not matter. Invariants: the parts add up to the
score; a public item's score, and its place among the public ones, depend on public candidates
alone.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vanta.language import comparable, fold, is_unspaced, persons_in, terms
from vanta.memory.dates.resolution import times_mentioned
from vanta.memory.items import MemoryItem, RecalledItem
from vanta.memory.search.candidates import RecallCandidate, stands_alone
from vanta.memory.search.lexical import once_per_text
from vanta.memory.search.relevance import Wanted, is_outshone, relevance

Weights = Mapping[str, float]
"""The weight of each feature, by its name."""

HYBRID_WEIGHTS: Weights = {
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
"""Weights with vectors. They maximise the likelihood of the turns that hold the answer (softmax
over the candidates, ridge 0.01) in five conversations of LoCoMo, rounded. The benchmark
`benchmarks/memory/locomo.py` fits them again and measures on the other conversations. Recency is
set by hand: LoCoMo's questions hardly need it, but users change their minds."""

LEXICAL_WEIGHTS: Weights = {
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
"""Weights without vectors, fitted in the same way."""

HALF_LIFE_S = 90 * 24 * 3600.0
"""Age in seconds at which recency is worth half."""

NEAR_S = 14 * 24 * 3600.0
"""Distance in seconds from a mentioned time at which nearness is worth 1/e."""

MIN_DISTINCT_WORDS = 4
"""Shorter texts ("Yes, please.") depend on their context, so equal ones are not duplicates."""

MIN_DISTINCT_CHARS = 12
"""The same for a text in a script without spaces, in characters."""

_WHEN = re.compile(
    r"\s*(?:when|how (?:long|recently)|how many (?:days|weeks|months|years)"
    r"|(?:(?:in|on|at) )?(?:what|which) (?:date|day|month|year|time))\b",
    re.IGNORECASE,
)
_FILLERS = frozenset("a an the so well oh ok okay please just and hi hey".split())  # noqa: SIM905


def rank(
    candidates: Sequence[RecallCandidate],
    question: str,
    now: float,
    limit: int,
    weights: Weights | None = None,
) -> list[RecalledItem]:
    """Return the best candidates, best first: up to `limit` public and `limit` private ones.

    now: seconds since the epoch. weights: instead of `HYBRID_WEIGHTS` and `LEXICAL_WEIGHTS`.
    """
    clues = _Clues.of(question, now)
    public = [candidate for candidate in candidates if not candidate.item.private]
    ranked = _without_duplicates(_score(public, public, clues, weights), limit)
    private = [candidate for candidate in candidates if candidate.item.private]
    if private:
        ranked += _without_duplicates(_score(private, candidates, clues, weights), limit)
        ranked.sort(key=_order)
    return ranked


def features(
    candidates: Sequence[RecallCandidate], question: str, now: float
) -> list[Mapping[str, float]]:
    """Return the features of each candidate, to fit weights on. Each is between 0 and about 1,
    except length, which is between -0.7 and 2.5."""
    clues, scale = _Clues.of(question, now), _Scale.of(candidates)
    return [_features(candidate, scale, clues) for candidate in candidates]


@dataclass(frozen=True, slots=True)
class _Clues:
    """What a question reveals about the items it needs. roles: whose words it asks for, and how
    likely. asks_when: whether it asks for a date. times: those that it mentions. wanted: what it
    asks for beyond its words."""

    words: frozenset[str]
    roles: Mapping[str, float]
    asks_when: bool
    times: Sequence[tuple[float, float]]
    now: float
    wanted: Wanted

    @classmethod
    def of(cls, question: str, now: float) -> _Clues:
        words = frozenset(terms(question))
        first, second = persons_in(words)
        roles = {} if first == second else {"user" if first else "assistant": 0.5}
        asks_when = bool(_WHEN.match(question))
        times = times_mentioned(question, now)
        wanted = Wanted.of(question, times, now)
        return cls(words, roles, asks_when, times, now, wanted)


@dataclass(frozen=True, slots=True)
class _Scale:
    """What candidates are measured against: the best of each kind, and the best of each session."""

    words: float
    cosine: float | None
    sessions: Mapping[tuple[str, str, str], float]

    @classmethod
    def of(cls, candidates: Sequence[RecallCandidate]) -> _Scale:
        words = max((candidate.words for candidate in candidates), default=0.0)
        cosines = [candidate.cosine for candidate in candidates if candidate.cosine is not None]
        nearest = max(cosines) if cosines else None
        scale = cls(words, nearest, {})
        sessions: dict[tuple[str, str, str], float] = {}
        for candidate in candidates:
            value = (
                scale.relative_words(candidate.words)
                if nearest is None
                else scale.relative_cosine(candidate.cosine)
            )
            key = _session(candidate.item)
            sessions[key] = max(value, sessions.get(key, 0.0))
        return cls(words, nearest, sessions)

    def relative_words(self, words: float) -> float:
        return words / self.words if self.words else 0.0

    def relative_cosine(self, cosine: float | None) -> float:
        if cosine is None or self.cosine is None or self.cosine <= 0:
            return 0.0
        return max(0.0, cosine) / self.cosine


def _features(candidate: RecallCandidate, scale: _Scale, clues: _Clues) -> dict[str, float]:
    item, nearness = candidate.item, 0.0
    if clues.times:
        nearness = max(_nearness(item.said_at, time) for time in clues.times)
    values = {
        "words": scale.relative_words(candidate.words),
        "words around": candidate.around,
        "words beside": min(1.0, scale.relative_words(candidate.beside)),
        "session": scale.sessions[_session(item)],
        "speaker": 1.0 if fold(item.role) in clues.words else clues.roles.get(item.role, 0.0),
        "length": min(2.5, math.log(max(len(item.text), 10) / 20)),
        "answer": float(candidate.answers),
        "date": float(clues.asks_when and bool(item.dates)),
        "time": nearness,
        "recency": 0.5 ** (max(0.0, clues.now - item.said_at) / HALF_LIFE_S),
    }
    if scale.cosine is not None:
        values["meaning"] = scale.relative_cosine(candidate.cosine)
        values["meaning around"] = scale.relative_cosine(candidate.cosine_beside)
    return values


def _score(
    candidates: Sequence[RecallCandidate],
    reference: Sequence[RecallCandidate],
    clues: _Clues,
    weights: Weights | None,
) -> list[RecalledItem]:
    """Score candidates against `reference`, which includes them; return them best first."""
    scale = _Scale.of(reference)
    if weights is None:
        weights = LEXICAL_WEIGHTS if scale.cosine is None else HYBRID_WEIGHTS
    likely = {item.item.id: relevance(item, clues.wanted) for item in reference}
    best = max(likely.values(), default=0.0)
    scored = []
    for candidate in candidates:
        key, values = candidate.item.id, _features(candidate, scale, clues)
        parts = {name: weight * values[name] for name, weight in weights.items() if values[name]}
        shown = clues.wanted.selects(candidate.item) or not is_outshone(likely[key], best)
        relevant = likely[key] if shown else 0.0
        scored.append(RecalledItem(candidate.item, sum(parts.values()), parts, relevant))
    return sorted(scored, key=_order)


def _without_duplicates(ranked: Sequence[RecalledItem], limit: int) -> list[RecalledItem]:
    """Return the first `limit` items, without those that repeat a better one: the same words in the
    same order, apart from case, punctuation and fillers. A number or a "not" makes a difference."""
    selected: list[RecalledItem] = []
    seen: set[tuple[str, str, bytes]] = set()
    for recalled in ranked:
        if len(selected) == limit:
            break
        item = recalled.item
        content = _content(item.text)
        if content is not None:
            key = (item.kind, item.role, content)
            if key in seen:
                continue
            seen.add(key)
        selected.append(recalled)
    return selected


@once_per_text
def _content(text: str) -> bytes | None:
    """Return a digest of the words of a text, None for one that depends on its context."""
    words = [word for word in comparable(text).split() if word not in _FILLERS]
    if len(words) < MIN_DISTINCT_WORDS and not (
        len(text) >= MIN_DISTINCT_CHARS and is_unspaced(text)
    ):
        return None
    return hashlib.blake2b(" ".join(words).encode("utf-8", "surrogatepass")).digest()


def _nearness(moment: float, time: tuple[float, float]) -> float:
    since, until = time
    gap = max(0.0, since - moment, moment - until)
    return math.exp(-gap / NEAR_S)


def _session(item: MemoryItem) -> tuple[str, str, str]:
    if stands_alone(item):
        return "", "", str(item.id)
    return item.session, item.kind, item.source


def _order(recalled: RecalledItem) -> tuple[float, int]:
    return -recalled.score, -recalled.item.id
