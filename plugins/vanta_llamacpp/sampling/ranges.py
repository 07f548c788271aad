"""Numbers within limits, as expressions of a grammar.

A schema's `minimum`, `maximum` and their exclusive forms become patterns of digits. Invariant:
every sentence of an expression is a JSON number within the limits; where limits cannot be expressed
exactly, fewer numbers are allowed, never more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

DIGITS = 15
"""Digits of the largest number: a float holds every integer of so many."""
DECIMALS = 6
"""Digits behind the point of a number with limits."""
LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_LARGEST = 10**DIGITS - 1


def range_of(schema: Mapping[str, Any]) -> str | None:
    """Return the GBNF expression of the numbers that a schema's limits allow.

    :param schema: the schema of an integer or a number, with one of `LIMITS`.
    :returns: the expression; None if it allows no number that can be expressed.
    """
    limits = {name: schema[name] for name in LIMITS if name in schema}
    if not all(_is_number(value) for value in limits.values()):
        return None
    if schema.get("type") == "integer":
        return _integers(*_whole_limits(limits))
    return _numbers(limits)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole_limits(limits: Mapping[str, float]) -> tuple[int, int]:
    """Return the smallest and the largest integer within limits."""
    least, most = -_LARGEST, _LARGEST
    if "minimum" in limits:
        least = max(least, math.ceil(limits["minimum"]))
    if "exclusiveMinimum" in limits:
        least = max(least, math.floor(limits["exclusiveMinimum"]) + 1)
    if "maximum" in limits:
        most = min(most, math.floor(limits["maximum"]))
    if "exclusiveMaximum" in limits:
        most = min(most, math.ceil(limits["exclusiveMaximum"]) - 1)
    return least, most


def _integers(least: int, most: int) -> str | None:
    """Return an expression of the integers from `least` to `most`."""
    if least > most:
        return None
    parts = []
    if least < 0:
        parts.append(f'"-" ({_natural(max(1, -most), -least)})')
    if most >= 0:
        parts.append(_natural(max(0, least), most))
    return " | ".join(parts)


def _natural(least: int, most: int) -> str:
    """Return an expression of the integers from `least` to `most`, none of which is negative."""
    parts, size = [], len(str(least))
    if least != 10 ** (size - 1) and size < len(str(most)):
        parts.append(_same_length(str(least), "9" * size))
        least, size = 10**size, size + 1
    full = len(str(most + 1)) - 1  # the longest numbers of which all are allowed
    if least == 10 ** (size - 1) and size <= full:
        parts.append(f"[1-9] [0-9]{{{size - 1},{full - 1}}}" if full > 1 else "[1-9]")
        least = 10**full
    if least <= most:
        parts.append(_same_length(str(least), str(most)))
    return " | ".join(parts)


def _same_length(least: str, most: str) -> str:
    """Return an expression of the numbers between two of equal length."""
    if least == most:
        return f'"{least}"' if least else '""'
    rest = len(least) - 1
    if not rest:
        return f"[{least}-{most}]"
    low, high = int(least[0]), int(most[0])
    if low == high:
        return f'"{low}" ({_same_length(least[1:], most[1:])})'
    parts = []
    if int(least[1:]):
        parts.append(f'"{low}" ({_same_length(least[1:], "9" * rest)})')
        low += 1
    is_full = most[1:] == "9" * rest
    if low <= high - (not is_full):
        parts.append(f"[{low}-{high - (not is_full)}] [0-9]{{{rest}}}")
    if not is_full:
        parts.append(f'"{high}" ({_same_length("0" * rest, most[1:])})')
    return " | ".join(parts)


def _numbers(limits: Mapping[str, float]) -> str | None:
    """Return an expression of the numbers within limits: integers, and some between them."""
    parts = [_integers(*_whole_limits(limits))]
    parts.append(_fractions("", limits))
    parts.append(_fractions("-", {_MIRRORED[name]: -value for name, value in limits.items()}))
    return " | ".join(part for part in parts if part) or None


_MIRRORED = {
    "minimum": "maximum",
    "maximum": "minimum",
    "exclusiveMinimum": "exclusiveMaximum",
    "exclusiveMaximum": "exclusiveMinimum",
}


def _fractions(sign: str, limits: Mapping[str, float]) -> str | None:
    """Return an expression of decimal fractions that are not below zero, with a sign before them.

    The whole part keeps them between two integers within the limits.
    """
    above = limits.get("exclusiveMinimum", -math.inf)
    least = max(0, math.ceil(limits.get("minimum", 0)), 0 if above < 0 else math.floor(above) + 1)
    tops = (math.floor(limits[name]) for name in ("maximum", "exclusiveMaximum") if name in limits)
    most = min([_LARGEST + 1, *tops]) - 1
    prefix = f'"{sign}" ' if sign else ""
    parts = []
    if least <= most:
        parts.append(f'{prefix}({_natural(least, most)}) "." [0-9]{{1,{DECIMALS}}}')
    if least > 0 and least - 1 == above <= most:
        parts.append(f'{prefix}"{least - 1}." [0-9]{{0,{DECIMALS - 1}}} [1-9]')
    return " | ".join(parts) or None
