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
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup

from vanta.concurrency import open_task_group
from vanta.errors import StoreError, ToolError
from vanta.events import CallFinished, Event
from vanta.messages import Message, ToolCall
from vanta.storage import store_waits_until
from vanta.tool_contract import Tool, ToolContext, ToolResult
from vanta.tools.arguments import canonical, read_arguments
from vanta.tools.call_state import (
    Execution,
    ReadCall,
    RunnerState,
    requested_event,
    trace_of,
)
from vanta.tools.journal.call_record import CallRecord, digest_of
from vanta.tools.journal.recorded import CallDesk, record_answer, record_denial
from vanta.tools.permissions.asking import Asking, held_call
from vanta.tools.permissions.permissions import QUESTION, REPEATS_WITHHELD, Decision
from vanta.tools.permissions.questions import Questions
from vanta.tools.permissions.questions_of_tools import run_with_questions
from vanta.tools.recall import FIND_TOOLS, ToolRecall
from vanta.tools.registry import OfferedTool
from vanta.tools.results import READ_RESULT, ResultPages, result_of, write_result
from vanta.tools.turn_rules import Approval, Caller, ToolRules, TurnClock
from vanta.trace import CallTrace

WITHHELD = "The result is private and no private track takes part in this turn: it is withheld."
"""What is shown instead of a private result, to tracks and to those who follow the turn."""

MOST_CORRECTIONS = 2
"""How often a tool may be called wrongly in one turn before it is not offered any more."""

_log = logging.getLogger("vanta")


class CallRunner:
    """Runs the calls of one turn, inside its context.

    :param desk: what every call goes through.
    :param offered: the tools that the model may call.
    :param caller: whose turn it is.
    :param rules: what calls have to obey.
    :param clock: the turn's clock.
    :param is_private: returns whether the turn is private by now.
    :param emit: called with each event.
    :param recall: finds tools that a track was not shown; None if there is no `find_tools`.
    :param questions: who is asked about calls; None for the rules' own handler alone.
    :param after_untrusted: whether the history has a result that others may have written.
    :param withheld: toolset, tool and canonical arguments of private calls that may have had an
        effect and that the turn is not shown; an equal call needs an approval.
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
        recall: ToolRecall | None = None,
        questions: Questions | None = None,
        after_untrusted: bool = False,
        withheld: frozenset[tuple[str, str, str]] = frozenset(),
    ) -> None:
        self.recall = recall
        self._withheld = withheld
        self._desk = desk
        self._tools = {tool.name: tool for tool in offered}
        self._caller = caller
        self._rules = rules
        self._clock = clock
        self._is_private = is_private
        self._emit = emit
        self._pages = ResultPages(rules.max_result_tokens, rules.count)
        self._reader: OfferedTool | None = None
        self._finder = OfferedTool("vanta", FIND_TOOLS, FIND_TOOLS.name) if recall else None
        self._tasks: TaskGroup | None = None
        self._executions: dict[tuple[int, str, int], Execution] = {}
        self._wrong: Counter[str] = Counter()
        self._questions = questions or Questions(caller.turn, ask=rules.ask)
        self._asking = Asking(desk, caller, self._questions, clock, emit)
        self._writing = anyio.Lock()
        self._traces: list[CallTrace] = []
        self._early: list[ReadCall] = []
        self._round: list[ReadCall] = []
        self._keys: tuple[str, ...] = ()
        self._after_untrusted, self.saw_private = after_untrusted, False

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
        return tuple(
            item.tool
            if item.tool.name == item.name
            else dataclasses.replace(item.tool, name=item.name)
            for item in kept
        )

    @property
    def traces(self) -> tuple[CallTrace, ...]:
        """The records of the calls so far, and of those that began for a leg that lost."""
        lost = [call for call in self._early if not call.execution.is_counted]
        return (*self._traces, *map(trace_of, lost))

    @property
    def is_spent(self) -> bool:
        """Whether the turn may make no more calls."""
        return len(self._traces) >= self._rules.max_calls

    def state(self) -> RunnerState:
        """Return what is needed to resume the turn in another process, before the round runs."""
        return RunnerState(
            # What began early is in the journal: it is read again, as another call.
            keys=tuple("" if call.shared else call.execution.key for call in self._round),
            traces=tuple(self._traces),
            wrong=dict(self._wrong),
            pages=self._pages.state(),
            after_untrusted=self._after_untrusted,
            saw_private=self.saw_private,
            found=self.recall.found if self.recall else (),
        )

    def restore(self, state: RunnerState) -> None:
        """Continue where a parked turn was: the next `run` is of the round that waited.

        :param state: what `state` returned.
        """
        self._keys, self._traces = state.keys, list(state.traces)
        self._wrong.update(state.wrong)
        self._pages.restore(state.pages)
        self._after_untrusted = self._after_untrusted or state.after_untrusted
        self.saw_private = state.saw_private
        if self.recall:
            self.recall.restore(state.found)

    @property
    def _holds_private(self) -> bool:
        return self.saw_private or self._is_private()

    def begin(self, calls: Sequence[ToolCall], number: int) -> None:
        """Start the calls of a leg that has not committed, as far as they only read.

        :param calls: the leg's complete calls.
        :param number: the number of the round.
        """
        for call in self._read(calls, number):
            offered = None if self._is_own(call) or call.wrong else call.offered
            if len(self._executions) >= self._rules.max_calls:
                return
            is_new = call.place not in self._executions
            reads = is_new and offered is not None and offered.tool.effect == "read"
            if reads and self._decide(call).verdict == "allow":
                self._start(call)
                self._early.append(call)

    async def run(
        self,
        calls: Sequence[ToolCall],
        number: int,
        track: str,
        *,
        cut: bool = False,
        show_private: bool = True,
    ) -> list[Message]:
        """Run the calls of the committed leg.

        Calls that only read run at once and together, the others one after the other, in order.

        :param calls: the leg's calls.
        :param number: the number of the round.
        :param track: the leg's track.
        :param cut: whether the answer ended at its token limit, so that its last call may be half.
        :param show_private: whether a private track takes part, which alone is shown private
            results; without one they are withheld.
        :returns: a tool's message for each call, in their order.
        :raises StoreError: if a call cannot be recorded; it has not run then.
        :raises ApprovalPending: if the turn was parked, to be resumed later.
        :raises ApprovalError: if the turn was removed while it waited for a person.
        """
        left = self._rules.max_calls - len(self._traces)
        read = self._round = self._read(calls, number, cut=cut)
        for call, key in zip(read, self._keys, strict=False):
            call.execution.key = key or call.execution.key
        self._keys = ()
        # First all questions, then all runs: no tool's time passes while a person is asked.
        for place, call in enumerate(read):
            self._prepare(call, track, allowed=place < left)
        await self._ask(read)
        failures: list[StoreError] = []

        async def execute(call: ReadCall) -> None:
            try:
                await self._execute(call)
            except StoreError as error:
                failures.append(error)

        async with open_task_group() as group:
            for call in read:
                if call.may_run:
                    group.start_soon(execute, call)
        if failures:
            raise failures[0]
        return [self._conclude(call, show_private=show_private) for call in read]

    def _read(self, calls: Sequence[ToolCall], number: int, *, cut: bool = False) -> list[ReadCall]:
        """Resolve the tool and the arguments of each call."""
        read, equal = [], Counter[str]()
        for place, given in enumerate(calls, start=1):
            call = ReadCall(given, number, self._tools.get(given.name))
            if given.name == READ_RESULT and call.offered is None and not self._pages.is_empty:
                call.offered = self._reader
            if given.name == FIND_TOOLS.name and call.offered is None:
                call.offered = self._finder
            if call.offered is None:
                call.wrong = self._desk.registry.unknown(given.name).text
            elif cut and place == len(calls) and not given.arguments.strip():
                call.wrong = "the answer was cut off before the arguments of this call"
            else:
                self._read_arguments(call, call.offered)
            digest = call.place[1]
            call.place = (number, digest, equal[digest])
            equal[digest] += 1
            read.append(call)
        return read

    def _read_arguments(self, call: ReadCall, offered: OfferedTool) -> None:
        try:
            call.arguments = read_arguments(call.call.arguments, offered.tool.parameters)
            call.text = canonical(call.arguments)
        except ToolError as error:
            call.wrong = str(error)
            return
        call.place = (0, digest_of(offered.toolset, offered.tool, call.text), 0)

    def _decide(self, call: ReadCall) -> Decision:
        assert call.offered is not None  # noqa: S101 - only valid calls are decided
        decision = self._rules.permissions.decide(
            call.offered,
            call.arguments,
            private_turn=self._holds_private,
            after_untrusted=self._after_untrusted,
        )
        if decision.verdict == "deny":
            return decision
        if call.offered.tool.asks_person:
            return QUESTION
        same = (call.offered.toolset, call.offered.tool.name, call.text)
        return REPEATS_WITHHELD if same in self._withheld else decision

    def _prepare(self, call: ReadCall, track: str, *, allowed: bool) -> None:
        """Find out what the rules say of a call; what is not valid ends here, with the reason."""
        begun = self._executions.get(call.place) if not call.wrong else None
        call.shared = begun is not None
        call.execution = begun or call.execution
        call.execution.is_counted = True
        private, at_s = self._holds_private, self._clock.now()
        self._emit(requested_event(call, track, at_s, private=private))
        if call.wrong or not (allowed or call.shared):
            self._refuse(call, call.execution, allowed=allowed)
        elif self._is_own(call):
            call.may_run = True
        else:
            call.decision = self._decide(call)

    async def _ask(self, read: Sequence[ReadCall]) -> None:
        """Ask a person where the rules say so, and end the calls that may not run."""
        ruled = [call for call in read if call.decision is not None]
        held = [
            held_call(call, private=self._holds_private)
            for call in ruled
            if call.decision and call.decision.verdict == "ask"
        ]
        answers = await self._asking.decide(held)
        with store_waits_until(self._clock.ends_at, moved=True):  # by the person's answers
            for call in ruled:
                await self._heed(call, answers.get(call.execution.key))

    async def _heed(self, call: ReadCall, answer: Approval | None) -> None:
        """Let a call run, or end it, as the rules and a person say."""
        offered, decision = call.offered, call.decision
        assert offered is not None and decision is not None  # noqa: S101, PT018 - it is ruled on
        if answer is not None and answer.approved and offered.tool.asks_person:
            await self._keep_answer(call, offered, answer.answer)
        elif answer.approved if answer else decision.verdict == "allow":
            call.may_run = True
        else:
            why = answer.reason if answer else f"Denied by the rule {call.rule!r}."
            await self._deny(call, offered, why)

    async def _keep_answer(self, call: ReadCall, offered: OfferedTool, text: str) -> None:
        execution = call.execution
        execution.state, execution.result = "finished", result_of(text)
        await record_answer(self._desk, self._record_of(call, offered, execution), text)

    async def _deny(self, call: ReadCall, offered: OfferedTool, why: str) -> None:
        execution = call.execution
        execution.state, execution.result = "denied", ToolResult(why, is_error=True)
        await record_denial(self._desk, self._record_of(call, offered, execution))

    def _refuse(self, call: ReadCall, execution: Execution, *, allowed: bool) -> None:
        """End a call that is not valid, or one too many, without running it."""
        execution.state, why = "refused", call.wrong
        if not allowed:
            why = f"Not run: the limit of {self._rules.max_calls} calls is reached."
        else:
            self._wrong[call.call.name] += 1
            if self._wrong[call.call.name] > MOST_CORRECTIONS:
                why += " It was called wrongly too often: do not call it again."
        execution.result = ToolResult(why, is_error=True)

    async def _execute(self, call: ReadCall) -> None:
        """Run an allowed call, or wait for the equal one that runs already."""
        self._start(call)
        await call.execution.ended.wait()
        if call.execution.error:
            raise call.execution.error

    def _start(self, call: ReadCall) -> None:
        """Begin the run of a call, unless an equal one has begun before."""
        if call.place not in self._executions:
            self._executions[call.place] = call.execution
            assert self._tasks is not None  # noqa: S101 - the runner is open
            self._tasks.start_soon(self._run, call, call.execution, name=call.call.name)

    async def _run(self, call: ReadCall, execution: Execution) -> None:
        """Run a tool, between two entries in the journal."""
        assert call.offered is not None  # noqa: S101 - only valid calls run
        try:
            if self._is_own(call):
                await self._run_own(call, execution)
            elif call.offered.tool.effect == "read":
                await self._run_recorded(call, call.offered, execution)
            else:
                async with self._writing:
                    await self._run_recorded(call, call.offered, execution)
        except StoreError as error:
            execution.error = error
        finally:
            execution.state = "cancelled" if execution.state == "running" else execution.state
            execution.ended.set()

    def _is_own(self, call: ReadCall) -> bool:
        """Whether the call is of a tool of vanta's own, which needs no permission and no record."""
        return call.offered is not None and call.offered in (self._reader, self._finder)

    async def _run_own(self, call: ReadCall, execution: Execution) -> None:
        try:
            if call.offered is self._finder and self.recall is not None:
                execution.result = await self.recall.find(str(call.arguments.get("query", "")))
            else:
                arguments = call.arguments
                execution.result = await self._pages.call(READ_RESULT, arguments, ToolContext())
        except ToolError as error:
            execution.result = ToolResult(str(error), is_error=True)
        execution.state = "failed" if execution.result.is_error else "finished"

    async def _run_recorded(
        self, call: ReadCall, offered: OfferedTool, execution: Execution
    ) -> None:
        record = self._record_of(call, offered, execution)
        ended = await run_with_questions(self._asking, record, offered, call.arguments)
        execution.result, execution.state = ended.result, ended.state
        execution.took_s, execution.cost_usd = ended.took_s, ended.cost_usd

    def _record_of(self, call: ReadCall, offered: OfferedTool, execution: Execution) -> CallRecord:
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
            private=self._holds_private,
            reason=call.rule,
        )

    def _conclude(self, call: ReadCall, *, show_private: bool) -> Message:
        """Record how a call ended, and write what the model reads."""
        execution, offered = call.execution, call.offered
        text, images = WITHHELD, call.execution.result.images[:0]
        if show_private or not execution.result.private:
            self.saw_private = self.saw_private or execution.result.private
            text, images = self._written(call), execution.result.images
        was_run = execution.state not in ("refused", "denied")  # an error is others' text, too
        if offered is not None and offered.tool.untrusted and was_run:
            self._after_untrusted = True
        self._traces.append(trace_of(call))
        self._emit(
            CallFinished(
                at_s=self._clock.now(),
                key=execution.key,
                call_id=call.call.id,
                tool=call.call.name,
                state=execution.state,
                text=text,
                took_s=execution.took_s,
                private=self._holds_private,
            )
        )
        return Message("tool", text, tool_call_id=call.call.id, images=images)

    def _written(self, call: ReadCall) -> str:
        """Return a result as the model reads it, and keep what is too long for later pages."""
        result, offered = call.execution.result, call.offered
        if offered is not None and offered is self._reader:  # a page is not cut once more
            return write_result(result, 2 * self._rules.max_result_tokens, self._rules.count)
        limit = offered.tool.max_result_tokens if offered else None
        return self._pages.show(f"r{len(self._traces) + 1}", result, limit)
