"""The options that `ask` and `chat` share, and a name for a fresh session.

Invariant: nothing here is imported that the help page would not need.
"""

from __future__ import annotations

from typing import Annotated

import typer

TrackOption = Annotated[
    str | None,
    typer.Option("--track", "-t", metavar="NAME", help="One track alone, instead of a policy."),
]
PolicyOption = Annotated[
    str | None,
    typer.Option("--policy", "-p", metavar="NAME", help="race, hedge, cascade, prefer, local..."),
]
SessionOption = Annotated[
    str | None,
    typer.Option("--session", "-s", metavar="NAME", help="Go on with this conversation."),
]
UserOption = Annotated[
    str, typer.Option("--user", "-u", metavar="NAME", help="Whose conversation it is.")
]
PrivateOption = Annotated[
    bool, typer.Option("--private", help="Use only tracks that keep everything on this machine.")
]
DeadlineOption = Annotated[
    float | None,
    typer.Option("--deadline", metavar="SECONDS", help="For the whole turn, waiting included."),
]


def check_choice(track: str | None, policy: str | None) -> None:
    """Raises typer's usage error where both are given: a track alone is no policy's."""
    if track and policy:
        raise typer.BadParameter("--track and --policy exclude each other: give one of them.")


def check_deadline(deadline: float | None) -> None:
    """Raises typer's usage error for a deadline that no turn could meet."""
    if deadline is not None and not 0 < deadline < float("inf"):
        raise typer.BadParameter(f"--deadline {deadline:g}: it must be more than 0 seconds.")


def fresh_session() -> str:
    """A name that no conversation has yet, short enough to type again."""
    import secrets
    import time

    return f"{time.strftime('%Y%m%d')}-{secrets.token_hex(3)}"
