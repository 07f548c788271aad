"""Folding: one spelling for texts that differ in case, width, accents or the form of a letter.

Folding may change the length of a text (`ß` becomes `ss`), so an index into a folded text is not an
index into the text: `clusters` yields the pieces that can be folded on their own, for code that has
to find its way back.

Invariants: `fold(fold(text)) == fold(text)`, and folding the clusters of a text one by one and
joining them gives the folded text. Marks that carry the vowel (Devanagari, Thai) are kept.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator, Sequence

_PLAIN_LETTERS = {
    "\u0131": "i",  # Turkish dotless i: its capital is the plain I
    "ø": "o",
    "ł": "l",
    "đ": "d",
    "ð": "d",
    "þ": "th",
    "æ": "ae",
    "œ": "oe",
    "ى": "ي",  # Arabic: the forms of alef and yeh, teh marbuta; Persian yeh and kaf
    "ی": "ي",
    "ک": "ك",
    "ٱ": "ا",
    "ة": "ه",
    "ך": "כ",  # Hebrew: the final forms
    "ם": "מ",
    "ן": "נ",
    "ף": "פ",
    "ץ": "צ",
}
_DROPPED = "\u00ad\u0640\u093c\u200c\u200d\u2060\ufeff"
"""Soft hyphen, Arabic tatweel, Devanagari nukta, joiners and other characters without width."""

_DROPPED_MARKS = (
    (0x0300, 0x036F),  # Latin, Greek and Cyrillic accents
    (0x0483, 0x0487),
    (0x0591, 0x05BD),  # Hebrew points
    (0x05BF, 0x05BF),
    (0x05C1, 0x05C2),
    (0x0610, 0x061A),  # Arabic vowels and hamza
    (0x064B, 0x065F),
    (0x0670, 0x0670),
    (0x06D6, 0x06DC),
    (0xFE00, 0xFE0F),  # variation selectors
)
_MARK_RANGES = (
    (0x300, 0x1D00),
    (0x1DC0, 0x2100),
    (0x302A, 0x309B),
    (0xA66F, 0xAC00),
    (0xFB1E, 0xFB1F),
    (0xFE00, 0xFE30),
    (0x11000, 0x11A00),
    (0xE0100, 0xE01F0),
)
_JOINED = "\u1160-\u11ff\u200d"
"""Hangul vowels and finals, which compose with the letter before; the joiner of emoji."""


def fold(text: str) -> str:
    """Return a text without differences of case, width, accents and forms of letters.

    Digits of any script become ASCII digits.

    :param text: any text.
    """
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKC", text).casefold()
    folded = unicodedata.normalize("NFD", folded).translate(_table())
    return unicodedata.normalize("NFC", folded)


def clusters(text: str) -> Iterator[str]:
    """Yield a text in pieces of one letter with its marks, at most 32 of them.

    :param text: any text; the pieces joined are the text.
    """
    if text.isascii():
        yield from text
        return
    for match in _cluster().finditer(text):
        yield match[0]


def find_folded(text: str, part: str) -> int:
    """Return where `part` begins in `text` if case, width and accents do not count; -1 if nowhere.

    :param text: the text to search; the result is an index into it, not into its folded form.
    :param part: the text to find.
    """
    places: dict[int, int] = {}
    folded, size, place = [], 0, 0
    for cluster in clusters(text):
        places.setdefault(size, place)
        folded.append(fold(cluster))
        size += len(folded[-1])
        place += len(cluster)
    joined, wanted = "".join(folded), fold(part)
    at = joined.find(wanted)
    while at >= 0 and at not in places:
        at = joined.find(wanted, at + 1)
    return places[at] if at >= 0 else -1


@functools.cache
def marks() -> str:
    """Return all combining marks as the inside of a character class."""
    return character_class(_MARK_RANGES, "M")


def character_class(ranges: Sequence[tuple[int, int]], categories: str) -> str:
    """Return the inside of a character class: the characters of some categories in code ranges.

    :param ranges: first code, and code after the last.
    :param categories: first letters of Unicode's general categories.
    """
    pieces: list[str] = []
    for begin, end in ranges:
        first = None
        for code in range(begin, end + 1):
            fits = code < end and unicodedata.category(chr(code))[0] in categories
            if fits and first is None:
                first = code
            elif not fits and first is not None:
                pieces.append(f"{chr(first)}-{chr(code - 1)}")
                first = None
    return "".join(pieces)


@functools.cache
def _cluster() -> re.Pattern[str]:
    joined = f"[{marks()}{_JOINED}]"
    return re.compile(rf"(?:.{joined}{{0,8}}\u200d){{0,8}}.{joined}{{0,32}}", re.DOTALL)


@functools.cache
def _table() -> dict[int, str]:
    table = {ord(letter): plain for letter, plain in _PLAIN_LETTERS.items()}
    table |= {ord(letter): "" for letter in _DROPPED}
    for begin, end in _DROPPED_MARKS:
        table |= dict.fromkeys(range(begin, end + 1), "")
    return _Digits(table)


class _Digits(dict[int, str]):
    """A translation table that maps digits of any script to ASCII, as they are met."""

    def __missing__(self, code: int) -> str:
        letter = chr(code)
        value = unicodedata.decimal(letter, None)
        self[code] = letter if value is None else str(value)
        return self[code]
