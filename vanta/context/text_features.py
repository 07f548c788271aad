"""What a text is made of, as far as it tells how many tokens it takes.

Tokenizers cut text by class of character and then merge what is frequent, so that for one tokenizer
the tokens of a text are close to a weighted sum of a few counts: words and how long they are,
signs and their runs, characters by script. `vanta.context.estimate_calibration`
learns the weights.
Invariant: pure and linear in the length of the text, counted at C's speed; UTF-8 lead bytes tell
scripts apart.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

_LETTERS = re.compile(rb"[A-Za-z]+")
_DIGITS = re.compile(rb"[0-9]+")
_SIGNS = re.compile(rb"[!-/:-@\[-`{-~]+")
_SPACES = re.compile(rb"[ \t]{2,}")
_FOREIGN = re.compile(rb"[\xc3-\xdf][\xc3-\xdf\x80-\xbf]+")
_CODED = re.compile(rb"[A-Za-z0-9+/=]{16,}")
_CHANGES = re.compile(rb"[a-z][A-Z0-9]|[0-9][A-Za-z]|[A-Z][0-9]")
_HAN_ONE = re.compile("[\u4e00-\u9fff]")
_MIXED = re.compile(rb"(?=[^0-9]*[0-9])(?=[^A-Z]*[A-Z])(?=[^a-z]*[a-z])")


@dataclass(frozen=True, slots=True)
class Feature:
    """One count: what of, and how many tokens each takes with the tokenizers of today, about."""

    name: str
    usual: float


FEATURES = (
    Feature("words", 1.0),
    Feature("letters beyond six of a word", 0.15),
    Feature("capitals", 0.25),
    Feature("changes inside a word, of case or to a digit", 0.3),
    Feature("digits", 0.7),
    Feature("runs of digits", 0.4),
    Feature("signs", 0.2),
    Feature("runs of signs", 0.9),
    Feature("runs of spaces", 0.5),
    Feature("spaces in them", 0.05),
    Feature("line breaks", 0.6),
    Feature("Cyrillic letters", 0.8),
    Feature("other characters of two bytes", 1.0),
    Feature("words of them", 0.5),
    Feature("kana and CJK signs", 1.5),
    Feature("common Han characters", 1.2),
    Feature("rare Han characters", 2.2),
    Feature("Hangul syllables", 2.0),
    Feature("other characters of three bytes", 1.8),
    Feature("characters of four bytes", 3.0),
    Feature("characters of codes, like base64", 0.75),
)


def features(text: str) -> tuple[int, ...]:
    """The counts of `FEATURES` in `text`."""
    data = text.encode("utf-8", "replace")
    long = len(data) >= 16
    codes = [code for code in _CODED.findall(data) if _MIXED.match(code)] if long else []
    if codes:
        data = _CODED.sub(lambda found: b"" if _MIXED.match(found[0]) else found[0], data)
    words = _LETTERS.findall(data)
    signs = _SIGNS.findall(data)
    digits = _DIGITS.findall(data)
    spaces = _SPACES.findall(data) if b"  " in data or b"\t" in data else []
    latin = (
        len(words),
        sum(len(word) - 6 for word in words if len(word) > 6),
        _count(data, _CAPITALS),
        len(_CHANGES.findall(data)),
        sum(map(len, digits)),
        len(digits),
        sum(map(len, signs)),
        len(signs),
        len(spaces),
        sum(map(len, spaces)),
        data.count(b"\n"),
    )
    foreign = _NOTHING if data.isascii() else _foreign(text, data)
    return (*latin, *foreign, sum(map(len, codes)))


def _foreign(text: str, data: bytes) -> tuple[int, ...]:
    cyrillic, han = _count(data, _CYRILLIC), _count(data, _HAN)
    common = sum(map(_common_han().__contains__, _HAN_ONE.findall(text))) if han else 0
    kana, hangul = _count(data, _KANA), _count(data, _HANGUL)
    return (
        cyrillic,
        _count(data, _TWO) - cyrillic,
        len(_FOREIGN.findall(data)),
        kana,
        common,
        han - common,
        hangul,
        _count(data, _THREE) - kana - han - hangul,
        _count(data, _FOUR),
    )


@functools.cache
def _common_han() -> frozenset[str]:
    """The Han characters of the first levels of GB 2312 and of JIS X 0208, where those in common
    use stand."""
    found: set[str] = set()
    for codec, last in (("gb2312", 0xD7), ("euc_jp", 0xCF)):
        pairs = (bytes((row, cell)) for row in range(0xB0, last + 1) for cell in range(0xA1, 0xFF))
        found.update(*(pair.decode(codec, "ignore") for pair in pairs))
    return frozenset(found)


def _count(data: bytes, wanted: bytes) -> int:
    return len(data) - len(data.translate(None, wanted))


_CAPITALS = bytes(range(ord("A"), ord("Z") + 1))
_TWO = bytes(range(0xC2, 0xE0))
_CYRILLIC = bytes(range(0xD0, 0xD4))
_THREE = bytes(range(0xE0, 0xF0))
_KANA = b"\xe3"
_HAN = bytes(range(0xE4, 0xEA))
_HANGUL = bytes(range(0xEA, 0xEE))
_FOUR = bytes(range(0xF0, 0xF5))
_NOTHING = (0,) * 9
