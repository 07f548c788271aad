"""How a text is written: its script, and for Latin letters its language as far as it is known.

Models that turn texts into vectors know one writing better than another, so figures that were
measured on English texts hold for no other writing. Invariants: an English text is never
taken for another language, unless it has more of that language's function words than of its own or
hardly any and letters of another; a text that may as well be another language is not English.
"""

from __future__ import annotations

import functools
import unicodedata
from collections import Counter

from vanta.language.function_words import count_function_words
from vanta.language.segmentation import terms
from vanta.language.word_lists import FUNCTION_WORDS

LATIN = frozenset({"latin", *FUNCTION_WORDS} - {"other"})
"""The writings in Latin letters: languages with a list of function words, and all others."""

LONGEST = 400
"""First characters of a text that are regarded."""

MIN_KANA_SHARE = 0.15
"""Share of kana in the Han characters and kana of a Japanese text."""

MIN_ENGLISH = 2
"""Function words of an English text with other letters than English has: "a" and "don" alone prove
nothing in "Compré a Don Quijote"."""

_NAMES = {"cjk": "han", "hiragana": "kana", "katakana": "kana"}


@functools.lru_cache(maxsize=4096)
def writing_of(text: str) -> str:
    """Return how most of a text is written.

    :param text: any text; only its first characters count.
    :returns: for Latin letters a language such as "en", "latin" for one that is not English and
        otherwise unknown, "" if it may be English or another one, and without letters; else the
        script in lower case, such as "cyrillic", where Chinese is "han" and Japanese "kana".
    """
    text = text[:LONGEST]
    if text.isascii():
        return _language_of(text, is_plain=True)
    scripts = Counter(_script_of(letter) for letter in text if letter.isalpha())
    kana = scripts["kana"]
    if kana and kana >= MIN_KANA_SHARE * (kana + scripts["han"]):
        scripts["kana"] += scripts.pop("han", 0)
    script = max(scripts, key=lambda name: scripts[name], default="")
    if script != "latin":
        return script
    return _language_of(text, is_plain=all(letter.isascii() for letter in text if letter.isalpha()))


def _language_of(text: str, *, is_plain: bool) -> str:
    """Return the writing of a text in Latin letters; `is_plain`: in those of English alone."""
    counts = count_function_words(terms(text))
    english, most = counts.pop("en"), max(counts.values())
    if english > most and (is_plain or english >= MIN_ENGLISH):
        return "en"
    if is_plain and english == most:
        return ""
    best = [language for language, count in counts.items() if count == most > 0]
    return best[0] if len(best) == 1 else "latin"


@functools.lru_cache(maxsize=4096)
def _script_of(letter: str) -> str:
    """Return the script of a letter: the first word of its name."""
    word = unicodedata.name(letter, "?").split()[0].partition("-")[0].lower()
    return _NAMES.get(word, word)
