"""Function words of languages, and which language a question is in as far as they reveal it.

Scripts of one language group need no decision; languages in Latin letters share words ("was",
"die"), so the one with the most hits counts, English in doubt.

Invariant: any English text has the English list, unchanged.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence

from vanta.language.folding import fold
from vanta.language.segmentation import is_unspaced, terms
from vanta.language.word_lists import (
    CALENDAR,
    FIRST_PERSON,
    FUNCTION_WORDS,
    HAN_FUNCTION_CHARACTERS,
    KANA_FUNCTION_WORDS,
    SECOND_PERSON,
)


def language_of(words: Collection[str]) -> str | None:
    """Return the language whose function words are most frequent, among those in Latin letters.

    :param words: the terms of a text.
    :returns: a code such as "de"; "en" in doubt, None without any function word.
    """
    counts = count_function_words(words)
    best = max(counts, key=lambda language: (counts[language], language == "en"))
    return best if counts[best] else None


def count_function_words(words: Collection[str]) -> dict[str, int]:
    """Return how many function words of each language in Latin letters a text has.

    :param words: the terms of a text.
    """
    counts = dict.fromkeys(_lists(), 0)
    languages = _languages()
    for word in words:
        for language in languages.get(word, ()):
            counts[language] += 1
    return counts


def without_function_words(words: Sequence[str]) -> list[str]:
    """Return the words of a text that carry its content; all of them if none does.

    :param words: the terms of a text.
    """
    listed = _lists()[language_of(words) or "en"]
    content = [
        word
        for word in words
        if (word not in listed if word.isascii() else not _is_function(word, listed))
    ]
    return content or list(words)


def persons_in(words: Collection[str]) -> tuple[bool, bool]:
    """Return whether a text has pronouns of the speaker, and of the listener.

    :param words: the terms of a text.
    """
    language = language_of(words) or "en"
    first, second = _persons(language)
    return not first.isdisjoint(words), not second.isdisjoint(words)


@functools.cache
def calendar_words() -> frozenset[str]:
    """Return the folded months and weekdays of languages that write them without a capital."""
    return frozenset(map(fold, CALENDAR.split()))


def _is_function(word: str, listed: frozenset[str]) -> bool:
    """Return whether a term that is not ASCII is a function word, or a pair made of them."""
    if word in listed or word in _other():
        return True
    return is_unspaced(word) and all(letter in HAN_FUNCTION_CHARACTERS for letter in word)


@functools.cache
def _lists() -> dict[str, frozenset[str]]:
    return {
        language: frozenset(terms(words))
        for language, words in FUNCTION_WORDS.items()
        if language != "other"
    }


@functools.cache
def _languages() -> dict[str, list[str]]:
    """Return the languages that have each function word."""
    languages: dict[str, list[str]] = {}
    for language, listed in _lists().items():
        for word in listed:
            languages.setdefault(word, []).append(language)
    return languages


@functools.cache
def _other() -> frozenset[str]:
    kana = terms(KANA_FUNCTION_WORDS)
    single = {letter for word in kana for letter in word}
    return frozenset((*terms(FUNCTION_WORDS["other"]), *kana, *single))


@functools.cache
def _persons(language: str) -> tuple[frozenset[str], frozenset[str]]:
    first, second = (
        frozenset(terms(f"{table.get(language, '')} {table['other']}"))
        for table in (FIRST_PERSON, SECOND_PERSON)
    )
    return first, second
