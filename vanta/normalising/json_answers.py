"""JSON in an answer: inside a code fence, with text around it, with commas before closing brackets.

What a model writes beside its JSON is left out. Nothing of a value is changed or completed: an
answer that is cut off has no JSON, and neither has one with a name that occurs twice, NaN, or texts
in single quotes. Invariant: linear in the length of the answer.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

MOST_TEXTS = 16
"""JSON texts that are read of one answer."""

MOST_STARTS = 4
"""Brackets that are tried as beginnings of JSON although nothing closes them."""

_FENCE = re.compile(r"^[ \t]*+(`{3,}+|~{3,}+)([^\n`]*+)$", re.MULTILINE)
_INSIDE = re.compile(r'["{}\[\]]')
_TEXT_END = re.compile(r'(?:[^"\\]|\\.)*+"', re.DOTALL)
_COMMA = re.compile(r'"(?:[^"\\]|\\.)*+"|,(?=\s*+[}\]])', re.DOTALL)
_OPENING = re.compile(r"[{\[]")


def json_texts(answer: str) -> tuple[str, ...]:
    """Return the JSON texts of an answer, each without a comma before a closing bracket.

    This is the whole answer if that is JSON; otherwise what its code fences have; otherwise the
    objects and arrays between other text.

    :param answer: the text of the answer.
    :returns: the texts in their order; none if the answer has no JSON.
    """
    whole = _json_of(answer)
    if whole is not None:
        return (whole,)
    fenced = [_json_of(block) for block in _fenced(answer)]
    texts = [text for text in fenced if text is not None] or list(_embedded(answer))
    return tuple(texts[:MOST_TEXTS])


def json_start(answer: str) -> int:
    """Return where the JSON of an unfinished answer begins: at its first bracket.

    :param answer: the text so far.
    :returns: the place; the length of the text if it has no bracket.
    """
    match = _OPENING.search(answer)
    return match.start() if match else len(answer)


def is_cut_off(answer: str) -> bool:
    """Return whether an answer has a bracket that nothing closes.

    :param answer: the text of the answer.
    """
    start = json_start(answer)
    return start < len(answer) and _closing(answer, start) is None


def _json_of(text: str) -> str | None:
    """Return a text that is JSON, or is but for commas before closing brackets; None otherwise."""
    text = text.strip().removeprefix("\ufeff")
    if _is_json(text):
        return text
    without = _COMMA.sub(lambda match: match[0] if match[0][0] == '"' else "", text)
    return without if without != text and _is_json(without) else None


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("an object has a name twice")
    return value


def _fenced(answer: str) -> Iterator[str]:
    """Yield what stands between the lines of a code fence and its end."""
    opening: re.Match[str] | None = None
    for line in _FENCE.finditer(answer):
        if opening is None:
            opening = line
        elif line[1].startswith(opening[1]) and not line[2].strip():
            yield answer[opening.end() : line.start()]
            opening = None


def _embedded(answer: str) -> Iterator[str]:
    """Yield the objects and arrays that stand in a text, outermost ones only."""
    place, starts = 0, 0
    while (match := _OPENING.search(answer, place)) and starts < MOST_STARTS:
        end = _closing(answer, match.start())
        if end is None:
            starts += 1
            place = match.end()
            continue
        text = _json_of(answer[match.start() : end])
        if text is not None:
            yield text
        place = end


def _closing(text: str, start: int) -> int | None:
    """Return the place behind the bracket that closes the one at `start`, None if nothing does."""
    depth, place = 0, start
    while match := _INSIDE.search(text, place):
        place = match.end()
        if match[0] == '"':
            end = _TEXT_END.match(text, place)
            if end is None:
                return None
            place = end.end()
            continue
        depth += 1 if match[0] in "{[" else -1
        if not depth:
            return place
    return None
