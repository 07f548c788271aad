"""One spelling for characters that readers cannot tell apart, so that patterns need only ASCII.

Text that is pasted from documents, web pages and phones has no-break and thin spaces, en dashes,
curly quotes, full-width digits, digits of other scripts and characters without width. Invariants:
words and the order of characters are kept; the cost is linear; ASCII passes unchanged. Letters that
look alike in several alphabets are not unified: NFKC (Unicode Standard Annex 15) does not, and
names in other scripts need them.
"""

from __future__ import annotations

import re
import unicodedata

_SINGLE_QUOTES = "\u2018\u2019\u201a\u201b\u2032\u00b4\u02bc\u2039\u203a"
_DOUBLE_QUOTES = "\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb\u300c\u300d\u300e\u300f"
_QUOTES = dict.fromkeys(_SINGLE_QUOTES, "'") | dict.fromkeys(_DOUBLE_QUOTES, '"')
"""Quotation marks, primes and accents that stand for them."""

_DASHES = frozenset("\u2212\u2043\u02d7")
"""The minus sign, the hyphen bullet and the modifier letter: dashes outside the category Pd."""

_DOTS = frozenset("\u00b7\u2027\u30fb\u2022")
"""Middle dots and bullets, which part groups of digits in some countries."""

_LONG_VOWEL = re.compile(r"(?<=\d)ー(?=\d)")
"""The Japanese mark for a long vowel, which is typed as a dash between digits."""

_INVISIBLE = frozenset("\u034f\u115f\u1160\u3164\ufe0e\ufe0f")
"""Joiners, Hangul fillers and variation selectors: without width, and outside the category Cf."""


def normalise(text: str) -> str:
    """Return `text` with ASCII separators, quotes and digits, and no invisible characters.

    :param text: any text.
    :returns: the text in Unicode's form NFKC, with each space as " ", each dash as "-", each
        quotation mark as ' or ", each middle dot as ".", each decimal digit as 0 to 9.
    """
    if text.isascii():
        return text
    # Composed first: a full-width digit is a digit only afterwards.
    text = _LONG_VOWEL.sub("-", unicodedata.normalize("NFKC", text))
    spellings = {ord(char): _spelling(char) for char in set(text) if not char.isascii()}
    return text.translate(spellings)


def _spelling(char: str) -> str:
    """Return what stands for a character outside ASCII; other letters and signs stay."""
    category = unicodedata.category(char)
    if category == "Cf" or char in _INVISIBLE:
        return ""
    if category == "Zs":
        return " "
    if category in {"Zl", "Zp"}:
        return "\n"
    if category == "Nd":
        return str(unicodedata.decimal(char))
    if category == "Pd" or char in _DASHES:
        return "-"
    return "." if char in _DOTS else _QUOTES.get(char, char)
