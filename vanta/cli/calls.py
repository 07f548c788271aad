"""`vanta calls` and `vanta approvals`: the journal of tool calls, and what was approved for later.

Invariant: a call is named by its key in the journal, or the beginning of it. Listing first makes
the started calls of dead processes unknown; apart from that, only `resolve` and `revoke` write.
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
    from vanta.storage import Store
    from vanta.tools import CallRecord, Journal, StandingApproval

app = typer.Typer(
    help="List tool calls, and settle those with an unknown outcome.", no_args_is_help=True
)
approvals = typer.Typer(
    help="List what you approved for later tool calls, or revoke it.", no_args_is_help=True
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
        ("requested", _moment(record.requested_at)),
        ("started", _moment(record.started_at)),
        ("ended", _moment(record.ended_at)),
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


@approvals.command("list")
def list_approvals(
    user: UserOption = None, json: JsonOption = False, config: ConfigOption = None
) -> None:
    """List what was approved for a session or for good, oldest first.

    --json: a list of objects with id, user, session ("" for all), toolset, tool, tool_digest,
    pattern ("" for any arguments) and approved_at (seconds since 1970).
    """
    from vanta.tools import Approvals

    found = _with_store(config, lambda store: Approvals(store).list(user=user))
    if json:
        output.print_json([approval.to_dict() for approval in found])
    elif found:
        rows = [
            (
                approval.id[:12],
                _moment(approval.approved_at),
                f"{approval.user}/{approval.session or '(all sessions)'}",
                approval.pattern or f"{approval.toolset}.{approval.tool}",
            )
            for approval in found
        ]
        output.print_table(("id", "when", "user/session", "calls of"), rows)
    else:
        output.print_status("No approval is stored.")


@approvals.command()
def revoke(
    approval: Annotated[
        str, typer.Argument(metavar="ID", help="The approval's id, or the start of it.")
    ],
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Remove an approval, so that the tool asks again. --json: an object as in `list`."""
    from vanta.tools import Approvals

    async def remove(store: Store) -> StandingApproval:
        held = Approvals(store)
        found = await held.list(start=approval)
        only = _only(found, [item.id for item in found], approval, "approval", "approvals")
        await held.revoke(only)
        return only

    removed = _with_store(config, remove)
    if json:
        output.print_json(removed.to_dict())
    else:
        output.print_line(f"{removed.toolset}.{removed.tool} asks {removed.user!r} again.")


def _with_journal(source: str | None, use: Callable[[Journal], Awaitable[T]]) -> T:
    """Use the journal, in which calls of dead processes are unknown."""
    from vanta.tools import Journal

    async def with_store(store: Store) -> T:
        journal = Journal(store)
        await journal.abandoned()
        return await use(journal)

    return _with_store(source, with_store)


def _with_store(source: str | None, use: Callable[[Store], Awaitable[T]]) -> T:
    import anyio

    from vanta.runtime import open_store

    store, _ledger = open_store(load_setup(source).config)

    async def run() -> T:
        try:
            return await use(store)
        finally:
            await store.aclose()

    return anyio.run(run)


async def _find(journal: Journal, start: str) -> CallRecord:
    """Return the only call whose key begins with `start`. Raises UsageError."""
    calls = await journal.list(key=start, limit=2)
    return _only(calls, [call.key for call in calls], start, "call", "calls")


def _only(items: Sequence[T], keys: Sequence[str], start: str, noun: str, command: str) -> T:
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
            _moment(call.requested_at),
            f"{call.user}/{call.session}{' (private)' * call.private}",
            call.name,
            f"{call.state}{f': {call.outcome}' * bool(call.outcome)}",
            _shortened(call.arguments),
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


def _shortened(text: str, longest: int = 40) -> str:
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _moment(seconds: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else ""
