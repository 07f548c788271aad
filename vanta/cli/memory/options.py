"""The options that the commands of `vanta memory` share, and the values that they stand for.

A time is an ISO date, an age such as `7d`, or words such as `last week`. It is a span: a day, month
or year includes all of it.

Invariant: this module imports nothing that the help page does not need.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from vanta.text import decoded

if TYPE_CHECKING:
    from vanta.memory import Filters

UserOption = Annotated[
    str,
    typer.Option(
        "--user", "-u", metavar="NAME", help="The user whose memory it is.", parser=decoded
    ),
]
AnyUserOption = Annotated[
    str | None,
    typer.Option("--user", "-u", metavar="NAME", help="Only items of this user.", parser=decoded),
]
SessionOption = Annotated[
    str | None,
    typer.Option(
        "--session", "-s", metavar="NAME", help="Only items of this conversation.", parser=decoded
    ),
]
VisibleOption = Annotated[
    bool,
    typer.Option(
        "--private/--public", help="Include private items, or hide them as from an api track."
    ),
]
SinceOption = Annotated[
    str | None,
    typer.Option(
        "--since", metavar="WHEN", help="Not before: 2026-11-17, 2026-11-17T14:30, 7d, yesterday."
    ),
]
UntilOption = Annotated[
    str | None,
    typer.Option("--until", metavar="WHEN", help="Not after; a day is included as a whole."),
]
RoleOption = Annotated[
    list[str] | None,
    typer.Option("--role", metavar="NAME", help="Only messages of a role: user, assistant."),
]
KindOption = Annotated[
    list[str] | None,
    typer.Option("--kind", metavar="KIND", help="message, document, fact or summary."),
]
TagOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tag",
        metavar="TAG",
        help="Only items with this tag; with all of several.",
        parser=decoded,
    ),
]
LimitOption = Annotated[
    int, typer.Option("--limit", "-n", min=1, metavar="N", help="At most N items.")
]

_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_AGE = re.compile(r"(\d{1,6})\s*([mhdw])", re.IGNORECASE)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\S+")


def filters(
    since: str | None,
    until: str | None,
    roles: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    tags: Sequence[str] | None = None,
) -> Filters:
    """Return the filters that the options stand for.

    :raises UnknownName: if a kind is unknown.
    :raises typer.BadParameter: if a time cannot be read.
    """
    from typing import cast, get_args

    from vanta.errors import UnknownName
    from vanta.memory import Filters, ItemKind

    for kind in kinds or ():
        if kind not in get_args(ItemKind):
            known = ", ".join(get_args(ItemKind))
            raise UnknownName(
                "kind of memory", kind, get_args(ItemKind), hint=f"There are {known}."
            )
    first, end = parse_span(since, until)
    return Filters(
        first,
        end,
        tuple(roles or ()),
        cast("tuple[ItemKind, ...]", tuple(kinds or ())),
        tuple(tags or ()),
    )


def parse_span(since: str | None, until: str | None) -> tuple[float | None, float | None]:
    """Return the start and the exclusive end of a span, in seconds since the epoch.

    :raises typer.BadParameter: if a time cannot be read, or the span is empty.
    """
    limits: list[float | None] = []
    for option, text, side in (("--since", since, 0), ("--until", until, 1)):
        try:
            limits.append(parse_time(text)[side] if text else None)
        except InvalidTime as error:
            raise typer.BadParameter(f"{option} {text!r}: {error}") from error
    first, end = limits
    if first is not None and end is not None and first >= end:
        raise typer.BadParameter(f"--since {since} must be before --until {until}.")
    return first, end


class InvalidTime(ValueError):  # noqa: N818 - the text is at fault, not the program
    """A text that is not a time; the message says what a time looks like."""


def parse_time(text: str, now: float | None = None) -> tuple[float, float]:
    """Return the start and the end of a time, in seconds since the epoch; equal for a moment.

    :param now: the present in seconds since the epoch; the clock by default.
    :raises InvalidTime: if the text is not a time.
    """
    from vanta.memory import times_mentioned

    stripped = text.strip()
    present = dt.datetime.now(dt.UTC).timestamp() if now is None else now
    if match := _AGE.fullmatch(stripped):
        moment = present - int(match[1]) * _UNITS[match[2].lower()]
        return moment, moment
    try:
        if _DAY.fullmatch(stripped):
            return _day_span(dt.date.fromisoformat(stripped))
        if _MOMENT.fullmatch(stripped):
            moment = dt.datetime.fromisoformat(stripped).timestamp()
            return moment, moment
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidTime(f"no such time exists ({error}).") from error
    spans = times_mentioned(stripped, present, _local_zone(present))
    if len(spans) != 1:
        raise InvalidTime("give a day (2026-11-17), a time (2026-11-17T14:30) or an age (7d, 12h).")
    return spans[0]


def _day_span(day: dt.date) -> tuple[float, float]:
    """Return a day by this machine's clock; it has 23 hours when daylight saving time starts."""
    begin = dt.datetime.combine(day, dt.time())
    end = dt.datetime.combine(day + dt.timedelta(days=1), dt.time())
    return begin.timestamp(), end.timestamp()


def _local_zone(now: float) -> dt.tzinfo:
    return dt.datetime.fromtimestamp(now).astimezone().tzinfo or dt.UTC
