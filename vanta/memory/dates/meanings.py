"""The meaning of each relative date, counted from the day on which it was said.

Invariant: there is one rule for every alternative of `vanta.memory.dates.vocabulary.RELATIVE`; it
returns None for words that look like a date and are none. What is ambiguous is decided as the
docstring of
`vanta.memory.dates.dates` says.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping

from vanta.memory.dates.spans import (
    DAY,
    WEEK,
    Span,
    add_months,
    day,
    month_of,
    week_of,
    weekday_after,
    weekday_before,
    weekend_of,
    year_of,
)
from vanta.memory.dates.vocabulary import (
    GIVEN_NAMES,
    MONTHS,
    MORE_AFTER,
    NUMBERS,
    OF_AFTER,
    STORY_BEFORE,
    WEEKDAYS,
)

Tense = Callable[..., int]
Found = re.Match[str]
Rule = Callable[[Found, dt.date, Tense], Span | None]

_STEPS = {"last": -1, "this": 0, "next": +1}


def meaning(match: Found, today: dt.date, tense: Tense) -> Span | None:
    """The days that a match of `RELATIVE` stands for.

    tense: asked where it matters: +1 if the sentence looks ahead, -1 if it looks back, 0 if nobody
    can tell, which leaves the date alone; `unclear` goes before what the caller takes for that.
    Raises OverflowError or ValueError off the calendar.
    """
    return RULES[match.lastgroup or ""](match, today, tense)


def _beyond(match: Found, today: dt.date, _tense: Tense) -> Span:
    return day(today + (-2 if _part(match, "beyond").endswith("yesterday") else 2) * DAY)


def _near(match: Found, today: dt.date, _tense: Tense) -> Span:
    words = _part(match, "near")
    if words == "last night" or words.startswith("yesterday"):
        return day(today - DAY)
    return day(today + DAY if words.startswith("tomorrow") else today)


def _twice(match: Found, today: dt.date, _tense: Tense) -> Span:
    back = _part(match, "twice").endswith("before last")
    return _calendar(_part(match, "twice_unit"), today, -2 if back else 2)


def _in_week(match: Found, today: dt.date, _tense: Tense) -> Span:
    weekday = WEEKDAYS[_part(match, f"{match.lastgroup}_day")]
    monday = week_of(today + _STEPS[_part(match, f"{match.lastgroup}_which")] * WEEK).first
    return day(monday + weekday * DAY)


def _several(match: Found, today: dt.date, _tense: Tense) -> Span | None:
    if _part(match, "several_n") in {"a", "an"} or _stands_before(match, OF_AFTER):
        return None
    back = _part(match, "several_which") in {"last", "past"}
    other = _shifted(match, today, -1 if back else 1)
    return Span(other, today) if back else Span(today, other)


def _which(match: Found, today: dt.date, tense: Tense) -> Span | None:
    which, unit = _part(match, "which_one").split()[-1], _part(match, "which_unit")
    if which in {"last", "next"} and _stands_after(match, STORY_BEFORE):
        return None
    if unit in WEEKDAYS:
        return _weekday_of(match, which, WEEKDAYS[unit], today, tense)
    if unit in MONTHS:
        return _month_of(match, which, unit, today)
    if _stands_before(match, OF_AFTER):
        return None
    over = which == "this" and unit == "weekend" and today.weekday() < 5 and tense() < 0
    return _unit("last" if over else which, unit, today)


def _ago(match: Found, today: dt.date, _tense: Tense) -> Span:
    return _unit_of(match, _shifted(match, today, -1))


def _ahead(match: Found, today: dt.date, tense: Tense) -> Span | None:
    generic = _part(match, "ahead_n") in {"a", "an"}  # "twelve months in a year"
    way = tense(unclear=0) if generic else tense()
    return _unit_of(match, _shifted(match, today, 1)) if way > 0 else None


def _from_now(match: Found, today: dt.date, _tense: Tense) -> Span:
    return _unit_of(match, _shifted(match, today, 1))


def _weekday(match: Found, today: dt.date, tense: Tense) -> Span | None:
    if _stands_before(match, MORE_AFTER) or _stands_after(match, STORY_BEFORE):
        return None
    weekday = WEEKDAYS[_part(match, "weekday_name") or _part(match, "weekday_bare")]
    way = _way(_part(match, "weekday_prep"), tense)
    if way == 0:
        return None
    return day(weekday_before(today, weekday) if way < 0 else weekday_after(today, weekday))


def _month(match: Found, today: dt.date, tense: Tense) -> Span | None:
    name = _part(match, "month_name")
    if not _is_month(match, match["month_name"]) or MONTHS[name] == today.month:
        return None
    way = _way(_part(match, "month_prep"), tense)
    return _nearest_month(MONTHS[name], today, way) if way else None


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


def _unit(which: str, unit: str, today: dt.date) -> Span:
    """ "last week", "the past month", "the coming weekend"..."""
    if which in _STEPS:
        return _calendar(unit, today, _STEPS[which])
    back = which == "past"
    if unit == "weekend":
        return _calendar(unit, today, -1) if back else _coming_weekend(today)
    other = _later(unit, today, -1 if back else 1)
    return Span(other, today) if back else Span(today, other)


def _weekday_of(
    match: Found, which: str, weekday: int, today: dt.date, tense: Tense
) -> Span | None:
    """ "last Friday", "this coming Friday"..."""
    if _stands_before(match, MORE_AFTER):
        return None
    if which in {"last", "past"}:
        return day(weekday_before(today, weekday))
    if which == "next":
        return day(week_of(today + WEEK).first + weekday * DAY)
    way = tense() if which == "this" else 1
    near = weekday_before if way < 0 else weekday_after
    return day(near(today, weekday, or_on=which == "this")) if way else None


def _month_of(match: Found, which: str, name: str, today: dt.date) -> Span | None:
    """ "last March", "this past March"..."""
    if not _is_month(match, match["which_unit"]):
        return None
    if which == "this":
        return month_of(today.replace(month=MONTHS[name], day=1))
    return _nearest_month(MONTHS[name], today, -1 if which in {"last", "past"} else 1)


def _is_month(match: Found, written: str) -> bool:
    """Whether a month's name means the month: written as a name, and nobody's, and no part of a
    fuller date."""
    owner = match.string[match.end() : match.end() + 2] in {"'s", "\u2019s"}
    given = owner and written.casefold() in GIVEN_NAMES
    return written[0].isupper() and not given and not _stands_before(match, MORE_AFTER)


def _nearest_month(month: int, today: dt.date, way: int) -> Span:
    """The nearest such month after (way 1) or before (-1) the running one."""
    ahead = (month - today.month) % 12 or 12
    away = ahead if way > 0 else ahead - 12 or -12
    return month_of(add_months(today.replace(day=1), away))


def _way(preposition: str, tense: Tense) -> int:
    if preposition == "since":
        return -1
    return 1 if preposition in {"by", "until", "till", "due"} else tense()


def _calendar(unit: str, today: dt.date, steps: int) -> Span:
    """The calendar's week, weekend, month or year, so many after (before) the running one."""
    if unit == "weekend":
        return weekend_of(today + steps * WEEK)
    return _whole(unit, _later(unit, today.replace(day=1) if unit == "month" else today, steps))


def _coming_weekend(today: dt.date) -> Span:
    return weekend_of(today if today.weekday() < 5 else today + WEEK)


def _later(unit: str, date: dt.date, steps: int) -> dt.date:
    if unit == "day":
        return date + steps * DAY
    if unit == "week":
        return date + steps * WEEK
    return add_months(date, steps * (12 if unit == "year" else 1))


def _whole(unit: str, date: dt.date) -> Span:
    return {"day": day, "week": week_of, "month": month_of, "year": year_of}[unit](date)


def _shifted(match: Found, today: dt.date, way: int) -> dt.date:
    """`today`, as many units later or earlier as the match says."""
    words = _part(match, f"{match.lastgroup}_n")
    number = int(words) if words.isdigit() else NUMBERS[words]
    return _later(_part(match, f"{match.lastgroup}_unit"), today, way * number)


def _unit_of(match: Found, date: dt.date) -> Span:
    return _whole(_part(match, f"{match.lastgroup}_unit"), date)


def _part(match: Found, group: str) -> str:
    """A group in the letters that the tables have: small, plain ones, single spaces."""
    words: str = match[group] or ""
    return " ".join(words.casefold().replace("\u0131", "i").replace("i\u0307", "i").split())


def _stands_before(match: Found, what: re.Pattern[str]) -> bool:
    return bool(what.match(match.string, match.end()))


def _stands_after(match: Found, what: re.Pattern[str]) -> bool:
    return bool(what.search(match.string[max(0, match.start() - 12) : match.start()]))
