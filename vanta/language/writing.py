"""How a text is written: its script, and for Latin letters its language as far as it is known.

Models that turn texts into vectors know one writing better than another, so figures that were
measured on English texts hold for no other writing. Invariant: an English text is never taken for
another language, unless it has more of that language's function words than of its own.
"""

from __future__ import annotations

import functools
import unicodedata
from collections import Counter

from vanta.language.function_words import language_of
from vanta.language.segmentation import terms
from vanta.language.word_lists import FUNCTION_WORDS

LATIN = frozenset({"latin", *FUNCTION_WORDS} - {"other"})
"""The writings in Latin letters: languages with a list of function words, and all others."""

LONGEST = 400
"""First characters of a text that are regarded."""

MIN_KANA_SHARE = 0.15
"""Share of kana in the Han characters and kana of a Japanese text."""

_NAMES = {"cjk": "han", "hiragana": "kana", "katakana": "kana"}


@functools.lru_cache(maxsize=4096)
def writing_of(text: str) -> str:
    """Return how most of a text is written.

    :param text: any text; only its first characters count.
    :returns: for Latin letters a language such as "en", "latin" for one that is not English and
        otherwise unknown, "" in doubt and without letters; else the script in lower case, such as
        "cyrillic", where Chinese is "han" and Japanese "kana".
    """
    text = text[:LONGEST]
    if text.isascii():
        return language_of(terms(text)) or ""
    scripts = Counter(_script_of(letter) for letter in text if letter.isalpha())
    kana = scripts["kana"]
    if kana and kana >= MIN_KANA_SHARE * (kana + scripts["han"]):
        scripts["kana"] += scripts.pop("han", 0)
    script = max(scripts, key=lambda name: scripts[name], default="")
    if script != "latin":
        return script
    is_plain = all(letter.isascii() for letter in text if letter.isalpha())
    return language_of(terms(text)) or ("" if is_plain else "latin")


@functools.lru_cache(maxsize=4096)
def _script_of(letter: str) -> str:
    """Return the script of a letter: the first word of its name."""
    word = unicodedata.name(letter, "?").split()[0].partition("-")[0].lower()
    return _NAMES.get(word, word)
