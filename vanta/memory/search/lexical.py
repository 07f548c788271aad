"""Search by words: from a question to FTS5 expressions, and the BM25 weight of each word.

Words are the terms of `vanta.language`. A word that no item has, or a word of an inflected or
compounding language, is also looked up in its other forms: these hits weigh less.

FTS5 finds the words, one at a time and within one part (public or private) of a scope; weights
(idf) come from counts of that part. FTS5's own `bm25()` would weigh by the items of all users,
private ones too, and scores every hit of every word, which takes ten times longer.

Invariants: any text is safe, since only letters and digits in double quotes reach an expression.
The work is bounded: a word that is in more than `MAX_HITS` items is looked up in the newest
`MAX_HITS`, which also estimate its frequency, and in those that have a rarer word of the question.
"""

from __future__ import annotations

import functools
import hashlib
import heapq
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, cast

from vanta.language import (
    SHORTEST_PART,
    STEM,
    is_unspaced,
    language_of,
    related_keys,
    terms,
    without_function_words,
)
from vanta.memory.items import Scope
from vanta.memory.store.tables import session_token, user_token

MAX_TERMS = 16
"""Words of a question that are looked up; the rest of a longer question is ignored."""

MAX_PAIRS = 32
"""The same, if the question is in a script without spaces, whose words are pairs of characters."""

RELATED_SHARE = 0.5
"""Weight of another form of a word, relative to the word itself."""

CHARACTER_SHARE = 0.4
"""Weight of a single Han character, which is half a word, relative to a pair."""

CHARACTER_COUNT = 0.25
"""The same for the number of words that an item has: one character occurs in many words."""

MAX_HITS = 500
"""Items in which a word is looked up."""

K1, B, USUAL_LENGTH = 1.2, 0.4, 120
"""BM25's parameters, and the characters of a text of usual length. A word counts once for each
text: in speech it rarely occurs twice."""

QUESTION_MARKS = ("?", "\uff1f", "\u061f")
"""Question marks: of Latin, of Chinese and Japanese, and of Arabic text."""

SAME_QUESTION = 0.6
"""Share of the words of two questions, taken together, that both have if they are the same one."""

_ABOUT_REMEMBERING = re.compile(
    r"\b(?:(?:do|can|could) you (?:still )?(?:remember|recall|know)|(?:remind|tell) me"
    r"|your (?:notes?|memory|memories)(?: (?:say|tell))?)\b",
    re.IGNORECASE,
)
"""Words that ask for a memory and are in none; English only."""

Find = Callable[[Sequence[Sequence[str]], int], list[int]]
"""Returns ids, newest first, of up to so many items that have any word of each group."""

Count = Callable[[int], int]
"""Returns the number of items with this id or a greater one."""

FACTS, FACT_CHARACTERS = 8_192, 4_096
"""Texts of which one fact stays in memory, and the characters of the longest one."""

T = TypeVar("T")

_RELATED = "~"
"""Begins the name of a word's other forms in the counts; no term begins with it."""


def once_per_text(work: Callable[[str], T]) -> Callable[[str], T]:
    """Decorate a pure function of a text, so that its results stay in memory.

    A recall compares hundreds of texts, and the next one mostly the same. Results are stored under
    digests: no text is kept, so a result must not contain any, either. Those of long texts, whose
    digest takes as long, are not stored.
    """
    results: dict[bytes, object] = {}
    unknown = object()

    @functools.wraps(work)
    def remembered(text: str) -> T:
        if len(text) > FACT_CHARACTERS:
            return work(text)
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        result = results.get(key, unknown)
        if result is not unknown:
            return cast("T", result)
        if len(results) >= FACTS:
            results.clear()
        fact = results[key] = work(text)
        return fact

    return remembered


def query_terms(question: str, speakers: Collection[str] = ()) -> tuple[str, ...]:
    """Return the distinct terms to look up, at most `MAX_TERMS`.

    Function words are left out unless there are no other words. So are requests to remember
    ("do you remember", "what do your notes say"), which no item answers. So are the names in
    `speakers`, in lower case: a speaker's name says whose words are wanted, but occurs in the texts
    of those who address them.
    """
    subject = terms(_ABOUT_REMEMBERING.sub(" ", question))
    significant = without_function_words(list(dict.fromkeys(subject or terms(question))))
    significant = [word for word in significant if word not in speakers] or significant
    most = MAX_PAIRS if any(map(is_unspaced, significant)) else MAX_TERMS
    return tuple(significant[:most])


def inflects(question: str) -> bool:
    """Return whether a question is in a language that inflects or compounds more than English."""
    return language_of(terms(question)) not in {None, "en"}


def may_repeat(postings: Postings, mask: int, text: str | None = None) -> bool:
    """Whether an item with these words of a question may be the same question. Words that occur in
    the same items have one bit together, so half of the share is enough.

    text: the item's, if it is known. A statement has to have every word that was looked up in all
    items.
    """
    if not mask or mask.bit_count() < SAME_QUESTION / 2 * postings.distinct:
        return False
    is_statement = text is not None and not text.rstrip().endswith(QUESTION_MARKS)
    return not is_statement or mask & postings.required == postings.required


def repeats(words: Sequence[str], text: str) -> bool:
    """Whether a text asks the same as a question with these words, apart from their other forms: it
    has the same ones, in any order, or it is a question that shares most of them. A statement with
    the words of a question is the answer to it."""
    asked = {hash(word) for word in words if word[0] != _RELATED}
    said = _hashed_terms(text)
    if not asked or asked == said:
        return bool(asked)
    is_question = text.rstrip().endswith(QUESTION_MARKS)
    return is_question and len(asked & said) >= SAME_QUESTION * len(asked | said)


@once_per_text
def _hashed_terms(text: str) -> frozenset[int]:
    return frozenset(map(hash, query_terms(text)))


def scope_expression(scope: Scope, *, private: bool) -> str:
    """Return the match expression of a scope's public or private part."""
    tokens = [user_token(scope.user, private=private)]
    if scope.session is not None:
        tokens.append(session_token(scope.user, scope.session))
    return " AND ".join(f'scope : "{token}"' for token in tokens)


def match_expression(part: str, groups: Sequence[Sequence[str]]) -> str:
    """Return the match expression of the items in `part` that have any word of each group."""
    expression = f"({part})"
    for group in groups:
        expression += f" AND ({' OR '.join(map(_phrase, group))})"
    return expression


def _phrase(key: str) -> str:
    """Return the expression of a term, or of a key among the parts of words."""
    return f'parts : "{key[1:]}"' if key[0] == _RELATED else f'text : "{key}"'


def related(word: str, *, inflected: bool) -> list[str]:
    """Return the keys of a word's other forms for `match_expression`; [] if it has none."""
    keys, endings = related_keys(word, shortest=SHORTEST_PART if inflected else STEM)
    return [*(_RELATED + key for key in keys), *endings]


@dataclass(frozen=True, slots=True)
class TermCounts:
    """The number of items, and of those that have each word."""

    items: int = 0
    with_word: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: TermCounts) -> TermCounts:
        words = {**self.with_word, **other.with_word}
        with_word = {
            word: self.with_word.get(word, 0) + other.with_word.get(word, 0) for word in words
        }
        return TermCounts(self.items + other.items, with_word)


@dataclass(frozen=True, slots=True)
class Postings:
    """The posting lists of a question's words.

    masks: for each item id the words it has, one bit each, in the order of `words`. weights: the
    idf of each word. total: the sum of all weights, including words that no item has. distinct: the
    number of words without their other forms, those that occur in the same items counted once; at
    least 1. required: a
    mask of the words that every item with all words of the question has in its own.
    """

    words: tuple[str, ...]
    weights: tuple[float, ...]
    masks: Mapping[int, int]
    total: float
    counts: TermCounts
    distinct: int = 1
    required: int = 0
    _sums: dict[int, float] = field(default_factory=dict)
    _shares: dict[int, float] = field(default_factory=dict)
    _matched: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def weight(self, mask: int) -> float:
        """Return the sum of the weights of the words in a mask."""
        weight = self._sums.get(mask)
        if weight is None:
            weight = sum(weight for bit, weight in enumerate(self.weights) if mask >> bit & 1)
            self._sums[mask] = weight
        return weight

    def count(self, mask: int) -> float:
        """Return the share, 0 to 1, of the words that are in a mask, by number."""
        if mask not in self._shares:
            self._shares[mask] = self._count(mask)
        return self._shares[mask]

    def _count(self, mask: int) -> float:
        values = [CHARACTER_COUNT if _is_character(word) else 1.0 for word in self.words]
        own = sum(value for bit, value in enumerate(values) if mask >> bit & 1)
        weighted = zip(values, self.weights, strict=True)
        distinct = sum(value for value, weight in weighted if weight > 0)
        return min(1.0, own / distinct) if distinct else float(mask > 0)

    def common(self, mask: int, other: int) -> int:
        """Return the words in `mask` that are in `other`, too, in whatever form."""
        words = set(self.words_in(other)) if mask and other else set[str]()
        bits = (bit for bit, word in enumerate(self.words) if word.removeprefix(_RELATED) in words)
        return mask & sum(1 << bit for bit in bits)

    def words_in(self, mask: int) -> tuple[str, ...]:
        """Return the words in a mask, each once, in whatever form it was found."""
        if mask not in self._matched:
            words = (word for bit, word in enumerate(self.words) if mask >> bit & 1)
            bare = dict.fromkeys(word.removeprefix(_RELATED) for word in words)
            self._matched[mask] = tuple(bare)
        return self._matched[mask]

    def best(self, most: int) -> list[int]:
        """Return the ids of at most `most` items with the most significant words, best first."""
        weights = {mask: self.weight(mask) for mask in set(self.masks.values())}
        ranked = ((weights[mask], item_id) for item_id, mask in self.masks.items())
        return [item_id for _, item_id in heapq.nlargest(most, ranked)]


def look_up_terms(
    words: Sequence[str],
    find: Find,
    count: Count,
    other: TermCounts | None = None,
    *,
    inflected: bool = False,
) -> Postings:
    """Look up words. other: counts of another part that contribute to the weights. inflected:
    whether to look up other forms of every word, not only of those that no item has."""
    hits = {word: find([[word]], MAX_HITS + 1) for word in words}
    keys = {word: [word] for word in words}
    for word in words:
        forms = related(word, inflected=inflected) if inflected or not hits[word] else []
        if forms:
            name = _RELATED + word
            keys[name] = forms
            exact = set(hits[word])
            hits[name] = [key for key in find([forms], MAX_HITS + 1) if key not in exact]
    rare = [word for word in keys if 0 < len(hits[word]) <= MAX_HITS]
    frequent = [word for word in keys if len(hits[word]) > MAX_HITS]
    items = count(0) if words else 0
    with_word = {word: len(hits[word]) for word in rare}
    with_word |= {word: MAX_HITS * items // count(hits[word][MAX_HITS - 1]) for word in frequent}
    for word in frequent:
        companions = rare or [other_word for other_word in frequent if other_word != word]
        if companions:
            beside = [key for name in companions for key in keys[name]]
            hits[word] = [*hits[word][:MAX_HITS], *find([beside, keys[word]], MAX_HITS)]
    own = TermCounts(items, with_word)
    return _weighted(list(keys), hits, own, own + other if other else own)


def no_hits(words: Sequence[str]) -> Postings:
    """Return the postings of words in a part without any item."""
    return Postings(tuple(words), (0.0,) * len(words), {}, 0.0, TermCounts())


def length_factor(characters: int) -> float:
    """Return BM25's factor for the length of a text: the same words weigh less in a longer one."""
    return (K1 + 1) / (1 + K1 * (1 - B + B * characters / USUAL_LENGTH))


def _weighted(
    words: Sequence[str], hits: Mapping[str, Sequence[int]], own: TermCounts, counts: TermCounts
) -> Postings:
    masks: dict[int, int] = {}
    weights: list[float] = []
    total, seen, required = 0.0, set[tuple[int, ...]](), 0
    for bit, word in enumerate(words):
        weights.append(_idf(counts.items, counts.with_word.get(word, 0)))
        ids = tuple(hits[word])
        if ids and ids in seen and not is_unspaced(word):  # another form of an earlier word
            weights[-1] = 0.0
            continue
        seen.add(ids)
        if word[0] != _RELATED and len(ids) <= MAX_HITS:
            required |= 1 << bit
        if _is_character(word):
            weights[-1] *= CHARACTER_SHARE
        if word[0] == _RELATED:
            weights[-1] *= RELATED_SHARE
        else:
            total += weights[-1]
        for item_id in ids:
            masks[item_id] = masks.get(item_id, 0) | 1 << bit
    own_weights = [weights[bit] for bit, word in enumerate(words) if word[0] != _RELATED]
    distinct = max(1, sum(weight > 0 for weight in own_weights))
    return Postings(tuple(words), tuple(weights), masks, total, own, distinct, required)


def _is_character(word: str) -> bool:
    return len(word) == 1 and is_unspaced(word)


def _idf(items: int, with_word: int) -> float:
    return math.log(1 + (max(0, items - with_word) + 0.5) / (with_word + 0.5))
