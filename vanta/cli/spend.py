"""`vanta spend`: money spent, money reserved, and the caps.

Invariant: it only reads, except that it first returns the reservations of dead processes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

from vanta.cli import output
from vanta.cli.options import ConfigOption, JsonOption, config_source

if TYPE_CHECKING:
    from vanta.config import Config
    from vanta.money import Caps, Spending, SpendingLine

app = typer.Typer()

_OF = {"turn": "each turn", "session": "each session", "user": "each user", "day": "a day (UTC)"}


@app.command()
def spend(json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show the money spent: today, and by user, session and track.

    A day is a UTC day. An estimated amount belongs to a leg that was stopped before its provider
    reported its usage. --json: an object with day, today and total (objects with name, legs,
    spent_usd, reserved_usd and estimated_usd), users, sessions and tracks (lists of such objects),
    overruns, returned, and caps (turn_usd, session_usd, user_usd, day_usd; null without a cap).
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
    if spent.returned:
        yield f"legs whose process died, with their reservation returned: {spent.returned}"


def _dollars(usd: float) -> str:
    from vanta.money import format_usd

    return format_usd(usd)
