"""Agreement: does a second answer disagree materially with the first?

Used by `refine`, which amends what was shown only if the difference would matter to the reader.
Two answers disagree materially if one says yes and the other no, if they name different numbers,
or if they share too few of their content words (the overlap coefficient of Szymkiewicz and
Simpson, which does not punish a longer answer for saying more). Deterministic and free; it looks
at words, not at meaning, and errs on the side of amending.
"""

from __future__ import annotations

import re

MIN_OVERLAP = 0.5
"""Share of the shorter answer's content words that the other has to have."""

_WORD = re.compile(r"[^\W\d_]{3,}")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_LEADING = re.compile(r"^\W*(yes|no)\b", re.IGNORECASE)
_EMPTY = frozenset(
    """
    the and for are was were with that this from have has had not but you your can will its into
    than then them they there their which what when who how why also such more most some any one
    two would could should been being about over under between because
    """.split()  # noqa: SIM905 - a list of words reads better as words
)


def disagreement(first: str, second: str) -> str | None:
    """Why `second` disagrees materially with `first`, None if it does not."""
    yes, no = _polarity(first), _polarity(second)
    if yes and no and yes != no:
        return f"it says {no}, not {yes}"
    numbers, others = _numbers(first), _numbers(second)
    if numbers and others and not numbers & others:
        return f"it says {', '.join(sorted(others)[:3])}, not {', '.join(sorted(numbers)[:3])}"
    overlap = _overlap(_content_words(first), _content_words(second))
    if overlap < MIN_OVERLAP:
        return f"it shares {overlap:.0%} of the words that matter"
    return None


def _polarity(text: str) -> str | None:
    found = _LEADING.match(text)
    return found.group(1).lower() if found else None


def _numbers(text: str) -> set[str]:
    return {number.replace(",", "").rstrip(".") for number in _NUMBER.findall(text)}


def _content_words(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)} - _EMPTY


def _overlap(one: set[str], other: set[str]) -> float:
    if not one or not other:
        return 1.0 if one == other else 0.0
    return len(one & other) / min(len(one), len(other))
