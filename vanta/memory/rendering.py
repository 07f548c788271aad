"""How recalled items are selected for a prompt and how they read there.

    8 May 2023:
    I went to the support group yesterday [7 May] and it was so powerful.
    The assistant said: It takes courage to go there.

A block has a header for each day and a line for each item. Memories compete for tokens, so the
format is short. The user's own words stand alone, as in the message below them: a small model
recites "The user said:" instead of answering (`vanta bench first`). Everything else is named by its
speaker or source. Invariants: items are whole, with their original text (white space normalised)
and resolved dates in brackets; whatever an item contains, it is one line, and no item looks like
one of another speaker or source, or like the header of a day; the functions that render are
also those that are counted, so the count of a block is the count of the sent text; a selection
never costs more than its budget.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Iterable, Sequence

from vanta.memory.items import SUPERSEDED, MemoryItem, RecalledItem
from vanta.text import as_data

_SPEAKERS = {"user": "The user said", "assistant": "The assistant said"}
"""How the line of a message begins, by its role; another role is a speaker's name."""

_COLON = "[:\u02d0\u2236\ua789\ufe13\ufe55\uff1a]"
_LABEL_END = re.compile(rf"(?<!\d){_COLON}(?!//)|{_COLON}(?!\d|//)")
"""A colon other than that of "7:30" or "https://": text with one could be taken for a label or for
the header of a day."""

_SPEAKER = re.compile(r"\W*(?:the\W+)?(user|assistant|system|developer|tool)\b", re.IGNORECASE)
"""Beginnings of a source that would make a document look like a message of this role."""

_INVISIBLE = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters that are no white space, and those that reorder a line."""


def day_of(item: MemoryItem) -> str:
    """Return the day of an item, in UTC: `2026-11-17`.

    :param item: the item.
    """
    return _date_of(item).isoformat()


def render_header(day: str) -> str:
    """Render the line above the items of a day: `17 Nov 2026:`.

    :param day: a day as `day_of` returns it.
    """
    return f"{_in_words(day, year=True)}:"


def render_line(item: MemoryItem) -> str:
    """Render an item as one line: its speaker or source, and its text.

    A message of the user is its text alone, unless a colon in it could be taken for a label.

    :param item: the item.
    """
    text = one_line(item.text)
    year = str(_date_of(item).year)
    for phrase, meaning in item.dates.items():
        before, match, after = text.partition(phrase) if phrase else ("", "", "")
        if match:
            text = f"{before}{phrase} [{one_line(_render_meaning(meaning, year))}]{after}"
    if SUPERSEDED in item.tags:
        return f"{_label(item)} (no longer so): {text}"
    if item.kind == "message" and one_line(item.role) == "user" and _stands_alone(text):
        return text
    return f"{_label(item)}: {text}"


def _stands_alone(text: str) -> bool:
    """Return whether no part of a line could be taken for a label."""
    return bool(text) and not _SPEAKER.match(text) and not _LABEL_END.search(text)


def one_line(text: str) -> str:
    """Return `text` as one line: white space becomes single spaces, control characters vanish.

    It is data: markers of chat templates in it are written so that they mark nothing.

    :param text: any text.
    """
    return as_data(" ".join(_INVISIBLE.sub("", text).split()))


def _label(item: MemoryItem) -> str:
    """Return the speaker or the source of an item, which names no other kind of speaker."""
    label = one_line(item.role or item.source) or item.kind
    if item.kind == "message":
        return _SPEAKERS.get(label, label)
    if _SPEAKER.match(label):
        return f"{item.kind} {label}"
    return label


def render_block(items: Iterable[MemoryItem]) -> str:
    """Render items in the given order, with a header before each change of the day.

    :param items: the items, usually in chronological order.
    """
    lines: list[str] = []
    last_day = ""
    for item in items:
        if day_of(item) != last_day:
            last_day = day_of(item)
            lines.append(render_header(last_day))
        lines.append(render_line(item))
    return "\n".join(lines)


def select_within_budget(
    ranked: Sequence[RecalledItem],
    budget: int,
    cost: Callable[[MemoryItem], int],
    header_cost: int,
) -> list[RecalledItem]:
    """Select the items that are worth their tokens.

    A score is the logarithm of an item's value, so the greedy order of a knapsack, value per token,
    is score less the logarithm of the tokens. The first selected item of a day pays for its header.

    :param ranked: candidates with their scores.
    :param budget: tokens for all lines and headers.
    :param cost: returns the tokens of an item's line with its line break.
    :param header_cost: tokens of a day's header.
    :returns: the selected items in chronological order.
    """
    priced = [(candidate, max(0, cost(candidate.item))) for candidate in ranked]
    priced.sort(key=lambda pair: (math.log(pair[1] + 1) - pair[0].score, -pair[0].item.id))
    selected: list[RecalledItem] = []
    days: set[str] = set()
    left = budget
    for candidate, tokens in priced:
        if tokens > left:
            continue
        day = day_of(candidate.item)
        price = tokens if day in days else tokens + header_cost
        if price <= left:
            left -= price
            days.add(day)
            selected.append(candidate)
    return sorted(selected, key=lambda recalled: (recalled.item.said_at, recalled.item.id))


def _date_of(item: MemoryItem) -> dt.date:
    return dt.datetime.fromtimestamp(item.said_at, dt.UTC).date()


def _render_meaning(meaning: str, year: str) -> str:
    """Render `2026-11-21/2026-11-22` as `21 Nov - 22 Nov`; the year only where it differs from
    `year`, which the header shows."""
    parts = [_in_words(part, year=not part.startswith(year)) for part in meaning.split("/")]
    return " - ".join(parts)


def _in_words(date: str, *, year: bool) -> str:
    """Render a day or month in ISO 8601 as `17 Nov`; return anything else unchanged."""
    try:
        if len(date) == len("2026-11"):
            return f"{dt.date.fromisoformat(f'{date}-01'):%b %Y}"
        day = dt.date.fromisoformat(date)
    except ValueError:
        return date
    return f"{day.day} {day:%b}" + (f" {day.year}" if year else "")
