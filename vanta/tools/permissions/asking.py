"""Asks a person about a call that a rule holds back, unless an earlier approval covers it.

Invariant: only an answer that says so runs a call: True, or an `Approval`. A handler that raises,
is cancelled or answers anything else denies it, and never leaves the call without an end.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anyio

from vanta.events import ApprovalRequested, Event
from vanta.tools.journal.recorded import CallDesk
from vanta.tools.permissions.permissions import Decision
from vanta.tools.registry import OfferedTool, Returned, outcome_of
from vanta.tools.turn_rules import Approval, ApprovalHandler, ApprovalRequest, Caller, TurnClock

_log = logging.getLogger("vanta")


@dataclass(frozen=True, slots=True)
class Asking:
    """The questions of one turn, one at a time.

    :param desk: keeps approvals that count for longer than one call.
    :param caller: whose turn it is.
    :param ask: asks a person; None denies.
    :param clock: the turn's clock, which stands still meanwhile.
    :param emit: called with each event.
    """

    desk: CallDesk
    caller: Caller
    ask: ApprovalHandler | None
    clock: TurnClock
    emit: Callable[[Event], None]

    async def decide(
        self,
        key: str,
        offered: OfferedTool,
        arguments: Mapping[str, Any],
        arguments_text: str,
        decision: Decision,
    ) -> Approval:
        """Return what a person decided, before or now.

        :param key: the call's key in the journal.
        :param offered: its tool.
        :param arguments: its arguments, valid under the tool's schema.
        :param arguments_text: the same as JSON.
        :param decision: the rule that holds the call back.
        :raises StoreError: if approvals cannot be read or stored.
        """
        caller, approvals = self.caller, self.desk.approvals
        if not decision.only_this_call:
            standing = await approvals.covering(
                offered, arguments, user=caller.user, session=caller.session
            )
            if standing is not None:
                return Approval(approved=True)
        if self.ask is None:
            why = f"Not run: it needs a person's approval ({decision.rule}), and none is here."
            return Approval(approved=False, reason=why)
        self.emit(
            ApprovalRequested(
                at_s=self.clock.now(),
                key=key,
                tool=offered.identity,
                arguments=arguments_text,
                why=decision.rule,
            )
        )
        answer = await self._answer(self._request(key, offered, arguments, decision), self.ask)
        if not answer.approved:
            return dataclasses.replace(
                answer, reason=f"A person denied it. {answer.reason}".strip()
            )
        if answer.scope != "once" and not decision.only_this_call:
            session = caller.session if answer.scope == "session" else None
            await approvals.add(offered, user=caller.user, session=session)
        return answer

    def _request(
        self, key: str, offered: OfferedTool, arguments: Mapping[str, Any], decision: Decision
    ) -> ApprovalRequest:
        return ApprovalRequest(
            key=key,
            turn=self.caller.turn,
            user=self.caller.user,
            session=self.caller.session,
            toolset=offered.toolset,
            tool=offered.tool.name,
            description=offered.tool.description,
            arguments=arguments,
            effect=offered.tool.effect,
            why=decision.rule,
        )

    async def _answer(self, request: ApprovalRequest, ask: ApprovalHandler) -> Approval:
        began_at = anyio.current_time()
        answer = await outcome_of(lambda: ask(request), math.inf)
        self.clock.pause(anyio.current_time() - began_at)
        name = f"{request.toolset}.{request.tool}"
        if not isinstance(answer, Returned):
            # What a handler raises may quote the arguments, which stay out of logs.
            _log.warning("the approval handler failed on %r: %s", name, type(answer).__name__)
            return Approval(approved=False, reason="The question could not be asked.")
        if isinstance(answer.value, Approval):
            return answer.value
        if not isinstance(answer.value, bool):
            kind = type(answer.value).__name__
            _log.warning("the approval handler returned a %s about %r", kind, name)
        return Approval(approved=answer.value is True)
