"""Resolves relative dates in a text, and finds the times that a question asks about.

"I saw her last Tuesday" is useless a month later, so each text is stored with the meanings of its
relative dates: `{"last Tuesday": "2026-11-17"}`. English only. Each ambiguity has one rule:

- A week begins on Monday. "last week" and "next month" are those of the calendar; "the past week"
  and "the last two months" end on the day of the text.
- "last Friday" is the latest before that day, "next Friday" the one of the following week.
- "on Friday", "this Friday", "this weekend", "in March", "in three weeks" are in the future, unless
  the clause, or a sentence whose clause has no tense, is in the past tense. "Wrote it in three
  weeks" is a duration.
- "two weeks ago" and "in two months" have the precision of their unit: the week, the month.
- "last night" is the day before.

Unclear expressions are not resolved: the bare name of a weekday or month, the name of the current
month, seasons (they depend on the hemisphere), "the other day", "a few days ago", "the next week"
of a story, and words that only look like dates ("may", "march on", "sun", "a second ago").

Invariants: pure; linear in the text, since no pattern repeats without a bound and the context of a
date is limited to `SENTENCE` characters.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterator
from functools import partial

from vanta.memory.dates.meanings import DateSpan, day, meaning, month_of, year_of
from vanta.memory.dates.vocabulary import (
    ABSOLUTE,
    BOUNDS,
    CLAUSE_ENDS,
    FUTURE,
    MONTHS,
    PAST,
    RELATIVE,
    SENTENCE_ENDS,
)

SENTENCE = 160
"""Characters before and after a date that are searched for its tense."""

MAX_DATES = 12
SLICE_CHARACTERS = 16_384
"""Dates of one text that are resolved; a text with more is a calendar, not speech."""


def resolve_dates(text: str, said_at: float, tz: dt.tzinfo = dt.UTC) -> dict[str, str]:
    """Return the meanings of the relative dates in a text.

    :param text: the text.
    :param said_at: its time, in seconds since the epoch.
    :param tz: the speaker's time zone, which decides the day.
    :returns: the words of each date (white space normalised) mapped to a day, month, year or span
        of days in ISO 8601 ("2026-11-21/2026-11-22"); repeated words once, at most `MAX_DATES`.
    """
    meanings: dict[str, str] = {}
    seen: set[str] = set()
    today = _date(said_at, tz)
    # In slices, because one search of a long text would hold the interpreter's lock for long.
    slices = (text[at : at + SLICE_CHARACTERS] for at in range(0, len(text), SLICE_CHARACTERS))
    for match, span in (date for part in slices for date in _relative(part, today, unclear=+1)):
        words = " ".join(match[0].split())
        if words.lower() not in seen:
            seen.add(words.lower())
            meanings[words] = str(span)
        if len(meanings) == MAX_DATES:
            break
    return meanings


def times_mentioned(question: str, now: float, tz: dt.tzinfo = dt.UTC) -> list[tuple[float, float]]:
    """Return the times that a question is about ("what did I say last week?").

    Only times that have begun by `now` count, since no item is later; "since Monday" ends now.
    Days, months and years with their year count, too. Dates that only bound another time
    ("before last week") and unclear dates do not.

    :param question: the text.
    :param now: seconds since the epoch.
    :param tz: the time zone that decides the days.
    :returns: for each time its begin and its end, the latter excluded, in seconds since the epoch.
        Empty for most questions.
    """
    today = _date(now, tz)
    dates = [*_relative(question, today, unclear=0), *_with_year(question)]
    ranges: list[tuple[float, float]] = []
    for match, span in sorted(dates, key=lambda date: date[0].start()):
        words = _adjacent_words(question, match) | {match[0].split()[0].lower()}
        if today and span.first <= today and not words & BOUNDS:
            period = DateSpan(span.first, today) if "since" in words else span
            ranges.extend(_seconds(period, tz))
    return list(dict.fromkeys(ranges))


def _relative(
    text: str, today: dt.date | None, *, unclear: int
) -> Iterator[tuple[re.Match[str], DateSpan]]:
    """Yield each relative date with its days; `unclear` is the tense of a clause without one."""
    if today is None:
        return
    for match in RELATIVE.finditer(text):
        try:
            span = meaning(match, today, partial(_tense, text, match, unclear=unclear))
        except (OverflowError, ValueError):  # outside the calendar
            continue
        if span:
            yield match, span


def _with_year(text: str) -> Iterator[tuple[re.Match[str], DateSpan]]:
    """Yield each day, month and year that is written with its year."""
    for match in ABSOLUTE.finditer(text):
        try:
            yield match, _named(match)
        except (KeyError, ValueError):  # the 31st of February
            continue


def _adjacent_words(text: str, match: re.Match[str]) -> set[str]:
    """Return the words right before and right after a match, in lower case."""
    before = text[max(0, match.start() - 12) : match.start()].lower().split()
    after = text[match.end() : match.end() + 12].lower().split()
    return {*before[-1:], *after[:1]}


def _named(match: re.Match[str]) -> DateSpan:
    if match["iso"]:
        year, month, date = (*map(int, match["iso"].split("-")), 0)[:3]
    else:
        year = int(match["y1"] or match["y2"] or match["y3"])
        name = match["m1"] or match["m2"]
        month = MONTHS[name.casefold()] if name else 0
        date = int(match["d1"] or match["d2"] or 0)
    if not month:
        return year_of(dt.date(year, 1, 1))
    return day(dt.date(year, month, date)) if date else month_of(dt.date(year, month, 1))


def _tense(text: str, match: re.Match[str], *, unclear: int) -> int:
    """Return the tense around a date: +1 future, -1 past, `unclear` without any sign of it."""
    before = text[max(0, match.start() - SENTENCE) : match.start()]
    after = text[match.end() : match.end() + SENTENCE]
    for ends in (CLAUSE_ENDS, SENTENCE_ENDS):
        words = f"{ends.split(before)[-1]} {ends.split(after, maxsplit=1)[0]}"
        if FUTURE.search(words):
            return +1
        if PAST.search(words):
            return -1
    return unclear


def _date(at: float, tz: dt.tzinfo) -> dt.date | None:
    """Return the day of a moment; None if it is outside the calendar."""
    try:
        # Whole seconds only: a moment just before midnight would be rounded into the next day.
        return dt.datetime.fromtimestamp(math.floor(at), tz).date()
    except (OverflowError, ValueError, OSError):
        return None


def _seconds(span: DateSpan, tz: dt.tzinfo) -> list[tuple[float, float]]:
    try:
        return [span.seconds(tz)]
    except (OverflowError, ValueError):
        return []
