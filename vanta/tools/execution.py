"""Runs the tool calls of one turn: each at most once, after the rules allow it, in the journal.

A call of a tool that only reads may start before its leg has committed (`begin`); equal calls of
several legs (tool and canonical arguments) then share one execution. Every other call starts only
for the committed leg (`run`). A call ends in a result that the model reads: one that is not valid
says what is wrong, at most twice for each tool; a denied one names the rule.

Invariant: nothing here raises into the turn but its cancellation and `StoreError`. A write call
whose end is not known is `unknown` in the journal, never repeated.
"""

from __future__ import annotations

import dataclasses
import logging
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import TaskGroup

from vanta.concurrency import open_task_group
from vanta.errors import StoreError, ToolError, describe
from vanta.events import ApprovalRequested, CallFinished, CallRequested, Event
from vanta.messages import Message, ToolCall
from vanta.tool_contract import Tool, ToolContext, ToolResult
from vanta.tools.arguments import canonical, read_arguments
from vanta.tools.call_record import CallRecord, digest_of
from vanta.tools.permissions import Decision
from vanta.tools.recorded import CallDesk, record_denial, run_recorded
from vanta.tools.registry import OfferedTool
from vanta.tools.results import READ_RESULT, ResultPages, write_result
from vanta.tools.turn_rules import (
    Approval,
    ApprovalHandler,
    ApprovalRequest,
    Caller,
    ToolRules,
    TurnClock,
)
from vanta.trace import CallTrace

MOST_CORRECTIONS = 2
"""How often a tool may be called wrongly in one turn before it is not offered any more."""

_log = logging.getLogger("vanta")


@dataclass(slots=True)
class _Call:
    """One call that a leg asks for, as far as it was read.

    :ivar place: round, digest and number among the leg's equal calls: what legs share.
    :ivar wrong: why it cannot run, for the model to correct; "" if it can.
    """

    call: ToolCall
    round: int
    offered: OfferedTool | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    place: tuple[int, str, int] = (0, "", 0)
    wrong: str = ""
    rule: str = ""


@dataclass(slots=True)
class _Execution:
    """One run of a tool, which equal calls of several legs wait for."""

    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    state: str = "running"
    result: ToolResult = field(default_factory=lambda: ToolResult(""))
    error: StoreError | None = None
    took_s: float = 0.0
    cost_usd: float = 0.0
    begun_early: bool = False
    ended: anyio.Event = field(default_factory=anyio.Event)


class CallRunner:
    """Runs the calls of one turn, inside its context.

    :param desk: what every call goes through.
    :param offered: the tools that the model may call.
    :param caller: whose turn it is.
    :param rules: what calls have to obey.
    :param clock: the turn's clock.
    :param is_private: returns whether the turn is private by now.
    :param emit: called with each event.
    """

    def __init__(
        self,
        *,
        desk: CallDesk,
        offered: Sequence[OfferedTool],
        caller: Caller,
        rules: ToolRules,
        clock: TurnClock,
        is_private: Callable[[], bool],
        emit: Callable[[Event], None],
    ) -> None:
        self._desk = desk
        self._tools = {tool.name: tool for tool in offered}
        self._caller = caller
        self._rules = rules
        self._clock = clock
        self._is_private = is_private
        self._emit = emit
        self._pages = ResultPages(rules.max_result_tokens, rules.count)
        self._reader: OfferedTool | None = None
        self._tasks: TaskGroup | None = None
        self._executions: dict[tuple[int, str, int], _Execution] = {}
        self._wrong: Counter[str] = Counter()
        self._asking, self._writing = anyio.Lock(), anyio.Lock()
        self._traces: list[CallTrace] = []
        self._after_untrusted = self.saw_private = False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[CallRunner]:
        """Hold the tasks of calls that begin early; leaving stops those that are not waited for."""
        (reader,) = await self._pages.tools()
        self._reader = OfferedTool(self._pages.name, reader, READ_RESULT)
        async with open_task_group() as self._tasks:
            yield self
            self._tasks.cancel_scope.cancel()

    @property
    def offered(self) -> tuple[Tool, ...]:
        """The tools that the model may still call, under the names that it knows."""
        kept = [item for item in self._tools.values() if self._wrong[item.name] <= MOST_CORRECTIONS]
        if self._reader and not self._pages.is_empty:
            kept.append(self._reader)
        return tuple(dataclasses.replace(item.tool, name=item.name) for item in kept)

    @property
    def traces(self) -> tuple[CallTrace, ...]:
        """The records of the calls so far."""
        return tuple(self._traces)

    @property
    def is_spent(self) -> bool:
        """Whether the turn may make no more calls."""
        return len(self._traces) >= self._rules.max_calls

    def withhold(self) -> None:
        """Take back that a private result was seen: the model is not shown it after all."""
        self.saw_private = False

    def begin(self, calls: Sequence[ToolCall], number: int) -> None:
        """Start the calls of a leg that has not committed, as far as they only read.

        :param calls: the leg's complete calls.
        :param number: the number of the round.
        """
        for call in self._read(calls, number):
            offered = None if call.offered is self._reader or call.wrong else call.offered
            reads = offered is not None and offered.tool.effect == "read"
            if reads and self._decide(call).verdict == "allow":
                self._execution(call, early=True)

    async def run(self, calls: Sequence[ToolCall], number: int, track: str) -> list[Message]:
        """Run the calls of the committed leg.

        Calls that only read run at once and together, the others one after the other, in order.

        :param calls: the leg's calls.
        :param number: the number of the round.
        :param track: the leg's track.
        :returns: a tool's message for each call, in their order.
        :raises StoreError: if a call cannot be recorded; it has not run then.
        """
        messages: dict[int, Message] = {}
        left = self._rules.max_calls - len(self._traces)
        failures: list[StoreError] = []

        async def settle(place: int, call: _Call) -> None:
            try:
                messages[place] = await self._settle(call, track, allowed=place < left)
            except StoreError as error:
                failures.append(error)

        async with open_task_group() as group:
            for place, call in enumerate(self._read(calls, number)):
                group.start_soon(settle, place, call)
        if failures:
            raise failures[0]
        return [messages[place] for place in sorted(messages)]

    def _read(self, calls: Sequence[ToolCall], number: int) -> list[_Call]:
        """Resolve the tool and the arguments of each call."""
        read, equal = [], Counter[str]()
        for given in calls:
            call = _Call(given, number, self._tools.get(given.name))
            if given.name == READ_RESULT and call.offered is None and not self._pages.is_empty:
                call.offered = self._reader
            if call.offered is None:
                call.wrong = self._desk.registry.unknown(given.name).text
            else:
                self._read_arguments(call, call.offered)
            digest = call.place[1]
            call.place = (number, digest, equal[digest])
            equal[digest] += 1
            read.append(call)
        return read

    def _read_arguments(self, call: _Call, offered: OfferedTool) -> None:
        try:
            call.arguments = read_arguments(call.call.arguments, offered.tool.parameters)
            call.text = canonical(call.arguments)
        except ToolError as error:
            call.wrong = str(error)
            return
        call.place = (0, digest_of(offered.toolset, offered.tool, call.text), 0)

    def _decide(self, call: _Call) -> Decision:
        assert call.offered is not None  # noqa: S101 - only valid calls are decided
        return self._rules.permissions.decide(
            call.offered,
            call.arguments,
            private_turn=self._is_private() or self.saw_private,
            after_untrusted=self._after_untrusted,
        )

    async def _settle(self, call: _Call, track: str, *, allowed: bool) -> Message:
        """Bring one call to its end, and return the message with its result."""
        execution = self._executions.get(call.place) if not call.wrong else None
        shared = execution is not None and execution.begun_early
        if execution is None:
            execution = _Execution()
        self._report_request(call, execution, track)
        if call.wrong or not allowed:
            self._refuse(call, execution, allowed=allowed)
        elif await self._is_allowed(call, execution):
            execution = await self._execute(call, execution)
        return self._conclude(call, execution, shared=shared)

    def _report_request(self, call: _Call, execution: _Execution, track: str) -> None:
        self._emit(
            CallRequested(
                at_s=self._clock.now(),
                round=call.round,
                track=track,
                key=execution.key,
                call_id=call.call.id,
                tool=call.call.name,
                arguments=call.call.arguments,
            )
        )

    def _refuse(self, call: _Call, execution: _Execution, *, allowed: bool) -> None:
        """End a call that is not valid, or one too many, without running it."""
        execution.state, why = "refused", call.wrong
        if not allowed:
            why = f"Not run: the limit of {self._rules.max_calls} calls is reached."
        else:
            self._wrong[call.call.name] += 1
            if self._wrong[call.call.name] > MOST_CORRECTIONS:
                why += " It was called wrongly too often: do not call it again."
        execution.result = ToolResult(why, is_error=True)

    async def _is_allowed(self, call: _Call, execution: _Execution) -> bool:
        """Decide by the rules and, where these ask, by a person."""
        if call.offered is self._reader:
            return True
        decision = self._decide(call)
        call.rule = decision.rule
        if decision.verdict == "allow":
            return True
        why = f"Denied by the rule {decision.rule!r}."
        if decision.verdict == "ask":
            approval = await self._approval(call, execution, decision)
            if approval.approved:
                return True
            why = approval.reason
        execution.state = "denied"
        if call.offered:
            await record_denial(self._desk, self._record_of(call, call.offered, execution))
        execution.result = ToolResult(why, is_error=True)
        return False

    async def _approval(self, call: _Call, execution: _Execution, decision: Decision) -> Approval:
        """Return what a person decided, before or now."""
        offered, caller, ask = call.offered, self._caller, self._rules.ask
        assert offered is not None  # noqa: S101 - only valid calls are asked for
        if not decision.only_this_call:
            standing = await self._desk.approvals.covering(
                offered, call.arguments, user=caller.user, session=caller.session
            )
            if standing is not None:
                return Approval(approved=True)
        if ask is None:
            why = f"Not run: it needs a person's approval ({decision.rule}), and none is here."
            return Approval(approved=False, reason=why)
        answer = await self._ask(call, execution, decision, ask)
        if not answer.approved:
            return dataclasses.replace(
                answer, reason=f"A person denied it. {answer.reason}".strip()
            )
        if answer.scope != "once" and not decision.only_this_call:
            session = caller.session if answer.scope == "session" else None
            await self._desk.approvals.add(offered, user=caller.user, session=session)
        return answer

    async def _ask(
        self, call: _Call, execution: _Execution, decision: Decision, ask: ApprovalHandler
    ) -> Approval:
        """Ask a person; the deadline stands still meanwhile. One question is asked at a time."""
        assert call.offered is not None  # noqa: S101 - only valid calls are asked for
        async with self._asking:
            offered, began_at = call.offered, anyio.current_time()
            name = f"{offered.toolset}.{offered.tool.name}"
            self._emit(
                ApprovalRequested(
                    at_s=self._clock.now(),
                    key=execution.key,
                    tool=name,
                    arguments=call.text,
                    why=decision.rule,
                )
            )
            request = ApprovalRequest(
                key=execution.key,
                turn=self._caller.turn,
                user=self._caller.user,
                session=self._caller.session,
                toolset=offered.toolset,
                tool=offered.tool.name,
                description=offered.tool.description,
                arguments=call.arguments,
                effect=offered.tool.effect,
                why=decision.rule,
            )
            try:
                answer = await ask(request)
            except Exception as error:  # noqa: BLE001 - a handler's bug must not run a call
                _log.warning("the approval handler failed on %r: %s", name, describe(error))
                answer = Approval(approved=False, reason="The question could not be asked.")
            finally:
                self._clock.pause(anyio.current_time() - began_at)
        return answer if isinstance(answer, Approval) else Approval(approved=bool(answer))

    async def _execute(self, call: _Call, execution: _Execution) -> _Execution:
        """Run an allowed call, or wait for the equal one that runs already."""
        running = self._execution(call, first=execution)
        await running.ended.wait()
        if running.error:
            raise running.error
        return running

    def _execution(
        self, call: _Call, *, first: _Execution | None = None, early: bool = False
    ) -> _Execution:
        """Return the run of a call, which begins now unless an equal one has begun before."""
        found = self._executions.get(call.place)
        if found is None:
            found = self._executions[call.place] = first or _Execution()
            found.begun_early = early
            assert self._tasks is not None  # noqa: S101 - the runner is open
            self._tasks.start_soon(self._run, call, found, name=f"call of {call.call.name}")
        return found

    async def _run(self, call: _Call, execution: _Execution) -> None:
        """Run a tool, between two entries in the journal."""
        assert call.offered is not None  # noqa: S101 - only valid calls run
        try:
            if call.offered is self._reader:
                await self._read_page(call, execution)
            elif call.offered.tool.effect == "read":
                await self._run_recorded(call, call.offered, execution)
            else:
                async with self._writing:
                    await self._run_recorded(call, call.offered, execution)
        except StoreError as error:
            execution.error = error
        finally:
            execution.ended.set()

    async def _read_page(self, call: _Call, execution: _Execution) -> None:
        try:
            execution.result = await self._pages.call(READ_RESULT, call.arguments, ToolContext())
        except ToolError as error:
            execution.result = ToolResult(str(error), is_error=True)
        execution.state = "failed" if execution.result.is_error else "finished"

    async def _run_recorded(self, call: _Call, offered: OfferedTool, execution: _Execution) -> None:
        record = self._record_of(call, offered, execution)
        ended = await run_recorded(self._desk, record, offered, call.arguments, self._clock)
        execution.result, execution.state = ended.result, ended.state
        execution.took_s, execution.cost_usd = ended.took_s, ended.cost_usd

    def _record_of(self, call: _Call, offered: OfferedTool, execution: _Execution) -> CallRecord:
        return CallRecord(
            key=execution.key,
            turn=self._caller.turn,
            user=self._caller.user,
            session=self._caller.session,
            call_id=call.call.id,
            toolset=offered.toolset,
            tool=offered.tool.name,
            effect=offered.tool.effect,
            digest=call.place[1],
            arguments=call.text,
            private=self._is_private() or self.saw_private,
            reason=call.rule,
        )

    def _conclude(self, call: _Call, execution: _Execution, *, shared: bool) -> Message:
        """Record how a call ended, and write what the model reads."""
        result, offered = execution.result, call.offered
        self.saw_private = self.saw_private or result.private
        if offered is not None and offered.tool.untrusted and execution.state == "finished":
            self._after_untrusted = True
        limit = offered.tool.max_result_tokens if offered else None
        if offered is not None and offered is self._reader:  # a page is not cut once more
            text = write_result(result, 2 * self._rules.max_result_tokens, self._rules.count)
        else:
            text = self._pages.show(f"r{len(self._traces) + 1}", result, limit)
        self._traces.append(
            CallTrace(
                key=execution.key,
                round=call.round,
                toolset=offered.toolset if offered else "",
                tool=offered.tool.name if offered else call.call.name,
                effect=offered.tool.effect if offered else "",
                state=execution.state,
                rule=call.rule,
                took_s=execution.took_s,
                shared=shared,
                cost_usd=execution.cost_usd,
            )
        )
        self._emit(
            CallFinished(
                at_s=self._clock.now(),
                key=execution.key,
                call_id=call.call.id,
                tool=call.call.name,
                state=execution.state,
                text=text,
                took_s=execution.took_s,
            )
        )
        return Message("tool", text, tool_call_id=call.call.id)
