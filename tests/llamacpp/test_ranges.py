"""Limits of numbers in grammars: what is allowed is within them."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta_llamacpp.sampling.ranges import DECIMALS, LIMITS, range_of

LIMIT = (
    st.integers(-1200, 1200) | st.sampled_from([0, 1, 9, 10, 99, 100, -1, -10]) | st.floats(-9, 9)
)
SCHEMAS = st.dictionaries(st.sampled_from(LIMITS), LIMIT, min_size=1)


def matcher(schema: dict[str, Any]) -> re.Pattern[str] | None:
    """Return the expression of a range as a pattern of `re`."""
    expression = range_of(schema)
    if expression is None:
        return None
    pattern = re.sub(r'"([^"]*)"', lambda match: re.escape(match[1]), expression)
    return re.compile(pattern.replace(" ", ""))


def within(value: float, limits: dict[str, float]) -> bool:
    """Return whether a number is within limits, as JSON Schema has it."""
    return limits.get("minimum", -math.inf) <= value <= limits.get(
        "maximum", math.inf
    ) and limits.get("exclusiveMinimum", -math.inf) < value < limits.get(
        "exclusiveMaximum", math.inf
    )


@given(SCHEMAS, st.integers(-1300, 1300))
def test_every_integer_within_the_limits_is_allowed_and_no_other(
    limits: dict[str, float], value: int
) -> None:
    pattern = matcher({"type": "integer", **limits})
    near = {value, *(math.floor(limit) + step for limit in limits.values() for step in (-1, 0, 1))}
    for number in near:
        allowed = pattern is not None and pattern.fullmatch(str(number)) is not None
        assert allowed == within(number, limits)


@given(SCHEMAS, st.integers(-1300, 1300), st.integers(0, 10**DECIMALS - 1))
def test_no_number_outside_the_limits_is_allowed(
    limits: dict[str, float], whole: int, part: int
) -> None:
    pattern = matcher({"type": "number", **limits})
    ends = [f"{math.floor(limit)}{rest}" for limit in limits.values() for rest in (".0", ".5", "")]
    for text in [f"{whole}.{part}", f"{whole}", f"-0.{part}", *ends]:
        if pattern is not None and pattern.fullmatch(text):
            assert within(float(text), limits)


@pytest.mark.parametrize(
    ("limits", "allowed", "refused"),
    [
        ({"minimum": 0}, ["0", "12.5", "999999999999999"], ["-1", "-0.5", "01", "1e3"]),
        ({"exclusiveMinimum": 0}, ["0.1", "1", "3.0"], ["0", "0.0", "-1"]),
        ({"minimum": 0, "maximum": 1}, ["0", "1", "0.25"], ["1.5", "2"]),
        ({"minimum": -1, "maximum": 1}, ["-0.5", "-1", "0.5"], ["-1.5", "1.5"]),
        ({"maximum": 0}, ["-7.25", "0"], ["0.5", "1"]),
    ],
)
def test_usual_limits_leave_what_people_mean(
    limits: dict[str, float], allowed: list[str], refused: list[str]
) -> None:
    pattern = matcher({"type": "number", **limits})
    assert pattern is not None
    assert [text for text in allowed if not pattern.fullmatch(text)] == []
    assert [text for text in refused if pattern.fullmatch(text)] == []


def test_limits_that_exclude_every_number_have_no_expression() -> None:
    assert range_of({"type": "integer", "minimum": 3, "maximum": 2}) is None
    assert range_of({"type": "number", "minimum": 0.5, "maximum": 0.9}) is None
    assert range_of({"type": "integer", "minimum": "3"}) is None
