"""`vanta calls`: the journal of tool calls.

Invariant: a call is named by its key in the journal, or the beginning of it. Listing first makes
the started calls of dead processes unknown; apart from that, only `resolve` writes.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from vanta.cli import output
from vanta.cli.options import ConfigOption, JsonOption
from vanta.cli.setup import load_setup
from vanta.text import decoded

if TYPE_CHECKING:
    from vanta.config import Config
    from vanta.storage import Store
    from vanta.tools import CallRecord, Journal

app = typer.Typer(
    help="List tool calls, and settle those with an unknown outcome.", no_args_is_help=True
)

SessionOption = Annotated[
    str | None,
    typer.Option(
        "--session", "-s", metavar="NAME", help="Only calls of this conversation.", parser=decoded
    ),
]
UserOption = Annotated[
    str | None,
    typer.Option("--user", "-u", metavar="NAME", help="Only those of this user.", parser=decoded),
]
StateOption = Annotated[
    Literal[
        "requested", "approved", "started", "finished", "failed", "denied", "unknown", "resolved"
    ]
    | None,
    typer.Option("--state", help="Only calls in this state."),
]
CallArgument = Annotated[
    str, typer.Argument(metavar="KEY", help="The call's key, or the start of it.")
]
T = TypeVar("T")


@app.command("list")
def list_calls(
    session: SessionOption = None,
    user: UserOption = None,
    state: StateOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The last N calls.")] = 20,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """List tool calls, the latest last.

    --json: a list of objects with key, turn, user, session, call_id, toolset, tool, effect, digest,
    arguments, private, reason, state, result, outcome, attempts, forgotten, requested_at,
    started_at and ended_at (seconds since 1970).
    """
    states = (state,) if state else ()

    async def read(journal: Journal) -> Sequence[CallRecord]:
        return await journal.list(user=user, session=session, states=states, limit=limit)

    calls = _with_journal(config, read)
    if json:
        output.print_json([call.to_dict() for call in calls])
    elif calls:
        _show_list(calls)
    else:
        output.print_status("No such call is in the journal.")


@app.command()
def show(call: CallArgument, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show one call: its tool, arguments, state and result. --json: an object as in `list`."""
    record = _with_journal(config, lambda journal: _find(journal, call))
    if json:
        output.print_json(record.to_dict())
        return
    rows = [
        ("key", record.key),
        ("tool", f"{record.name} ({record.effect})"),
        ("state", record.state),
        ("conversation", f"{record.user}/{record.session}{' (private)' * record.private}"),
        ("turn", f"{record.turn}, call {record.call_id}"),
        ("rule", record.reason),
        ("arguments", record.arguments),
        ("result", record.result),
        ("requested", moment(record.requested_at)),
        ("started", moment(record.started_at)),
        ("ended", moment(record.ended_at)),
    ]
    output.print_table(("", ""), [row for row in rows if row[1]])
    if record.note:
        output.print_status(f"{record.note}.")
    _suggest([record])


@app.command()
def resolve(
    call: CallArgument,
    outcome: Annotated[
        Literal["done", "not-done"],
        typer.Argument(metavar="done|not-done", help="Whether the call took effect."),
    ],
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Settle a call whose outcome is unknown, after looking at what it should have changed.

    The call is not run again. --json: an object as in `list`.
    """

    async def settle(journal: Journal) -> CallRecord:
        record = await _find(journal, call)
        await journal.resolve(record.key, "done" if outcome == "done" else "not done")
        return await _find(journal, record.key)

    record = _with_journal(config, settle)
    if json:
        output.print_json(record.to_dict())
    else:
        output.print_line(f"{record.key[:12]} {record.name}: {record.note}.")


def _with_journal(source: str | None, use: Callable[[Journal], Awaitable[T]]) -> T:
    """Use the journal, in which calls of dead processes are unknown."""
    from vanta.tools import Journal

    async def open_journal(store: Store, _config: Config) -> T:
        journal = Journal(store)
        await journal.abandoned()
        return await use(journal)

    return with_store(source, open_journal)


def with_store(source: str | None, use: Callable[[Store, Config], Awaitable[T]]) -> T:
    """Open the store of a configuration, use it, and close it.

    :param source: the command's own `--config`, or None.
    :param use: is called with the store and the configuration.
    :returns: what `use` returns.
    """
    import anyio

    from vanta.runtime import open_store

    config = load_setup(source).config
    store, _ledger = open_store(config)

    async def run() -> T:
        try:
            return await use(store, config)
        finally:
            await store.aclose()

    return anyio.run(run)


async def _find(journal: Journal, start: str) -> CallRecord:
    """Return the only call whose key begins with `start`. Raises UsageError."""
    calls = await journal.list(key=start, limit=2)
    return only(calls, [call.key for call in calls], start, "call", "calls")


def only(items: Sequence[T], keys: Sequence[str], start: str, noun: str, command: str) -> T:
    """Return the only item whose key begins with a text.

    :param items: the items with such keys.
    :param keys: their keys, in the same order.
    :param start: the text.
    :param noun: what an item is called.
    :param command: the command that lists them.
    :raises UsageError: if there is none, or more than one.
    """
    from vanta.errors import UsageError

    if not items or not start:
        raise UsageError(f"no {noun} begins with {start!r}. `vanta {command} list` lists them.")
    if len(items) > 1:
        raise UsageError(
            f"more than one {noun} begins with {start!r}: {', '.join(keys)}. Give more characters."
        )
    return items[0]


def _show_list(calls: Sequence[CallRecord]) -> None:
    rows = [
        (
            call.key[:12],
            moment(call.requested_at),
            f"{call.user}/{call.session}{' (private)' * call.private}",
            call.name,
            f"{call.state}{f': {call.outcome}' * bool(call.outcome)}",
            shortened(call.arguments),
        )
        for call in calls
    ]
    output.print_table(("key", "when", "user/session", "tool", "state", "arguments"), rows)
    _suggest(calls)


def _suggest(calls: Sequence[CallRecord]) -> None:
    unknown = [call.key[:12] for call in calls if call.state == "unknown"]
    if unknown:
        output.print_status(
            "A call is unknown if its process ended while it ran. Look whether it took effect, "
            f"then: vanta calls resolve {unknown[-1]} done|not-done"
        )


def shortened(text: str, longest: int = 40) -> str:
    """Return a text of at most `longest` characters."""
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def moment(seconds: float | None) -> str:
    """Return a time since the epoch as a person reads it; "" for None."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else ""
