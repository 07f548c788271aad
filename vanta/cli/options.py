"""The command-line options that several commands share, and the checks of their values.

Invariant: this module imports nothing that the help page does not need.
"""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path
from typing import Annotated

import typer

from vanta.text import decoded

ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        "-c",
        metavar="PATH|NAME",
        help='A TOML file, or a ready configuration ("offline"). Same as VANTA_CONFIG.',
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
TrackOption = Annotated[
    str | None,
    typer.Option("--track", "-t", metavar="NAME", help="Use this track alone, without a policy."),
]
PolicyOption = Annotated[
    str | None,
    typer.Option("--policy", "-p", metavar="NAME", help="race, hedge, cascade, prefer, local..."),
]
SessionOption = Annotated[
    str | None,
    typer.Option(
        "--session", "-s", metavar="NAME", help="Continue this conversation.", parser=decoded
    ),
]
UserOption = Annotated[
    str,
    typer.Option(
        "--user",
        "-u",
        metavar="NAME",
        help="The user who owns the conversation.",
        parser=decoded,
    ),
]
PrivateOption = Annotated[
    bool | None,
    typer.Option(
        "--private/--public",
        help="Use only tracks that keep everything on this machine, or all again. Neither: as the "
        "conversation was before.",
    ),
]
ToolsOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Offer these toolsets or tools, such as clock,files.read, instead of the configured.",
    ),
]
ImageOption = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="Show the model a PNG, JPEG, GIF or WebP; repeatable."),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print nothing on stderr but errors.")
]
ReasoningOption = Annotated[
    bool, typer.Option("--reasoning", help="Show the reasoning of the model, dimmed.")
]
DeadlineOption = Annotated[
    float | None,
    typer.Option("--deadline", metavar="SECONDS", help="For the whole turn, waiting included."),
]

_config: ContextVar[str | None] = ContextVar("config", default=None)


def set_config(source: str | None) -> None:
    """Remember the `--config` that stands before the command's name."""
    _config.set(source)


def config_source(source: str | None = None) -> str | None:
    """Return the configuration to load.

    :param source: the command's own `--config`; it wins over the one before the command's name.
    """
    return source or _config.get()


def check_choice(track: str | None, policy: str | None) -> None:
    """Refuse a track together with a policy.

    :param track: the value of `--track`, or None.
    :param policy: the value of `--policy`, or None.
    :raises typer.BadParameter: if both are given.
    """
    if track and policy:
        raise typer.BadParameter("--track and --policy exclude each other: give one of them.")


def check_deadline(deadline: float | None) -> None:
    """Refuse a deadline that no turn can meet.

    :param deadline: seconds, or None for the configured deadline.
    :raises typer.BadParameter: if it is not a positive, finite number.
    """
    if deadline is not None and not 0 < deadline < float("inf"):
        raise typer.BadParameter(f"--deadline must be greater than 0 seconds, not {deadline:g}.")


def new_session_id() -> str:
    """Return a session id that is not in use and is short enough to type."""
    import secrets
    import time

    return f"{time.strftime('%Y%m%d')}-{secrets.token_hex(3)}"
