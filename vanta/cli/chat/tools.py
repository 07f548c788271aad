"""`/tools` and `/approve` of a chat: what may run, and decisions about calls that wait.

Invariant: a chat sees and decides about its own user's calls only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vanta.errors import UsageError

if TYPE_CHECKING:
    from vanta.runtime import Session, SyncRuntime
    from vanta.tools import ParkedTurn, ToolOutlook

ACTIONS = ("deny", "answer", "resume", "revoke")
_OUTLOOKS = {"allow": "runs", "ask": "asks you", "deny": "never runs"}


def describe_tools(runtime: SyncRuntime, session: Session) -> str:
    """Return the tools that the next turn offers, and whether each may run.

    :param runtime: the runtime of the chat.
    :param session: its conversation.
    """
    outlooks = runtime.portal.call(runtime.runtime.tool_outlooks, session.private)
    if not outlooks:
        return (
            'no toolset is on: name some in `tools.use`, such as use = ["clock", "ask_user"]; '
            "`vanta tools list` shows all"
        )
    width = max(len(item.tool) for item in outlooks)
    return "\n".join(f"{item.tool:{width}}  {_outlook(item)}" for item in outlooks)


def decide(runtime: SyncRuntime, session: Session, rest: str) -> tuple[str, str]:
    """Run `/approve rest`.

    :param runtime: the runtime of the chat.
    :param session: its conversation.
    :param rest: what follows the command.
    :returns: what to print, and the id of a turn to resume, or "".
    :raises UsageError: if a key fits no call, or several.
    """
    action, _, more = rest.partition(" ")
    if not rest:
        return _listed(runtime, session), ""
    if action not in ACTIONS:
        return _approved(runtime, session, action, more.strip() or "once")
    key, _, text = more.strip().partition(" ")
    if action == "resume":
        return "", _turn(runtime, session, key).turn
    if action == "revoke":
        return _revoked(runtime, session, key), ""
    call = _call(runtime, session, key)
    if action == "deny":
        return _decided(runtime, runtime.parked.deny(call, text.strip()).turn, "denied")
    return _decided(runtime, runtime.parked.answer(call, text.strip()).turn, "answered")


def _approved(runtime: SyncRuntime, session: Session, start: str, scope: str) -> tuple[str, str]:
    call = runtime.parked.approve(_call(runtime, session, start), scope)
    return _decided(runtime, call.turn, f"{call.name} is approved ({scope})")


def _decided(runtime: SyncRuntime, turn: str, what: str) -> tuple[str, str]:
    """Return what was decided; the turn continues at once if nothing else of it waits."""
    parked = runtime.parked.list(start=turn)
    if not parked or parked[0].holder:
        return f"{what}; its turn continues by itself", ""
    waiting = len(parked[0].open_calls)
    if waiting:
        return f"{what}; {waiting} more call(s) of its turn wait", ""
    return what, turn


def _outlook(item: ToolOutlook) -> str:
    rests = ", but rules look at its arguments" if item.depends else ""
    return f"{_OUTLOOKS[item.decision.verdict]} ({item.decision.rule}){rests}"


def _listed(runtime: SyncRuntime, session: Session) -> str:
    from vanta.cli.calls.approvals import describe_pending, standing_rows
    from vanta.tools import Approvals

    lines = describe_pending(runtime.parked.list(user=session.user))
    approvals = Approvals(runtime.runtime.store)
    standing = runtime.portal.call(lambda: approvals.list(user=session.user))
    lines += ["  ".join(row) for row in standing_rows(standing)]
    return "\n".join(lines) or "no call waits, and no approval is stored"


def _revoked(runtime: SyncRuntime, session: Session, start: str) -> str:
    from vanta.cli.calls.app import only
    from vanta.tools import Approvals

    approvals = Approvals(runtime.runtime.store)
    standing = runtime.portal.call(lambda: approvals.list(user=session.user, start=start))
    one = only(standing, [item.id for item in standing], start, "approval", "approvals")
    runtime.portal.call(approvals.revoke, one)
    return f"{one.toolset}.{one.tool} asks again"


def _call(runtime: SyncRuntime, session: Session, start: str) -> str:
    """Return the key of the only waiting call of the chat's user that begins with `start`."""
    from vanta.cli.calls.app import only

    turns = runtime.parked.list(user=session.user)
    keys = [call.key for turn in turns for call in turn.open_calls if call.key.startswith(start)]
    return only(keys, keys, start, "waiting call", "approvals")


def _turn(runtime: SyncRuntime, session: Session, start: str) -> ParkedTurn:
    if not start:
        raise UsageError("/approve resume needs the id of a turn, as /approve shows it")
    from vanta.cli.calls.app import only

    turns = runtime.parked.list(user=session.user, start=start)
    return only(turns, [turn.turn for turn in turns], start, "parked turn", "approvals")
