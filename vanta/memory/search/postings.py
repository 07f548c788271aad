"""Which items have which words of a question, and what each word is worth there: BM25's parts.

FTS5 finds the words, one by one and inside a part of a scope; weights (idf) come from counts of
that very part. FTS5's own `bm25()` would weigh by the items of all users, private ones too, and
scores every hit of every word, which takes ten times longer. Invariant: the work is bounded. Of a
word that is in more than `MOST` items, the newest `MOST` are looked at (they tell how frequent it
is, too), and those that have a rarer word of the question.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

MOST = 500
"""Items that a word is looked up in."""

K1, B, USUAL_LENGTH = 1.2, 0.4, 120
"""BM25's parameters, and the characters of a text of usual length. A word counts once a text: in
what people say, it hardly comes twice."""

Find = Callable[[Sequence[Sequence[str]], int], list[int]]
"""Ids of items, newest first, that have any word of each group, up to so many."""

Count = Callable[[int], int]
"""How many items there are, of those with this id and above."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many items there are, and how many have each word."""

    items: int = 0
    having: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Counts) -> Counts:
        words = {**self.having, **other.having}
        having = {word: self.having.get(word, 0) + other.having.get(word, 0) for word in words}
        return Counts(self.items + other.items, having)


@dataclass(frozen=True, slots=True)
class Postings:
    """What was found. masks: for each item the words it has, a bit each, in the order of `words`.
    weights: what a word is worth. total: what all words are worth, also those that no item has."""

    words: tuple[str, ...]
    weights: tuple[float, ...]
    masks: Mapping[int, int]
    total: float
    counts: Counts
    _sums: dict[int, float] = field(default_factory=dict)

    def worth(self, mask: int) -> float:
        """The weights of the words in a mask, added up."""
        known = self._sums.get(mask)
        if known is None:
            known = sum(weight for bit, weight in enumerate(self.weights) if mask >> bit & 1)
            self._sums[mask] = known
        return known

    def named(self, mask: int) -> tuple[str, ...]:
        """The words in a mask."""
        return tuple(word for bit, word in enumerate(self.words) if mask >> bit & 1)


def look_up(
    words: Sequence[str], find: Find, count: Count, beside: Counts | None = None
) -> Postings:
    """Look words up. beside: counts of another part that are to weigh, too."""
    found = {word: find([[word]], MOST + 1) for word in words}
    rare = [word for word in words if 0 < len(found[word]) <= MOST]
    frequent = [word for word in words if len(found[word]) > MOST]
    items = count(0) if words else 0
    counted = {word: len(found[word]) for word in rare}
    counted |= {word: MOST * items // count(found[word][MOST - 1]) for word in frequent}
    for word in frequent:
        others = rare or [other for other in frequent if other != word]
        if others:
            found[word] = [*found[word][:MOST], *find([others, [word]], MOST)]
    own = Counts(items, counted)
    return _weighed(words, found, own, own + beside if beside else own)


def length_factor(characters: int) -> float:
    """BM25's share for a text of this length: longer ones get less for the same words."""
    return (K1 + 1) / (1 + K1 * (1 - B + B * characters / USUAL_LENGTH))


def _weighed(
    words: Sequence[str], found: Mapping[str, Sequence[int]], own: Counts, counts: Counts
) -> Postings:
    masks: dict[int, int] = {}
    weights: list[float] = []
    total, seen = 0.0, set[tuple[int, ...]]()
    for bit, word in enumerate(words):
        weights.append(_idf(counts.items, counts.having.get(word, 0)))
        told = tuple(found[word])
        if told and told in seen:  # another form of a word before it: the stem is the same
            weights[-1] = 0.0
            continue
        seen.add(told)
        total += weights[-1]
        for key in told:
            masks[key] = masks.get(key, 0) | 1 << bit
    return Postings(tuple(words), tuple(weights), masks, total, own)


def _idf(items: int, having: int) -> float:
    return math.log(1 + (max(0, items - having) + 0.5) / (having + 0.5))
