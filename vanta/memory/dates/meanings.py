"""The meaning of each relative date, as a span of whole days counted from the day it was said.

There is one rule for every alternative of `vanta.memory.dates.vocabulary.RELATIVE`; it returns None
for words that only look like a date. The docstring of `vanta.memory.dates.resolution` says how
ambiguous dates are resolved. Invariants: pure; weeks begin on Monday, a weekend is its Saturday and
Sunday; dates outside the calendar (years 1 to 9999) raise OverflowError or ValueError.
"""

from __future__ import annotations

import calendar
import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vanta.memory.dates.vocabulary import (
    GIVEN_NAMES,
    MONTHS,
    MORE_AFTER,
    NUMBERS,
    OF_AFTER,
    STORY_BEFORE,
    WEEKDAYS,
)

DAY = dt.timedelta(days=1)
WEEK = dt.timedelta(weeks=1)


@dataclass(frozen=True, slots=True)
class DateSpan:
    """The days from `first` to `last`, both included."""

    first: dt.date
    last: dt.date

    def __str__(self) -> str:
        """Return the shortest form of ISO 8601: a day, month or year, or two days with a slash."""
        if self.first == self.last:
            return self.first.isoformat()
        if self == month_of(self.first):
            return self.first.isoformat()[:7]
        if self == year_of(self.first):
            return self.first.isoformat()[:4]
        return f"{self.first.isoformat()}/{self.last.isoformat()}"

    def seconds(self, tz: dt.tzinfo) -> tuple[float, float]:
        """Return the begin and the end, the latter excluded, in seconds since the epoch."""
        begin = dt.datetime.combine(self.first, dt.time(), tz)
        end = dt.datetime.combine(self.last + DAY, dt.time(), tz)
        return begin.timestamp(), end.timestamp()


def day(date: dt.date) -> DateSpan:
    """Return the span of one day."""
    return DateSpan(date, date)


def week_of(date: dt.date) -> DateSpan:
    """Return the week of `date`, Monday to Sunday."""
    monday = date - date.weekday() * DAY
    return DateSpan(monday, monday + 6 * DAY)


def weekend_of(date: dt.date) -> DateSpan:
    """Return the weekend of the week of `date`."""
    sunday = week_of(date).last
    return DateSpan(sunday - DAY, sunday)


def month_of(date: dt.date) -> DateSpan:
    """Return the calendar month of `date`."""
    days = calendar.monthrange(date.year, date.month)[1]
    return DateSpan(date.replace(day=1), date.replace(day=days))


def year_of(date: dt.date) -> DateSpan:
    """Return the calendar year of `date`."""
    return DateSpan(dt.date(date.year, 1, 1), dt.date(date.year, 12, 31))


def add_months(date: dt.date, months: int) -> dt.date:
    """Return the same day `months` later (earlier if negative), or the last day of a shorter
    month."""
    year, month = divmod(date.year * 12 + date.month - 1 + months, 12)
    days = calendar.monthrange(year, month + 1)[1]
    return dt.date(year, month + 1, min(date.day, days))


def weekday_before(date: dt.date, weekday: int, *, or_on: bool = False) -> dt.date:
    """Return the last day before `date` (or on it) with this weekday; Monday is 0."""
    back = (date.weekday() - weekday) % 7
    return date - (back if back or or_on else 7) * DAY


def weekday_after(date: dt.date, weekday: int, *, or_on: bool = False) -> dt.date:
    """Return the first day after `date` (or on it) with this weekday; Monday is 0."""
    ahead = (weekday - date.weekday()) % 7
    return date + (ahead if ahead or or_on else 7) * DAY


Tense = Callable[..., int]
Match = re.Match[str]
Rule = Callable[[Match, dt.date, Tense], DateSpan | None]

_STEPS = {"last": -1, "this": 0, "next": +1}


def meaning(match: Match, today: dt.date, tense: Tense) -> DateSpan | None:
    """Return the days that a match of `RELATIVE` stands for, or None.

    tense: called if the tense of the sentence matters. It returns +1 for future, -1 for past, 0 if
    unclear, which leaves the date unresolved; its keyword `unclear` replaces that 0. Raises
    OverflowError or ValueError outside the calendar.
    """
    return RULES[match.lastgroup or ""](match, today, tense)


def _beyond(match: Match, today: dt.date, _tense: Tense) -> DateSpan:
    return day(today + (-2 if _group(match, "beyond").endswith("yesterday") else 2) * DAY)


def _near(match: Match, today: dt.date, _tense: Tense) -> DateSpan:
    words = _group(match, "near")
    if words == "last night" or words.startswith("yesterday"):
        return day(today - DAY)
    return day(today + DAY if words.startswith("tomorrow") else today)


def _twice(match: Match, today: dt.date, _tense: Tense) -> DateSpan:
    back = _group(match, "twice").endswith("before last")
    return _calendar(_group(match, "twice_unit"), today, -2 if back else 2)


def _in_week(match: Match, today: dt.date, _tense: Tense) -> DateSpan:
    weekday = WEEKDAYS[_group(match, f"{match.lastgroup}_day")]
    monday = week_of(today + _STEPS[_group(match, f"{match.lastgroup}_which")] * WEEK).first
    return day(monday + weekday * DAY)


def _several(match: Match, today: dt.date, _tense: Tense) -> DateSpan | None:
    if _group(match, "several_n") in {"a", "an"} or _is_before(match, OF_AFTER):
        return None
    back = _group(match, "several_which") in {"last", "past"}
    other = _shifted(match, today, -1 if back else 1)
    return DateSpan(other, today) if back else DateSpan(today, other)


def _which(match: Match, today: dt.date, tense: Tense) -> DateSpan | None:
    which, unit = _group(match, "which_one").split()[-1], _group(match, "which_unit")
    if which in {"last", "next"} and _is_after(match, STORY_BEFORE):
        return None
    if unit in WEEKDAYS:
        return _weekday_of(match, which, WEEKDAYS[unit], today, tense)
    if unit in MONTHS:
        return _month_of(match, which, unit, today)
    if _is_before(match, OF_AFTER):
        return None
    over = which == "this" and unit == "weekend" and today.weekday() < 5 and tense() < 0
    return _unit("last" if over else which, unit, today)


def _ago(match: Match, today: dt.date, _tense: Tense) -> DateSpan:
    return _unit_of(match, _shifted(match, today, -1))


def _ahead(match: Match, today: dt.date, tense: Tense) -> DateSpan | None:
    generic = _group(match, "ahead_n") in {"a", "an"}  # "twelve months in a year"
    direction = tense(unclear=0) if generic else tense()
    return _unit_of(match, _shifted(match, today, 1)) if direction > 0 else None


def _from_now(match: Match, today: dt.date, _tense: Tense) -> DateSpan:
    return _unit_of(match, _shifted(match, today, 1))


def _weekday(match: Match, today: dt.date, tense: Tense) -> DateSpan | None:
    if _is_before(match, MORE_AFTER) or _is_after(match, STORY_BEFORE):
        return None
    weekday = WEEKDAYS[_group(match, "weekday_name") or _group(match, "weekday_bare")]
    direction = _direction(_group(match, "weekday_prep"), tense)
    if direction == 0:
        return None
    return day(weekday_before(today, weekday) if direction < 0 else weekday_after(today, weekday))


def _month(match: Match, today: dt.date, tense: Tense) -> DateSpan | None:
    name = _group(match, "month_name")
    if not _is_month(match, match["month_name"]) or MONTHS[name] == today.month:
        return None
    direction = _direction(_group(match, "month_prep"), tense)
    return _nearest_month(MONTHS[name], today, direction) if direction else None


RULES: Mapping[str, Rule] = {
    "beyond": _beyond,
    "twice": _twice,
    "near": _near,
    "in_week": _in_week,
    "week_first": _in_week,
    "several": _several,
    "which": _which,
    "ago": _ago,
    "ahead": _ahead,
    "from_now": _from_now,
    "weekday": _weekday,
    "month": _month,
}


def _unit(which: str, unit: str, today: dt.date) -> DateSpan:
    """Resolve "last week", "the past month", "the coming weekend"..."""
    if which in _STEPS:
        return _calendar(unit, today, _STEPS[which])
    back = which == "past"
    if unit == "weekend":
        return _calendar(unit, today, -1) if back else _coming_weekend(today)
    other = _later(unit, today, -1 if back else 1)
    return DateSpan(other, today) if back else DateSpan(today, other)


def _weekday_of(
    match: Match, which: str, weekday: int, today: dt.date, tense: Tense
) -> DateSpan | None:
    """Resolve "last Friday", "this coming Friday"..."""
    if _is_before(match, MORE_AFTER):
        return None
    if which in {"last", "past"}:
        return day(weekday_before(today, weekday))
    if which == "next":
        return day(week_of(today + WEEK).first + weekday * DAY)
    direction = tense() if which == "this" else 1
    near = weekday_before if direction < 0 else weekday_after
    return day(near(today, weekday, or_on=which == "this")) if direction else None


def _month_of(match: Match, which: str, name: str, today: dt.date) -> DateSpan | None:
    """Resolve "last March", "this past March"..."""
    if not _is_month(match, match["which_unit"]):
        return None
    if which == "this":
        return month_of(today.replace(month=MONTHS[name], day=1))
    return _nearest_month(MONTHS[name], today, -1 if which in {"last", "past"} else 1)


def _is_month(match: Match, name: str) -> bool:
    """Return whether a month's name means the month: it is capitalised, is not a person's name, and
    is not part of a fuller date."""
    owner = match.string[match.end() : match.end() + 2] in {"'s", "\u2019s"}
    is_person = owner and name.casefold() in GIVEN_NAMES
    return name[0].isupper() and not is_person and not _is_before(match, MORE_AFTER)


def _nearest_month(month: int, today: dt.date, direction: int) -> DateSpan:
    """Return the nearest such month after (direction 1) or before (-1) the current one."""
    ahead = (month - today.month) % 12 or 12
    away = ahead if direction > 0 else ahead - 12 or -12
    return month_of(add_months(today.replace(day=1), away))


def _direction(preposition: str, tense: Tense) -> int:
    if preposition == "since":
        return -1
    return 1 if preposition in {"by", "until", "till", "due"} else tense()


def _calendar(unit: str, today: dt.date, steps: int) -> DateSpan:
    """Return the calendar week, weekend, month or year, `steps` after the current one."""
    if unit == "weekend":
        return weekend_of(today + steps * WEEK)
    return _whole(unit, _later(unit, today.replace(day=1) if unit == "month" else today, steps))


def _coming_weekend(today: dt.date) -> DateSpan:
    return weekend_of(today if today.weekday() < 5 else today + WEEK)


def _later(unit: str, date: dt.date, steps: int) -> dt.date:
    if unit == "day":
        return date + steps * DAY
    if unit == "week":
        return date + steps * WEEK
    return add_months(date, steps * (12 if unit == "year" else 1))


def _whole(unit: str, date: dt.date) -> DateSpan:
    return {"day": day, "week": week_of, "month": month_of, "year": year_of}[unit](date)


def _shifted(match: Match, today: dt.date, direction: int) -> dt.date:
    """Return `today` moved by the units of the match, in `direction` (1 or -1)."""
    words = _group(match, f"{match.lastgroup}_n")
    number = int(words) if words.isdigit() else NUMBERS[words]
    return _later(_group(match, f"{match.lastgroup}_unit"), today, direction * number)


def _unit_of(match: Match, date: dt.date) -> DateSpan:
    return _whole(_group(match, f"{match.lastgroup}_unit"), date)


def _group(match: Match, group: str) -> str:
    """Return a group in lower-case ASCII with single spaces, as the vocabulary has it."""
    words: str = match[group] or ""
    return " ".join(words.casefold().replace("\u0131", "i").replace("i\u0307", "i").split())


def _is_before(match: Match, pattern: re.Pattern[str]) -> bool:
    return bool(pattern.match(match.string, match.end()))


def _is_after(match: Match, pattern: re.Pattern[str]) -> bool:
    return bool(pattern.search(match.string[max(0, match.start() - 12) : match.start()]))
