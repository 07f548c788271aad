"""Bounds of what may come without an end: answers, and steps that never wait.

Invariant: a bound is checked as its input comes, at a cost that does not grow with what came
before.
"""

from __future__ import annotations

from vanta.bounds.answer import (
    CHARACTERS_PER_TOKEN,
    FREE_CHARACTERS,
    MOST_CHARACTERS,
    AnswerBound,
    whole_answer,
)
from vanta.bounds.pace import Pace

__all__ = [
    "CHARACTERS_PER_TOKEN",
    "FREE_CHARACTERS",
    "MOST_CHARACTERS",
    "AnswerBound",
    "Pace",
    "whole_answer",
]
