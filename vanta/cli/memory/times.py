"""Times as people give them: ISO dates, ages such as `7d`, and words such as `last week`.

Invariant: pure but for the clock and the time zone of this machine; a time is a stretch, and what
is named by its day, month or year has all of it.
"""

from __future__ import annotations

import datetime as dt
import re

from vanta.memory.dates.dates import mentioned

_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_AGE = re.compile(r"(\d{1,6})\s*([mhdw])", re.IGNORECASE)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\S+")


class NoTime(ValueError):  # noqa: N818 - a text that is no time is the error
    """A text that is no time; the message says what would be one."""


def when(text: str, now: float | None = None) -> tuple[float, float]:
    """When `text` begins and when it is over, in seconds since the epoch; a moment is both.

    now: None for the present. Raises NoTime.
    """
    asked = text.strip()
    present = dt.datetime.now(dt.UTC).timestamp() if now is None else now
    if match := _AGE.fullmatch(asked):
        moment = present - int(match[1]) * _UNITS[match[2].lower()]
        return moment, moment
    try:
        if _DAY.fullmatch(asked):
            return _day(dt.date.fromisoformat(asked))
        if _MOMENT.fullmatch(asked):
            moment = dt.datetime.fromisoformat(asked).timestamp()
            return moment, moment
    except (ValueError, OverflowError, OSError) as error:
        raise NoTime(f"no such time ({error}).") from error
    found = mentioned(asked, present, _here(present))
    if len(found) != 1:
        raise NoTime("give a day (2026-11-17), a time (2026-11-17T14:30) or an age (7d, 12h).")
    return found[0]


def _day(day: dt.date) -> tuple[float, float]:
    """By this machine's clock, so that a day on which it is put forward has its 23 hours."""
    begin = dt.datetime.combine(day, dt.time())
    end = dt.datetime.combine(day + dt.timedelta(days=1), dt.time())
    return begin.timestamp(), end.timestamp()


def _here(now: float) -> dt.tzinfo:
    return dt.datetime.fromtimestamp(now).astimezone().tzinfo or dt.UTC
