"""How recalled items read in a prompt: a header for each day, under it a line for each item.

    8 May 2023:
    user: I went to the support group yesterday [7 May] and it was so powerful.

Tokens are what memories compete for, so there is no sign too many. Invariant: whole items only, a
text as it was said (white space made plain) with what its dates meant in brackets behind them; and
one place that says what that looks like, so that what is counted is what is sent.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from vanta.memory.items import SUPERSEDED, MemoryItem


def day(item: MemoryItem) -> str:
    """The day it was said on, in UTC: `2026-11-17`."""
    return _day(item).isoformat()


def header(day: str) -> str:
    """The line above the items of a day: `17 Nov 2026:`."""
    return f"{_named(day, year=True)}:"


def line(item: MemoryItem) -> str:
    """An item as one line: who said it or where it stands, and the text."""
    text = " ".join(item.text.split())
    year = str(_day(item).year)
    for said, meant in item.dates.items():
        before, found, after = text.partition(said)
        if found:
            text = f"{before}{said} [{_meaning(meant, year)}]{after}"
    who = item.role or item.source or item.kind
    return f"{who} (no longer so): {text}" if SUPERSEDED in item.tags else f"{who}: {text}"


def block(items: Iterable[MemoryItem]) -> str:
    """All of it, in the order given; a header wherever the day changes."""
    lines: list[str] = []
    last = ""
    for item in items:
        if day(item) != last:
            last = day(item)
            lines.append(header(last))
        lines.append(line(item))
    return "\n".join(lines)


def _day(item: MemoryItem) -> dt.date:
    return dt.datetime.fromtimestamp(item.said_at, dt.UTC).date()


def _meaning(meant: str, year: str) -> str:
    """`2026-11-21/2026-11-22` as `21 Nov - 22 Nov`; the year only where it is another one than
    that of the header."""
    parts = [_named(part, year=not part.startswith(year)) for part in meant.split("/")]
    return " - ".join(parts)


def _named(date: str, *, year: bool) -> str:
    """A day, month or year in ISO 8601 in words: `17 Nov`; anything else as it is."""
    try:
        if len(date) == len("2026-11"):
            found = dt.date.fromisoformat(f"{date}-01")
            return f"{found:%b %Y}"
        found = dt.date.fromisoformat(date)
    except ValueError:
        return date
    return f"{found.day} {found:%b}" + (f" {found.year}" if year else "")
