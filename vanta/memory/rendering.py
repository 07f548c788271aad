"""How recalled items read in a prompt: a header for each day, under it a line for each item.

Invariant: whole items only, and one place that says what they look like, so that what is counted is
what is sent.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from vanta.memory.items import MemoryItem

SUPERSEDED = "superseded"
"""The tag of a fact that a later one contradicts; it stays, since it was true once."""


def day(item: MemoryItem) -> str:
    """The day it was said on, in UTC: `2026-11-17`."""
    return dt.datetime.fromtimestamp(item.said_at, dt.UTC).date().isoformat()


def header(day: str) -> str:
    """The line above the items of a day: `[Tue 2026-11-17]`."""
    return f"[{dt.date.fromisoformat(day):%a} {day}]"


def line(item: MemoryItem) -> str:
    """An item as one line: who said it or where it stands, the text, what its dates meant."""
    who = item.role or item.source or item.kind
    if SUPERSEDED in item.tags:
        who = f"{who} (no longer so)"
    text = " ".join(item.text.split())
    meant = "; ".join(f"{said} = {date}" for said, date in item.dates.items())
    return f"{who}: {text} ({meant})" if meant else f"{who}: {text}"


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
