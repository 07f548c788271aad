"""The options that the commands of `vanta memory` share, and what they come to.

Invariant: nothing here is imported that the help page would not need.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vanta.memory.items import Filters

UserOption = Annotated[
    str, typer.Option("--user", "-u", metavar="NAME", help="Whose memory it is.")
]
AnyUserOption = Annotated[
    str | None, typer.Option("--user", "-u", metavar="NAME", help="Of this user alone.")
]
SessionOption = Annotated[
    str | None, typer.Option("--session", "-s", metavar="NAME", help="Of this conversation alone.")
]
VisibleOption = Annotated[
    bool,
    typer.Option(
        "--private/--public", help="With what is private, or without, as an api track sees it."
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
    typer.Option("--until", metavar="WHEN", help="Not after; a day that is named is still in."),
]
RoleOption = Annotated[
    list[str] | None, typer.Option("--role", metavar="NAME", help="Said by: user, assistant.")
]
KindOption = Annotated[
    list[str] | None,
    typer.Option("--kind", metavar="KIND", help="message, document, fact or summary."),
]
TagOption = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="TAG", help="What has this tag; all of several."),
]
LimitOption = Annotated[
    int, typer.Option("--limit", "-n", min=1, metavar="N", help="So many at the most.")
]


def filters(
    since: str | None,
    until: str | None,
    roles: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    tags: Sequence[str] | None = None,
) -> Filters:
    """The filters that were asked for. Raises UnknownName, and typer's usage error for a time that
    cannot be read."""
    from typing import cast, get_args

    from vanta.errors import UnknownName
    from vanta.memory.items import Filters, Kind

    for kind in kinds or ():
        if kind not in get_args(Kind):
            known = ", ".join(get_args(Kind))
            raise UnknownName("kind of memory", kind, get_args(Kind), hint=f"There are {known}.")
    first, end = span(since, until)
    return Filters(
        first,
        end,
        tuple(roles or ()),
        cast("tuple[Kind, ...]", tuple(kinds or ())),
        tuple(tags or ()),
    )


def span(since: str | None, until: str | None) -> tuple[float | None, float | None]:
    """From when to when, in seconds since the epoch, the end excluded. Raises typer's usage error
    for a time that cannot be read."""
    from vanta.cli.memory.times import NoTime, when

    told: list[float | None] = []
    for option, text, side in (("--since", since, 0), ("--until", until, 1)):
        try:
            told.append(when(text)[side] if text else None)
        except NoTime as error:
            raise typer.BadParameter(f"{option} {text!r}: {error}") from error
    first, end = told
    if first is not None and end is not None and first >= end:
        raise typer.BadParameter(f"--since {since} is not before --until {until}.")
    return first, end
