"""Stretches of whole days, and the arithmetic that dates in speech need.

Invariant: pure; weeks begin on Monday, a weekend is its Saturday and Sunday. What would leave the
calendar (years 1 to 9999) raises OverflowError or ValueError.
"""

from __future__ import annotations

import calendar
import datetime as dt
from dataclasses import dataclass

DAY = dt.timedelta(days=1)
WEEK = dt.timedelta(weeks=1)


@dataclass(frozen=True, slots=True)
class Span:
    """The days from `first` to `last`, both included."""

    first: dt.date
    last: dt.date

    def __str__(self) -> str:
        """In the shortest form of ISO 8601: a day, a month, a year, or two days with a slash."""
        if self.first == self.last:
            return self.first.isoformat()
        if self == month_of(self.first):
            return self.first.isoformat()[:7]
        if self == year_of(self.first):
            return self.first.isoformat()[:4]
        return f"{self.first.isoformat()}/{self.last.isoformat()}"

    def seconds(self, tz: dt.tzinfo) -> tuple[float, float]:
        """When it begins and when it is over, in seconds since the epoch."""
        begin = dt.datetime.combine(self.first, dt.time(), tz)
        end = dt.datetime.combine(self.last + DAY, dt.time(), tz)
        return begin.timestamp(), end.timestamp()


def day(date: dt.date) -> Span:
    """One day."""
    return Span(date, date)


def week_of(date: dt.date) -> Span:
    """The week, Monday to Sunday, that has `date`."""
    monday = date - date.weekday() * DAY
    return Span(monday, monday + 6 * DAY)


def weekend_of(date: dt.date) -> Span:
    """The weekend of the week that has `date`."""
    sunday = week_of(date).last
    return Span(sunday - DAY, sunday)


def month_of(date: dt.date) -> Span:
    """The calendar month that has `date`."""
    days = calendar.monthrange(date.year, date.month)[1]
    return Span(date.replace(day=1), date.replace(day=days))


def year_of(date: dt.date) -> Span:
    """The calendar year that has `date`."""
    return Span(dt.date(date.year, 1, 1), dt.date(date.year, 12, 31))


def add_months(date: dt.date, months: int) -> dt.date:
    """The same day `months` later (earlier if negative), or the last day of a shorter month."""
    year, month = divmod(date.year * 12 + date.month - 1 + months, 12)
    days = calendar.monthrange(year, month + 1)[1]
    return dt.date(year, month + 1, min(date.day, days))


def weekday_before(date: dt.date, weekday: int, *, or_on: bool = False) -> dt.date:
    """The last day before `date` (or on it) that is that weekday; Monday is 0."""
    back = (date.weekday() - weekday) % 7
    return date - (back if back or or_on else 7) * DAY


def weekday_after(date: dt.date, weekday: int, *, or_on: bool = False) -> dt.date:
    """The first day after `date` (or on it) that is that weekday; Monday is 0."""
    ahead = (weekday - date.weekday()) % 7
    return date + (ahead if ahead or or_on else 7) * DAY
