"""`vanta approvals`: calls that wait for a person, and what was approved for later ones.

Invariant: a decision is recorded before it counts, and counts once. The turn that waits reads it by
itself, or is resumed by `resume`; only the call that was shown runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vanta.cli import output
from vanta.cli.calls.app import UserOption, moment, only, shortened, with_store
from vanta.cli.options import ConfigOption, JsonOption
from vanta.cli.setup import open_runtime
from vanta.cli.terminal import can_ask

if TYPE_CHECKING:
    from vanta.config import Config
    from vanta.events import Event
    from vanta.runtime import SyncRuntime
    from vanta.storage import Store
    from vanta.tools import ParkedCall, ParkedTurn, ParkedTurns, StandingApproval
    from vanta.trace import Reply

app = typer.Typer(
    help="Decide about tool calls that wait; list and revoke standing approvals.",
    no_args_is_help=True,
)

KeyArgument = Annotated[
    str, typer.Argument(metavar="KEY", help="The key of the call that waits, or the start of it.")
]
TurnArgument = Annotated[
    str, typer.Argument(metavar="TURN", help="The id of the turn that waits, or the start of it.")
]


@app.command("list")
def list_approvals(
    user: UserOption = None, json: JsonOption = False, config: ConfigOption = None
) -> None:
    """List the calls that wait for a decision, and what was approved for later calls.

    --json: an object with pending and standing. pending: a list of objects with turn, user,
    session, private, parked_at and expires_at (seconds since 1970), is_held (whether a process
    waits for it) and calls: objects with key, turn, toolset, tool, effect, arguments, digest, why,
    is_question, answer ("" while it waits), scope, text and decided_at. standing: a list of objects
    with id, user, session ("" for all), toolset, tool, tool_digest, pattern ("" for any arguments)
    and approved_at.
    """
    pending, standing = with_store(config, partial(_read, user=user))
    if json:
        output.print_json(
            {
                "pending": [turn.to_dict() for turn in pending],
                "standing": [approval.to_dict() for approval in standing],
            }
        )
        return
    for line in describe_pending(pending):
        output.print_line(line)
    if standing:
        output.print_table(("id", "when", "user/session", "calls of"), standing_rows(standing))
    if not pending and not standing:
        output.print_status("No call waits, and no approval is stored.")


@app.command()
def approve(
    call: KeyArgument,
    scope: Annotated[
        Literal["once", "session", "always"],
        typer.Option("--scope", help="For how long the approval counts."),
    ] = "once",
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Approve a call that waits. It runs when its turn continues. --json: a call, as in `list`."""
    _decide(config, call, lambda turns, key: turns.approve(key, scope), json=json)


@app.command()
def deny(
    call: KeyArgument,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why, for the model.")
    ] = "",
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Deny a call that waits, or decline to answer a question. --json: a call, as in `list`."""
    _decide(config, call, lambda turns, key: turns.deny(key, reason), json=json)


@app.command()
def answer(
    call: KeyArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The answer.")],
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Answer a question that a model asked. --json: a call, as in `list`."""
    _decide(config, call, lambda turns, key: turns.answer(key, text), json=json)


@app.command()
def resume(turn: TurnArgument, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Continue a turn that waits, and print its reply.

    At a terminal, calls that are not decided are asked about. --json: the reply, as of `vanta ask`.
    """
    from vanta.cli.terminal.approval import TerminalApproval

    approval = TerminalApproval() if can_ask() else None
    with open_runtime(config, approval=approval) as runtime:
        parked = runtime.parked.list(start=turn)
        found = only(parked, [item.turn for item in parked], turn, "parked turn", "approvals")
        reply = _resume(runtime, found.turn, approval)
    if json:
        output.print_json(reply.to_dict())
    else:
        output.stdout().print(reply.text, markup=False, highlight=False, soft_wrap=True)


@app.command()
def discard(turn: TurnArgument, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Remove a turn that waits: its calls never run. --json: the turn, as in `list`."""

    async def remove(store: Store, loaded: Config) -> ParkedTurn:
        turns = _parked_in(store, loaded)
        parked = await turns.list(start=turn)
        found = only(parked, [item.turn for item in parked], turn, "parked turn", "approvals")
        await turns.take(found.turn)
        return found

    removed = with_store(config, remove)
    if json:
        output.print_json(removed.to_dict())
    else:
        output.print_line(f"turn {removed.turn[:12]} is removed; none of its waiting calls runs.")


@app.command()
def revoke(
    approval: Annotated[
        str, typer.Argument(metavar="ID", help="The approval's id, or the start of it.")
    ],
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Remove a standing approval, so that the tool asks again. --json: an object as in `list`."""
    from vanta.tools import Approvals

    async def remove(store: Store, _loaded: Config) -> StandingApproval:
        held = Approvals(store)
        found = await held.list(start=approval)
        one = only(found, [item.id for item in found], approval, "approval", "approvals")
        await held.revoke(one)
        return one

    removed = with_store(config, remove)
    if json:
        output.print_json(removed.to_dict())
    else:
        output.print_line(f"{removed.toolset}.{removed.tool} asks {removed.user!r} again.")


def describe_pending(pending: Sequence[ParkedTurn]) -> list[str]:
    """Return the calls that wait as lines for a person.

    :param pending: the parked turns.
    """
    lines = []
    for turn in pending:
        where = f"{turn.user}/{turn.session}{' (private)' * turn.private}"
        state = "waits in a process" if turn.holder else "parked"
        lines.append(
            f"turn {turn.turn[:12]} of {where}, {moment(turn.parked_at)}: {state}{_age(turn)}"
        )
        lines += [f"  {_call_line(call)}" for call in turn.calls]
        if not turn.holder and not turn.open_calls:
            lines.append(f"  decided: vanta approvals resume {turn.turn[:12]}")
    return lines


def _age(turn: ParkedTurn) -> str:
    """Return how long a turn has waited, and when it expires unless a process holds it."""
    now = time.time()
    waited = f" for {_duration(now - turn.parked_at)}"
    return waited if turn.holder else f"{waited}, expires in {_duration(turn.expires_at - now)}"


def _duration(seconds: float) -> str:
    """Return a time span in its largest unit, such as `3 h`."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def standing_rows(standing: Sequence[StandingApproval]) -> list[tuple[str, ...]]:
    """Return standing approvals as rows: id, when, user and session, calls.

    :param standing: the approvals.
    """
    return [
        (
            item.id[:12],
            moment(item.approved_at),
            f"{item.user}/{item.session or '(all sessions)'}",
            item.pattern or f"{item.toolset}.{item.tool}",
        )
        for item in standing
    ]


def _call_line(call: ParkedCall) -> str:
    what = f"{call.key[:12]}  {call.name} {shortened(call.arguments, 200)}"
    return f"{what}: {call.answer}" if call.answer else f"{what}, asked because of {call.why}"


def _parked_in(store: Store, config: Config) -> ParkedTurns:
    from vanta.tools import ParkedTurns

    return ParkedTurns(store, expire_s=config.tools.approvals_expire_s)


async def _read(
    store: Store, config: Config, *, user: str | None
) -> tuple[Sequence[ParkedTurn], Sequence[StandingApproval]]:
    from vanta.tools import Approvals

    return await _parked_in(store, config).list(user=user), await Approvals(store).list(user=user)


def _decide(
    config: str | None,
    start: str,
    decide: Callable[[ParkedTurns, str], Any],
    *,
    json: bool,
) -> None:
    """Record a decision about the only waiting call whose key begins with `start`."""

    async def work(store: Store, loaded: Config) -> tuple[ParkedCall, Sequence[ParkedTurn]]:
        turns = _parked_in(store, loaded)
        calls = [call for turn in await turns.list() for call in turn.calls]
        found = [call for call in calls if call.key.startswith(start)]
        call = only(found, [item.key for item in found], start, "waiting call", "approvals")
        decided = await decide(turns, call.key)
        return decided, await turns.list(start=call.turn)

    call, parked = with_store(config, work)
    if json:
        output.print_json(call.to_dict())
        return
    output.print_line(f"{call.key[:12]} {call.name}: {call.answer}.")
    if not parked or parked[0].holder:
        output.print_status("Its turn continues by itself.")
    elif waiting := parked[0].open_calls:
        output.print_status(f"{len(waiting)} call(s) of its turn still wait.")
    else:
        output.print_status(f"Continue its turn: vanta approvals resume {call.turn[:12]}")


def _resume(runtime: SyncRuntime, turn: str, approval: Any) -> Reply:
    """Run the turn; at a terminal, ask about what is not decided."""
    from vanta.cli.terminal.approval import Question
    from vanta.cli.turns import Interruptible

    replies: list[Reply] = []

    async def work(report: Callable[[Event | Question], None]) -> None:
        with approval.through(report) if approval else nullcontext():
            mode: Any = "wait" if approval else None
            replies.append(await runtime.runtime.resume(turn, approvals=mode))

    def show(item: Event | Question) -> None:
        if approval and isinstance(item, Question):
            approval.answer(item, runtime.portal)

    watched: Interruptible[Event | Question] = Interruptible(runtime.portal)
    if not watched.watch(work, show):
        raise KeyboardInterrupt
    return replies[0]
