"""Segmentation: from a text to the terms that a search, a comparison or a router counts.

Text is folded and cut into tokens, runs of letters, digits and marks of one kind of script. What a
token yields depends on how its script is written:

- Han: each character and each pair of adjacent ones (Nie et al. 2000, "On the use of words and
  n-grams for Chinese information retrieval"); kana: pairs.
- Thai, Lao, Khmer, Burmese: pairs of syllable-like clusters.
- Hangul: the word without its particles, in pairs of syllables if it is longer than two.
- Arabic, Cyrillic, Devanagari, Hebrew: a light stem (Larkey et al. 2007, light10; Dolamic and Savoy
  2009; Ramanathan and Rao 2003). Hebrew keeps the word beside it.
- Other alphabets: the word. Its `parts` find compounds and other forms: its first five letters (Can
  et al. 2008, "Information retrieval on Turkish texts") and its endings.

Invariant: `terms` of a text holds only letters, digits and marks, and is linear in its length.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from vanta.language.folding import character_class, fold, marks
from vanta.language.stems import korean_stem, stems

SEGMENTATION = "1"
"""The version of the terms."""

Script = Literal["han", "katakana", "hiragana", "southeast", "hangul", "alphabet"]

STEM = 5
"""First letters of a word that stand for its other forms."""

LONG_WORD, LONGEST_WORD = 8, 40
"""Letters of the shortest and the longest word that may be a compound."""

SHORTEST_PART = 4
"""Letters of the shortest ending of a compound."""

_HAN = "\u2e80-\u2fdf\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_HIRAGANA = "\u3041-\u3096\u309d\u309e"
_KATAKANA = "\u30a1-\u30fa\u30fc-\u30fe\u31f0-\u31ff"
_HANGUL = "\u1100-\u11ff\uac00-\ud7a3"
_SOUTHEAST_BLOCKS = ((0x0E00, 0x0F00), (0x1000, 0x10A0), (0x1780, 0x1800), (0xAA60, 0xAA80))
_LEADING = "\u0e40-\u0e44\u0ec0-\u0ec4"
"""Thai and Lao vowels that are written before their consonant."""

_TRAILING = "\u0e30\u0e32\u0e33\u0e45\u0e46\u0eb0\u0eb2\u0eb3"
_STACKING = "\u1039\u17d2"
"""Signs that put the next consonant of Burmese and Khmer below the last."""

_ASCII_WORD = re.compile(r"[a-z0-9]+")
_NO_WORDS = re.compile(
    r"(?:[\s.,;:!?\u2026\u00b7'\"`\u00b4(){}\[\]<>|\\/_*~^\u2010-\u2027\u3000-\u3004\u3008-\u301f]"
    r"|(?<=\w)-|-(?!\d))+"
)


@dataclass(frozen=True, slots=True)
class Token:
    """A run of folded text in one kind of script.

    :param text: the folded run.
    :param script: how the script of the run is written.
    """

    text: str
    script: Script


def tokens(text: str) -> list[Token]:
    """Return the runs of letters, digits and marks of a text, in order.

    :param text: any text.
    """
    folded = fold(text)
    if folded.isascii():
        return [Token(word, "alphabet") for word in _ASCII_WORD.findall(folded)]
    matches = _runs().finditer(folded)
    return [Token(match[0], match.lastgroup) for match in matches]  # type: ignore[arg-type]


def terms(text: str) -> list[str]:
    """Return the terms of a text, in order.

    :param text: any text.
    """
    folded = fold(text)
    if folded.isascii():
        return _ASCII_WORD.findall(folded)
    return [
        term
        for match in _runs().finditer(folded)
        for term in _terms_of(match[0], match.lastgroup or "")
    ]


def parts(text: str) -> list[str]:
    """Return keys by which a word of the text is found in another form, or as a part of a compound.

    :param text: any text.
    """
    folded = fold(text)
    if folded.isascii():
        words = _ASCII_WORD.findall(folded)
    else:
        matches = _runs().finditer(folded)
        words = [match[0] for match in matches if match.lastgroup == "alphabet"]
    keys: set[str] = set()
    keys.update(*map(_parts_of, set(words)))
    return sorted(keys)


def related_keys(term: str, *, shortest: int) -> tuple[list[str], list[str]]:
    """Return how other forms of a term are found: keys among `parts`, and other terms.

    :param term: a term of a question.
    :param shortest: letters of the shortest term that may end a compound.
    :returns: two empty lists for a term that has no other forms, such as a number.
    """
    if not term.isalpha() or is_unspaced(term) or _is_hangul(term) or stems(term):
        return [], []
    keys = [_stem_key(term)] if len(term) >= STEM else []
    if len(term) >= shortest:
        keys.append(_ending_key(term))
    return keys, list(_endings(term))


def comparable(text: str) -> str:
    """Return the words and symbols of a text in a form that is equal for texts that differ in case,
    spacing and punctuation only.

    :param text: any text.
    """
    return _NO_WORDS.sub(" ", fold(text)).strip()


@functools.lru_cache(maxsize=4096)
def is_unspaced(text: str) -> bool:
    """Return whether a text has a letter of a script that is written without spaces.

    :param text: any text.
    """
    return not text.isascii() and _unspaced().search(text) is not None


def _terms_of(run: str, script: str) -> Iterator[str]:
    if script == "alphabet":
        yield from stems(run) or (run,)
    elif script == "han":
        yield from run
        yield from map("".join, pairwise(run))
    elif script == "hangul":
        yield from _pairs(list(korean_stem(run)))
    elif script == "southeast":
        yield from _pairs(_syllables().findall(run))
    else:
        yield from _pairs(list(run))


@functools.lru_cache(maxsize=16384)
def _parts_of(word: str) -> tuple[str, ...]:
    if not STEM <= len(word) <= LONGEST_WORD or not word.isalpha() or stems(word):
        return ()
    return (_stem_key(word), *map(_ending_key, _endings(word)))


def _pairs(pieces: list[str]) -> Iterator[str]:
    return map("".join, pairwise(pieces)) if len(pieces) > 1 else iter(pieces)


def _stem_key(word: str) -> str:
    return f"0{word[:STEM]}"


def _ending_key(word: str) -> str:
    return f"1{word}"


def _endings(word: str) -> Iterator[str]:
    """Yield the endings of a long word that leave three letters or more before them."""
    if LONG_WORD <= len(word) <= LONGEST_WORD:
        yield from (word[begin:] for begin in range(3, len(word) - SHORTEST_PART + 1))


def _is_hangul(text: str) -> bool:
    return "\u1100" <= text[0] <= "\u11ff" or "\uac00" <= text[0] <= "\ud7a3"


@functools.cache
def _southeast() -> str:
    return character_class(_SOUTHEAST_BLOCKS, "LM")


@functools.cache
def _unspaced() -> re.Pattern[str]:
    return re.compile(f"[{_HAN}{_HIRAGANA}{_KATAKANA}{_southeast()}]")


@functools.cache
def _runs() -> re.Pattern[str]:
    other = _HAN + _HIRAGANA + _KATAKANA + _HANGUL + _southeast()
    kinds = {
        "han": f"[{_HAN}]+",
        "katakana": f"[{_KATAKANA}]+",
        "hiragana": f"[{_HIRAGANA}]+",
        "southeast": f"[{_southeast()}]+",
        "hangul": f"[{_HANGUL}]+",
        "alphabet": rf"[^\W_{other}](?:[^\W_{other}]|[{marks()}])*",
    }
    return re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in kinds.items()))


@functools.cache
def _syllables() -> re.Pattern[str]:
    after = f"[{marks()}{_TRAILING}]"
    return re.compile(f"[{_LEADING}]?.(?:[{_STACKING}].|{after})*")
