"""The tools `calculate`, `now`, `shift_time` and `time_between`."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vanta import ToolContext, ToolError, ToolResult
from vanta_tools.actions import CorrectableError
from vanta_tools.calculator import CalculatorToolset, calculate
from vanta_tools.clock import ClockOptions, ClockToolset, why_clock_off

AT = 1_793_000_000.0  # Monday, 26 October 2026, 07:33:20 in UTC


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("0.1 + 0.2", "0.3"),
        ("2 ** 100", "1267650600228229401496703205376"),
        ("2^10", "1024"),
        ("1/3", "0.333333333333333333333333333333"),
        ("sqrt(2)", "1.41421356237309504880168872421"),
        ("sin(pi)", "0"),
        ("cos(0) + tan(pi / 4)", "2"),
        ("round(2.5)", "3"),
        ("round(2.345, 2)", "2.35"),
        ("-7 % 3", "2"),
        ("7 % -3", "-2"),
        ("-7 // 2", "-4"),
        ("7.5 // 2", "3"),
        ("factorial(20)", "2432902008176640000"),
        ("comb(10, 3) + perm(4, 2)", "132"),
        ("gcd(12, 18) * lcm(4, 6)", "72"),
        ("mean(1, 2, 4) - median(1, 2, 4)", "0.333333333333333333333333333333"),
        ("max(1, 2, 3) - min(4, 5)", "-1"),
        ("log(8, 2) + log2(8) + log10(1000) + ln(e)", "10"),
        ("degrees(pi) + radians(180) - pi", "180"),
        ("3 × 4 − 2 ÷ 4 =", "11.5"),  # noqa: RUF001
        ("1_000 * 1e3", "1000000"),
        ("123456789.123456789 * 1000000000", "123456789123456789"),
        ("1e-30", "1E-30"),
        ("10 ** 100", "1E+100"),
        ("stdev(1, 2, 3)", "1"),
        ("abs(-3) + ceil(0.2) + floor(-0.2) + trunc(-1.7)", "2"),
    ],
)
def test_arithmetic_is_decimal(expression: str, value: str) -> None:
    assert calculate(expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "__import__('os').system('id')",
        "().__class__.__bases__",
        "(1).real",
        "abs.__call__(1)",
        "sqrt(x)",
        "open('a')",
        "eval('1')",
        "'a' * 5",
        "[1] * 9",
        "{1: 2}",
        "(1, 2)",
        "1,000",
        "lambda: 1",
        "[x for x in (1,)]",
        "1 if 1 else 2",
        "1 == 1",
        "not 1",
        "True",
        "None",
        "1j",
        "0x10",
        "f'{1}'",
        "x := 1",
        "a = 1",
        "1; 2",
        "import os",
        "sum(*[1])",
        "max(key=1)",
        "max()",
        "1 / 0",
        "1 % 0",
        "0 ** -1",
        "0 ** 0",
        "sqrt(-1)",
        "(-8) ** 0.5",
        "log(-1)",
        "asin(2)",
        "9 ** 9 ** 9",
        "10 ** 10000",
        "exp(1e9)",
        "1e999999",
        "1e99999999999",
        "factorial(2001)",
        "factorial(2.5)",
        "factorial(-1)",
        "gcd(1e100, 1)",
        "round(1, 1e9)",
        "(" * 500 + "1" + ")" * 500,
        "-" * 1900 + "1",
        "1 +",
        "½",
        "٣ + ٤",
        "1\x00",
        "\ud800",
    ],
    ids=lambda text: ascii(text[:40]),
)
def test_what_is_not_arithmetic_or_too_large_is_refused(expression: str) -> None:
    began = time.process_time()
    with pytest.raises(CorrectableError):
        calculate(expression)
    assert time.process_time() - began < 5


@given(st.text(alphabet="0123456789.+-*/%^() eE,xpiabsqrtmax", max_size=40))
def test_any_text_has_a_value_or_an_error_for_the_model(text: str) -> None:
    try:
        outcome = calculate(text)
    except CorrectableError as error:
        outcome = str(error)
    assert outcome


@pytest.mark.anyio
async def test_the_calculator_is_private_and_reads() -> None:
    toolset = CalculatorToolset()
    (tool,) = await toolset.tools()
    assert (tool.effect, tool.private, tool.untrusted) == ("read", True, False)
    result = await toolset.call("calculate", {"expression": "6 * 7"}, ToolContext())
    assert (result.text, result.data) == ("42", {"value": "42"})
    result = await toolset.call("calculate", {"expression": "sqr(4)"}, ToolContext())
    assert "Did you mean 'sqrt'?" in result.text
    with pytest.raises(ToolError, match="Did you mean 'calculate'"):
        await toolset.call("calculat", {}, ToolContext())


# The clock.


async def clock(tool: str, zone: str = "UTC", **arguments: Any) -> ToolResult:
    toolset = ClockToolset(ClockOptions(timezone=zone), lambda: AT)
    return await toolset.call(tool, arguments, ToolContext())


@pytest.mark.anyio
async def test_the_present_has_a_weekday_and_a_zone() -> None:
    assert (await clock("now")).text == "Monday, 2026-10-26T07:33:20+00:00 (UTC)"
    berlin = await clock("now", zone="Europe/Berlin")
    assert berlin.text == "Monday, 2026-10-26T08:33:20+01:00 (CET)"
    tokyo = await clock("now", timezone="Asia/Tokyo")
    assert tokyo.data["time"] == "2026-10-26T16:33:20+09:00"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("arguments", "time"),
    [
        ({"start": "2024-01-31", "months": 1}, "2024-02-29T00:00:00+01:00"),
        ({"start": "2024-02-29", "years": 1}, "2025-02-28T00:00:00+01:00"),
        ({"start": "2026-01-15", "months": -13}, "2024-12-15T00:00:00+01:00"),
        ({"start": "now", "days": 1}, "2026-10-27T08:33:20+01:00"),
        # Clocks go back in the night before: a day of the calendar has 25 hours.
        ({"start": "2026-10-24T12:00", "days": 1}, "2026-10-25T12:00:00+01:00"),
        ({"start": "2026-10-24T12:00", "hours": 24}, "2026-10-25T11:00:00+01:00"),
        # 02:30 does not exist in the night in which clocks go forward.
        ({"start": "2026-03-29T02:30"}, "2026-03-29T03:30:00+02:00"),
        (
            {"start": "2026-05-01T09:30+02:00", "timezone": "America/New_York"},
            "2026-05-01T03:30:00-04:00",
        ),
    ],
)
async def test_times_are_shifted_by_the_calendar(arguments: dict[str, Any], time: str) -> None:
    result = await clock("shift_time", zone="Europe/Berlin", **arguments)
    assert result.data["time"] == time


@pytest.mark.anyio
async def test_the_time_between_is_what_passes() -> None:
    result = await clock("time_between", start="2026-12-24", end="2027-01-01T06:30")
    assert result.text.startswith("8 days, 6 hours, 30 minutes (714600 seconds; 8 calendar days")
    back = await clock("time_between", start="2027-01-01", end="2026-12-31")
    assert back.data == {"seconds": -86400, "calendar_days": -1}
    change = await clock(
        "time_between", zone="Europe/Berlin", start="2026-10-25T00:00", end="2026-10-26T00:00"
    )
    assert change.data["seconds"] == 25 * 3600


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("now", {"timezone": "Mars/Base"}),
        ("now", {"timezone": "../../etc/passwd"}),
        ("now", {"timezone": "/etc/localtime"}),
        ("now", {"timezone": "\x00"}),
        ("shift_time", {"start": "yesterday"}),
        ("shift_time", {"start": "2026-02-30"}),
        ("shift_time", {"start": "9999-12-31", "days": 2}),
        ("shift_time", {"start": "0001-01-01", "years": -1}),
        ("shift_time", {"start": "now", "days": float("inf")}),
        ("shift_time", {"start": "now", "hours": 1e8, "days": 4e6}),
        ("time_between", {"start": "now", "end": ""}),
    ],
)
async def test_what_is_not_a_time_is_named(tool: str, arguments: dict[str, Any]) -> None:
    result = await clock(tool, **arguments)
    assert result.is_error
    assert result.text


def test_an_unknown_zone_turns_the_clock_off() -> None:
    assert "clock.timezone" in (why_clock_off(ClockOptions(timezone="Mars")) or "")
    assert why_clock_off(ClockOptions(timezone="Europe/Berlin")) is None
    assert why_clock_off(ClockOptions()) is None
