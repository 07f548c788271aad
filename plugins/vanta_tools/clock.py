"""The toolset `clock`: the present time, and arithmetic with dates.

Invariant: a time without a zone counts in the toolset's own zone, and every result names its zone
and its weekday, which models often get wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field

from vanta import ToolContext, ToolResult, ToolsetContext
from vanta_tools.actions import (
    ActionToolset,
    CorrectableError,
    ToolArguments,
    ToolOptions,
    action,
)

_ZONE = 'A time zone, such as Europe/Berlin or UTC; "" for the usual one.'
_TIME = "A date or time in ISO 8601, such as 2026-05-01 or 2026-05-01T09:30+02:00."


class ClockOptions(ToolOptions):
    """Options of the toolset `clock`."""

    timezone: str = Field(
        default="", description='The usual time zone; "" for that of this machine.'
    )


class NowArguments(ToolArguments):
    """Arguments of `now`."""

    timezone: str = Field(default="", max_length=100, description=_ZONE)


class ShiftArguments(ToolArguments):
    """Arguments of `shift_time`."""

    start: str = Field(max_length=100, description=f'{_TIME} "now" for the present.')
    years: int = Field(default=0, ge=-9999, le=9999)
    months: int = Field(default=0, ge=-120_000, le=120_000)
    days: float = Field(default=0, ge=-4e6, le=4e6, allow_inf_nan=False)
    hours: float = Field(default=0, ge=-1e8, le=1e8, allow_inf_nan=False)
    minutes: float = Field(default=0, ge=-1e10, le=1e10, allow_inf_nan=False)
    timezone: str = Field(
        default="", max_length=100, description=f"The zone of the result. {_ZONE}"
    )


class SpanArguments(ToolArguments):
    """Arguments of `time_between`."""

    start: str = Field(max_length=100, description=f'{_TIME} "now" for the present.')
    end: str = Field(max_length=100, description=f'{_TIME} "now" for the present.')


class ClockToolset(ActionToolset):
    """Returns the time, and shifts and compares times.

    :param options: the toolset's options.
    :param now: returns the present in seconds since the epoch.
    """

    def __init__(self, options: ClockOptions, now: Callable[[], float] = time.time) -> None:
        self._options = options
        self._now = now
        super().__init__(
            "clock",
            [
                action(
                    "now",
                    "Return the present date, time and weekday.",
                    NowArguments,
                    self._tell,
                    effect="read",
                    private=True,
                ),
                action(
                    "shift_time",
                    "Return the date that is some time after or, if negative, before another; "
                    "also converts a time to another zone.",
                    ShiftArguments,
                    self._shift,
                    effect="read",
                    private=True,
                ),
                action(
                    "time_between",
                    "Return the days, hours and minutes between two times.",
                    SpanArguments,
                    self._span,
                    effect="read",
                    private=True,
                ),
            ],
        )

    async def _tell(self, arguments: NowArguments, _context: ToolContext) -> ToolResult:
        return _as_result(self._present().astimezone(self._zone(arguments.timezone)))

    async def _shift(self, arguments: ShiftArguments, _context: ToolContext) -> ToolResult:
        start = self._parse(arguments.start)
        try:
            moved = add_months(start, 12 * arguments.years + arguments.months)
            # Days are of the calendar, hours of the clock: they differ when clocks are changed.
            moved = _settled(moved + timedelta(days=arguments.days))
            spent = timedelta(hours=arguments.hours, minutes=arguments.minutes)
            moved = (moved.astimezone(UTC) + spent).astimezone(moved.tzinfo)
            zone = self._zone(arguments.timezone) if arguments.timezone else moved.tzinfo
            return _as_result(moved.astimezone(zone))
        except (OverflowError, ValueError) as error:
            raise CorrectableError("The result is not between the years 1 and 9999.") from error

    async def _span(self, arguments: SpanArguments, _context: ToolContext) -> ToolResult:
        start, end = self._parse(arguments.start), self._parse(arguments.end)
        span = end - start if start.tzinfo != end.tzinfo else _elapsed(start, end)
        days = (end.date() - start.date()).days
        seconds = int(span.total_seconds())
        minutes, sign = abs(seconds) // 60, "-" if seconds < 0 else ""
        text = (
            f"{sign}{minutes // 1440} days, {minutes // 60 % 24} hours, {minutes % 60} minutes "
            f"({seconds} seconds; {days} calendar days, from {start:%A} to {end:%A})"
        )
        return ToolResult(text, data={"seconds": seconds, "calendar_days": days})

    def _present(self) -> datetime:
        return datetime.fromtimestamp(self._now(), UTC)

    def _zone(self, name: str) -> tzinfo:
        return read_zone(name or self._options.timezone)

    def _parse(self, text: str) -> datetime:
        if text.strip().lower() == "now":
            return self._present().astimezone(self._zone(""))
        try:
            parsed = datetime.fromisoformat(text.strip())
        except ValueError as error:
            raise CorrectableError(
                f"{text!r} is not a date or time in ISO 8601, such as 2026-05-01T09:30."
            ) from error
        return parsed if parsed.tzinfo else _settled(parsed.replace(tzinfo=self._zone("")))


def create_clock(options: ClockOptions, context: ToolsetContext) -> ClockToolset:
    """Return the toolset for a runtime."""
    return ClockToolset(options, context.now)


def why_clock_off(options: ClockOptions) -> str | None:
    """Return why the toolset cannot be used, or None."""
    try:
        read_zone(options.timezone)
    except CorrectableError as error:
        return f"tools.options.clock.timezone is wrong. {error}"
    return None


def read_zone(name: str) -> tzinfo:
    """Return a time zone.

    :param name: its name in the tz database; "" for that of this machine.
    :raises CorrectableError: if there is none of that name.
    """
    if not name:
        return datetime.now(UTC).astimezone().tzinfo or UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise CorrectableError(
            f"There is no time zone {name[:100]!r}. Use a name such as Europe/Berlin or UTC."
        ) from error


def add_months(moment: datetime, months: int) -> datetime:
    """Return a time some months later, on the last day of a month that is too short.

    :param moment: the time.
    :param months: how many months; before it if negative.
    :raises ValueError: if the year is not between 1 and 9999.
    """
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    for day in (moment.day, 30, 29, 28):
        try:
            return moment.replace(year=year, month=month + 1, day=day)
        except ValueError:
            if day == 28:
                raise
    raise ValueError("unreachable")


def _settled(moment: datetime) -> datetime:
    """Return a time that exists: one that a change of clocks skips is moved behind the change."""
    return moment.astimezone(UTC).astimezone(moment.tzinfo)


def _elapsed(start: datetime, end: datetime) -> timedelta:
    """Return the time that passes. Times of one zone would be subtracted as clocks show them."""
    return end.astimezone(UTC) - start.astimezone(UTC)


def _as_result(moment: datetime) -> ToolResult:
    name = moment.tzname() or ""
    text = f"{moment:%A}, {moment.isoformat(timespec='seconds')} ({name})"
    data = {"time": moment.isoformat(timespec="seconds"), "weekday": f"{moment:%A}"}
    return ToolResult(text, data=data | {"unix": int(moment.timestamp())})
