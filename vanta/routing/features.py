"""The router's features of a text: hashed words, pairs, beginnings of words and lines, its shape.

Invariant: the features depend on the text alone (never on the process, the machine or a model),
take bounded time however long the text is, and are the same in `features` and `named`. A change
here changes `VERSION`, so that an older model file is refused.

Features are CRC-32 values (hashing: Weinberger et al., "Feature Hashing for Large Scale Multitask
Learning", 2009), so a model file holds no text; its owner can still test it for a word.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable
from math import log2
from zlib import crc32

from vanta.language import fold, marks, terms

VERSION = 2
HEAD_CHARS = 500
TAIL_CHARS = 200

_ASCII_TOKEN = re.compile(r"[a-z]+|\d+|\S")
_STARTS, _LINES, _SHAPE = 1, 2, 3
"""Hash seeds of the families: the beginning of a word is another feature than the word."""


def features(text: str) -> set[int]:
    """Return the features of `text`."""
    seen = _seen(text)
    tokens = _tokens(seen)
    words = list(map(crc32, tokens))
    found = set(words)
    found.update(map(crc32, tokens[1:], words))
    found.update([crc32(token[:5], _STARTS) for token in tokens if len(token) > 5])
    found.update([crc32(start, _LINES) for start in _line_starts(seen)])
    found.update([crc32(label, _SHAPE) for label in _shape(len(text), seen, tokens)])
    return found


def named(text: str) -> dict[int, str]:
    """Return the same features, each with a name for people."""
    seen = _seen(text)
    tokens = _tokens(seen)
    names = {crc32(label, _SHAPE): label.decode() for label in _shape(len(text), seen, tokens)}
    for token in tokens:
        names.setdefault(crc32(token), f"word {_shown(token)}")
        if len(token) > 5:
            names.setdefault(crc32(token[:5], _STARTS), f"word begins {_shown(token[:5])}")
    for first, second in itertools.pairwise(tokens):
        names.setdefault(crc32(second, crc32(first)), f"words {_shown(first + b' ' + second)}")
    for start in _line_starts(seen):
        names.setdefault(crc32(start, _LINES), f"line begins {_shown(start)}")
    return names


def _seen(text: str) -> str:
    """Return the part that counts: the beginning, and of a long text also the end."""
    if len(text) > HEAD_CHARS + TAIL_CHARS:
        text = f"{text[:HEAD_CHARS]}\n{text[-TAIL_CHARS:]}"
    return fold(text)


def _tokens(seen: str) -> list[bytes]:
    """Return words, numbers and signs; a word that is not ASCII as its terms."""
    if seen.isascii():
        return " ".join(_ASCII_TOKEN.findall(seen)).encode().split()
    pieces = (
        terms(piece) if not piece.isascii() and len(piece) > 1 else (piece,)
        for piece in _token().findall(seen)
    )
    words = " ".join(itertools.chain.from_iterable(pieces))
    return words.encode(errors="replace").split()


@functools.cache
def _token() -> re.Pattern[str]:
    return re.compile(rf"(?:[^\W\d_]|[{marks()}])+|\d+|\S")


def _line_starts(seen: str) -> set[bytes]:
    """Return the first two words of every line."""
    return {
        " ".join(line[:40].split(None, 2)[:2]).encode(errors="replace")
        for line in seen.split("\n")
        if line
    }


def _shape(size: int, seen: str, tokens: list[bytes]) -> Iterable[bytes]:
    """Return labels of length, lines, numbers and punctuation, in logarithmic bins."""
    count = tokens.count
    numbers = len([token for token in tokens if token.isdigit()])
    first_line = seen.find("\n")
    length = log2(1 + size)
    some = b"no" if not numbers else b"few" if numbers < 6 else b"many"
    return (
        b"length 2^%.1f" % (round(2 * length) / 2),
        b"length 2^%d, %s numbers" % (round(length), some),
        b"lines %d" % min(seen.count("\n"), 12),
        b"first line 2^%d" % round(log2(2 + first_line)),
        b"numbers 2^%d" % round(log2(1 + numbers)),
        b"commas 2^%d" % round(log2(1 + count(b","))),
        b"full stops 2^%d" % round(log2(1 + count(b"."))),
        b"question marks %d" % min(count(b"?"), 3),
        b"characters a token %.1f" % (round(4 * len(seen) / (1 + len(tokens))) / 4),
        b"different tokens %d0%%" % (10 * len(set(tokens)) // (1 + len(tokens))),
    )


def _shown(token: bytes) -> str:
    return repr(token.decode(errors="replace"))
