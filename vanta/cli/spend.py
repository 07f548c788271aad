"""`vanta spend` and `vanta budget`: money spent, money reserved, and the caps.

Invariant: `vanta spend` only reads, except that it first settles the legs of dead processes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from vanta.cli import output
from vanta.cli.options import ConfigOption, JsonOption, config_source

if TYPE_CHECKING:
    from vanta.config import Config
    from vanta.money import Caps, Spending, SpendingLine

app = typer.Typer()
budget = typer.Typer(no_args_is_help=True)

_OF = {"turn": "each turn", "session": "each session", "user": "each user", "day": "a day (UTC)"}


@app.command()
def spend(json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show the money spent: today, and by user, session and track.

    A day is a UTC day. An estimated amount belongs to a leg that was stopped before its provider
    reported its usage. --json: an object with day, today and total (objects with name, legs,
    spent_usd, reserved_usd and estimated_usd), users, sessions and tracks (lists of such objects),
    overruns, died, and caps (turn_usd, session_usd, user_usd, day_usd; null without a cap).
    """
    import anyio

    from vanta.config import load
    from vanta.runtime import caps_of

    loaded = load(config_source(config)).config
    caps = caps_of(loaded)
    spent = anyio.run(_read, loaded)
    if json:
        output.print_json({**spent.to_dict(), "caps": dataclasses.asdict(caps)})
    else:
        _show(spent, caps)


async def _read(config: Config) -> Spending:
    import anyio.to_thread

    from vanta.runtime import open_store

    store, ledger = await anyio.to_thread.run_sync(open_store, config)
    try:
        return await ledger.spending()
    finally:
        await store.aclose()


@budget.callback()
def _budget() -> None:
    """Let a cap on spending count from now on."""


@budget.command()
def reset(
    user: Annotated[
        str | None, typer.Option("--user", "-u", metavar="NAME", help="The user.")
    ] = None,
    session: Annotated[
        str | None,
        typer.Option("--session", "-s", metavar="NAME", help="One conversation of the user."),
    ] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Let the cap of a user, or of one session, count from now on.

    What was spent stays in the books and counts towards the caps of other scopes; running legs stay
    reserved. Without --user, the session of the user "default" is meant. --json: an object with
    scope, user, session and uncounted_usd.
    """
    import anyio

    from vanta.config import load

    if user is None and session is None:
        raise typer.BadParameter("name what to reset: --user NAME, --session NAME, or both.")
    owner = user or "default"
    loaded = load(config_source(config)).config
    uncounted = anyio.run(_reset, loaded, owner, session)
    scope = "user" if session is None else "session"
    if json:
        result = {"scope": scope, "user": owner, "session": session, "uncounted_usd": uncounted}
        output.print_json(result)
        return
    name = owner if session is None else f"{owner}/{session}"
    output.print_line(
        f"budget.{scope}_usd of {name!r} counts from now on: {_dollars(uncounted)} spent before "
        "no longer counts."
    )


async def _reset(config: Config, user: str, session: str | None) -> float:
    import anyio.to_thread

    from vanta.runtime import open_store

    store, ledger = await anyio.to_thread.run_sync(open_store, config)
    try:
        return await ledger.reset(user=user, session=session)
    finally:
        await store.aclose()


def _show(spent: Spending, caps: Caps) -> None:
    rows = [(f"today, {spent.day} (UTC)", spent.today), ("in all", spent.total)]
    for what, lines in (("user", spent.users), ("session", spent.sessions)):
        rows += [(f"{what} {line.name}", line) for line in lines]
    rows += [(f"track {line.name}", line) for line in spent.tracks]
    output.print_table(("", ">spent", ">estimated", ">reserved", ">legs"), map(_row, rows))
    for sentence in _sentences(spent, caps):
        output.print_line(sentence)


def _row(row: tuple[str, SpendingLine]) -> tuple[str, ...]:
    name, line = row
    amounts = (line.spent_usd, line.estimated_usd, line.reserved_usd)
    return (output.printable(name), *map(_dollars, amounts), str(line.legs))


def _sentences(spent: Spending, caps: Caps) -> Iterable[str]:
    for scope, amount in caps.set():
        yield f"cap of {_OF[scope]}: {_dollars(amount / 1e9)} (budget.{scope}_usd)"
    if not caps:
        yield "No cap is set: budget.day_usd, user_usd, session_usd and turn_usd set one."
    if spent.overruns:
        yield f"legs that cost more than their reservation: {spent.overruns}"
    if spent.died:
        yield f"legs whose process died, settled at their reservation: {spent.died}"


def _dollars(usd: float) -> str:
    from vanta.money import format_usd

    return format_usd(usd)
