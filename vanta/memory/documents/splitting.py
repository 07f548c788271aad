"""Parts a text that is too long: at its lines, its sentences, its words, at last anywhere.

Invariant: the parts put together are the text, to the character, and none is too long.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

Count = Callable[[str], int]

_LINE = re.compile(r"\n+")
_SENTENCE = re.compile(
    "[.!?\u2026][\"')\\]\u2019\u201d\u00bb]{0,3}\\s+|[\u3002\uff01\uff1f][\u300d\u300f\uff09]?\\s*|\n\\s*\n\\s*"
)
_WORD = re.compile(r"\s+")

BY_LINES = (_LINE, _SENTENCE, _WORD)
BY_SENTENCES = (_SENTENCE, _LINE, _WORD)


def part(text: str, most: int, count: Count, ends: tuple[re.Pattern[str], ...]) -> list[str]:
    """`text` in parts of at most `most` tokens by `count`, ended where the first of `ends` that
    helps has its match."""
    if count(text) <= most:
        return [text]
    if not ends:
        return _anywhere(text, most, count)
    parts: list[str] = []
    open_part = ""
    for piece in _cut(text, ends[0]):
        if open_part and count(open_part + piece) > most:
            parts.append(open_part)
            open_part = ""
        if not open_part and count(piece) > most:
            *full, open_part = part(piece, most, count, ends[1:])
            parts += full
        else:
            open_part += piece
    return [*parts, open_part] if open_part else parts


def _cut(text: str, end: re.Pattern[str]) -> Iterator[str]:
    done = 0
    for match in end.finditer(text):
        yield text[done : match.end()]
        done = match.end()
    if done < len(text):
        yield text[done:]


def _anywhere(text: str, most: int, count: Count) -> list[str]:
    """Halved until it fits; one character always does."""
    if len(text) < 2 or count(text) <= most:
        return [text]
    middle = len(text) // 2
    return [*_anywhere(text[:middle], most, count), *_anywhere(text[middle:], most, count)]
