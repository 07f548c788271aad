"""What relative dates in a text meant when it was said, and which times a question asks about.

"I saw her last Tuesday" means nothing a month later; so each text is kept with what its relative
dates were: `{"last Tuesday": "2026-11-17"}`. English only. Where speech is ambiguous, one rule:

- A week begins on Monday. "last week", "next month": the calendar's; "the past week", "the last two
  months": those that end on that day.
- "last Friday": the latest before that day. "next Friday": the one of the following week.
- "on Friday", "this Friday", "this weekend", "in March", "in three weeks": ahead, unless the clause
  (else the sentence) speaks of the past and not of the future. "Wrote it in three weeks" is a
  duration.
- "two weeks ago", "in two months": as exact as their unit, so the week, the month.
- "last night": the day before.

What is not clear enough is left alone: a weekday's or a month's bare name, the running month's
name, seasons (they depend on the hemisphere), "the other day", "a few days ago", "the next week" of
a story, and every word that only looks like a date ("may", "march on", "sun", "a second ago").

Invariant: pure; the work is linear in the text, since no pattern repeats without a bound and a
sentence is looked at no further than `SENTENCE` characters from a date.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterator
from functools import partial

from vanta.memory.dates.meanings import meaning
from vanta.memory.dates.spans import Span, day, month_of, year_of
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
"""Characters before and after a date that are looked at for its tense."""

MOST = 12
"""Dates of one text that are resolved; a text with more is a calendar, not speech."""


def resolve(text: str, said_at: float, tz: dt.tzinfo = dt.UTC) -> dict[str, str]:
    """What each relative date in `text` meant: its words (white space made plain) to a day, a
    month, a year or a stretch of days in ISO 8601 ("2026-11-21/2026-11-22").

    said_at: seconds since the epoch; tz: where the day began for whoever said it. Words that come
    twice are there once; at most `MOST` are.
    """
    found: dict[str, str] = {}
    seen: set[str] = set()
    for match, span in _relative(text, _date(said_at, tz), unclear=+1):
        words = " ".join(match[0].split())
        if words.lower() not in seen:
            seen.add(words.lower())
            found[words] = str(span)
        if len(found) == MOST:
            break
    return found


def mentioned(question: str, now: float, tz: dt.tzinfo = dt.UTC) -> list[tuple[float, float]]:
    """The times that a question asks about ("what did I say last week?"), each from and to in
    seconds since the epoch, the end excluded. Empty for most questions.

    Only what has begun by `now`, since nothing that is remembered was said later; "since Monday"
    lasts until now. A day, month or year that is named with its year counts, too; a date that
    only bounds another time ("before last week") does not, nor does an unclear one.
    """
    today = _date(now, tz)
    found = [*_relative(question, today, unclear=0), *_with_year(question)]
    ranges: list[tuple[float, float]] = []
    for match, span in sorted(found, key=lambda one: one[0].start()):
        words = _beside(question, match) | {match[0].split()[0].lower()}
        if today and span.first <= today and not words & BOUNDS:
            asked = Span(span.first, today) if "since" in words else span
            ranges.extend(_seconds(asked, tz))
    return list(dict.fromkeys(ranges))


def _relative(
    text: str, today: dt.date | None, *, unclear: int
) -> Iterator[tuple[re.Match[str], Span]]:
    """Each relative date with its days; `unclear` is where one lies whose clause has no tense."""
    if today is None:
        return
    for match in RELATIVE.finditer(text):
        try:
            span = meaning(match, today, partial(_tense, text, match, unclear=unclear))
        except (OverflowError, ValueError):  # off the calendar
            continue
        if span:
            yield match, span


def _with_year(text: str) -> Iterator[tuple[re.Match[str], Span]]:
    """Each day, month and year that is named in full."""
    for match in ABSOLUTE.finditer(text):
        try:
            yield match, _named(match)
        except (KeyError, ValueError):  # the 31st of February
            continue


def _beside(text: str, match: re.Match[str]) -> set[str]:
    """The words right before and right after a match, in small letters."""
    before = text[max(0, match.start() - 12) : match.start()].lower().split()
    after = text[match.end() : match.end() + 12].lower().split()
    return {*before[-1:], *after[:1]}


def _named(match: re.Match[str]) -> Span:
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
    """Where the words around a date look: +1 ahead, -1 back, `unclear` for no sign of either."""
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
    """The day of a moment; None for one that no calendar has."""
    try:
        # Of the whole second: a moment just before midnight would be rounded into the next day.
        return dt.datetime.fromtimestamp(math.floor(at), tz).date()
    except (OverflowError, ValueError, OSError):
        return None


def _seconds(span: Span, tz: dt.tzinfo) -> list[tuple[float, float]]:
    try:
        return [span.seconds(tz)]
    except (OverflowError, ValueError):
        return []
