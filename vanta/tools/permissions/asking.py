"""Asks a person about calls that a rule holds back, unless an earlier approval covers them.

Before the first question is put, the turn is parked: it outlives its process. Once all questions
are answered it is taken out of the store, and only then may a call run.

Invariant: only an answer that says so runs a call: True, or an `Approval`, for the very call that
was shown. A handler that raises, is cancelled or answers anything else denies it, and never leaves
the call without an end.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import anyio

from vanta.concurrency import open_task_group
from vanta.errors import StoreError
from vanta.events import ApprovalRequested, Event, QuestionAsked
from vanta.storage import store_waits_until
from vanta.tools.call_state import ReadCall
from vanta.tools.journal.recorded import CallDesk
from vanta.tools.permissions.parked_turns import (
    HOLD_S,
    ApprovalError,
    ApprovalPending,
    ParkedCall,
)
from vanta.tools.permissions.permissions import Decision
from vanta.tools.permissions.questions import NO_ANSWER, OpenQuestion, Questions
from vanta.tools.registry import OfferedTool, Returned, outcome_of
from vanta.tools.turn_rules import (
    Approval,
    ApprovalHandler,
    ApprovalRequest,
    ApprovalScope,
    Caller,
    TurnClock,
)

WATCH_S = 0.5
"""Seconds between two looks whether another process has answered."""

STORE_WAIT_S = 5.0
"""Seconds that the store may take while a person is asked, and the turn's deadline stands still."""

_log = logging.getLogger("vanta")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldCall:
    """A call that a rule holds back.

    :param key: the call's key in the journal.
    :param offered: its tool.
    :param arguments: its arguments, valid under the tool's schema.
    :param text: the same as canonical JSON.
    :param digest: the digest of tool and arguments.
    :param decision: the rule that holds the call back.
    :param private: whether its text must not leave this machine.
    """

    key: str
    offered: OfferedTool
    arguments: Mapping[str, Any]
    text: str
    digest: str
    decision: Decision
    private: bool = False

    @property
    def question(self) -> str:
        """The question to a person, if the call is one."""
        if not self.offered.tool.asks_person:
            return ""
        return str(self.arguments.get("question", "")) or self.text

    @property
    def choices(self) -> tuple[str, ...]:
        """The answers that a question proposes."""
        given = self.arguments.get("choices")
        return tuple(map(str, given)) if self.question and isinstance(given, list) else ()


def held_call(call: ReadCall, *, private: bool) -> HeldCall:
    """Return a call that a rule holds back.

    :param call: the call, with the decision of the rules.
    :param private: whether its text must not leave this machine.
    """
    assert call.offered is not None and call.decision is not None  # noqa: S101, PT018 - it is held
    return HeldCall(
        key=call.execution.key,
        offered=call.offered,
        arguments=call.arguments,
        text=call.text,
        digest=call.place[1],
        decision=call.decision,
        private=private,
    )


@dataclass(frozen=True, slots=True)
class Asking:
    """Asks about the calls of one turn, one at a time.

    :param desk: keeps approvals that count for longer than one call.
    :param caller: whose turn it is.
    :param questions: who may answer.
    :param clock: the turn's clock, which stands still meanwhile.
    :param emit: called with each event.
    """

    desk: CallDesk
    caller: Caller
    questions: Questions
    clock: TurnClock
    emit: Callable[[Event], None]
    one_by_one: anyio.Lock = field(default_factory=anyio.Lock)

    async def decide(self, held: Sequence[HeldCall]) -> Mapping[str, Approval]:
        """Return what a person decided about each call, before or now, by key.

        :param held: the calls of a round that rules hold back.
        :raises ApprovalPending: if the turn was parked, to be resumed later.
        :raises ApprovalError: if the turn was removed meanwhile, as with its conversation.
        :raises StoreError: if approvals cannot be read or stored.
        """
        earlier = await self._earlier()
        known = [(call, await self._known(call, earlier.get(call.key))) for call in held]
        answers = {call.key: answer for call, answer in known if answer}
        waiting = [call for call in held if call.key not in answers]
        asks = self.questions.can_ask or self._must_wait(waiting)
        if waiting and asks:
            await self._park(held, answers, earlier)
        for call in waiting:
            answers[call.key] = await self._decide(call) if asks else _no_one(call)
        if self.questions.is_parked:
            await self._take()
        return answers

    async def put(self, call: HeldCall) -> Approval:
        """Put a question of a tool while it runs; its turn is not parked meanwhile.

        :param call: the call with the question, and the key of the question.
        """
        async with self.one_by_one:
            return await self._decide(call) if self.questions.can_ask else _no_one(call)

    def _must_wait(self, waiting: Sequence[HeldCall]) -> bool:
        """Whether no one can be asked here about a call for which its turn was parked."""
        return any(call.key in self.questions.earlier for call in waiting)

    async def _earlier(self) -> Mapping[str, ParkedCall]:
        """Return the calls for which the turn was parked, with what was decided by now."""
        parking = self.questions.parking
        if parking is None or not self.questions.is_parked:
            return {}
        with self._store_waits():
            earlier = await parking.answers()
        if earlier is None:
            raise self._removed()
        return earlier

    async def _known(self, call: HeldCall, earlier: ParkedCall | None) -> Approval | None:
        """Return the decision that was made before: about this very call, or about its tool."""
        shown = (call.digest, call.decision.rule)
        if earlier and earlier.answer and (earlier.digest, earlier.why) == shown:
            answer = _approval_of(earlier)
            await self._remember(call, answer)
            return answer if answer.approved else _denied(answer)
        return await self._standing(call)

    async def _standing(self, call: HeldCall) -> Approval | None:
        if call.decision.only_this_call:
            return None
        caller = self.caller
        with self._store_waits():
            standing = await self.desk.approvals.covering(
                call.offered, call.arguments, user=caller.user, session=caller.session
            )
        return Approval(approved=True) if standing else None

    async def _remember(self, call: HeldCall, answer: Approval) -> None:
        """Store an approval that counts for longer than this call."""
        if answer.approved and answer.scope != "once" and not call.decision.only_this_call:
            session = self.caller.session if answer.scope == "session" else None
            with self._store_waits():
                await self.desk.approvals.add(call.offered, user=self.caller.user, session=session)

    async def _park(
        self,
        held: Sequence[HeldCall],
        answers: Mapping[str, Approval],
        earlier: Mapping[str, ParkedCall],
    ) -> None:
        """Keep the turn in the store, and end it there if no one is to wait for an answer."""
        questions = self.questions
        if questions.parking is None:
            return
        calls = [self._row(call, answers.get(call.key), earlier.get(call.key)) for call in held]
        with self._store_waits():
            await questions.parking.park(calls)
        questions.is_parked = True
        if questions.parks or not questions.can_ask:
            raise ApprovalPending(self.caller.turn, [call.key for call in calls if not call.answer])

    def _row(
        self, call: HeldCall, answer: Approval | None = None, earlier: ParkedCall | None = None
    ) -> ParkedCall:
        earlier = earlier if answer else None
        return ParkedCall(
            key=call.key,
            turn=self.caller.turn,
            toolset=call.offered.toolset,
            tool=call.offered.tool.name,
            effect=call.offered.tool.effect,
            arguments=call.text,
            digest=call.digest,
            why=call.decision.rule,
            is_question=bool(call.question),
            answer=earlier.answer if earlier else "approved" if answer else "",
            scope=earlier.scope if earlier else "once" if answer else "",
            text=earlier.text if earlier else "",
            decided_at=earlier.decided_at if earlier else None,
        )

    async def _take(self) -> None:
        parking = self.questions.parking
        assert parking is not None  # noqa: S101 - only a turn that is kept is parked
        with self._store_waits():
            if not await parking.take():
                raise self._removed()
        self.questions.is_parked = False

    async def _decide(self, call: HeldCall) -> Approval:
        """Put one question, and wait for its answer."""
        if standing := await self._standing(call):  # an answer before this one may cover it
            return standing
        earlier = (await self._earlier()).get(call.key)
        if earlier and (known := await self._known(call, earlier)):
            return known
        question = self.questions.open(self._row(call))
        self.emit(self._event(call))
        began_at = anyio.current_time()
        try:
            await self._wait(call, question)
        finally:
            self.clock.pause(anyio.current_time() - began_at)
            self.questions.close(question)
        if not question.by_person:
            return question.answer if question.answer.reason else _no_one(call)
        answer = await self._first(question)
        await self._remember(call, answer)
        return answer if answer.approved else _denied(answer)

    async def _wait(self, call: HeldCall, question: OpenQuestion) -> None:
        async with open_task_group() as tasks:
            if self.questions.ask:
                tasks.start_soon(self._ask_handler, call, question, self.questions.ask)
            if self.questions.is_parked:
                tasks.start_soon(self._watch_store, question)
            await question.decided.wait()
            tasks.cancel_scope.cancel()

    async def _first(self, question: OpenQuestion) -> Approval:
        """Record an answer, and return the one that counts: another process may have been first."""
        parking = self.questions.parking
        if parking is None or not self.questions.is_parked:
            return question.answer
        with self._store_waits():
            try:
                await parking.decide(question.call.key, question.answer)
            except ApprovalError:
                answers = await parking.answers()
                if answers is None:
                    raise self._removed() from None
                return _approval_of(answers[question.call.key])
        return question.answer

    def _event(self, call: HeldCall) -> Event:
        now = self.clock.now()
        if call.question:
            return QuestionAsked(
                at_s=now,
                key=call.key,
                question=call.question,
                choices=call.choices,
                private=call.private,
            )
        return ApprovalRequested(
            at_s=now,
            key=call.key,
            tool=call.offered.identity,
            arguments=call.text,
            why=call.decision.rule,
            private=call.private,
        )

    async def _ask_handler(
        self, call: HeldCall, question: OpenQuestion, ask: ApprovalHandler
    ) -> None:
        request = self._request(call)
        answer = await outcome_of(lambda: ask(request), math.inf)
        name = call.offered.identity
        if not isinstance(answer, Returned):
            # What a handler raises or returns may quote the arguments, which stay out of logs.
            _log.warning("the approval handler failed on %r: %s", name, type(answer).__name__)
            why = "Not run: the question could not be asked."
            question.settle(Approval(approved=False, reason=why), by_person=False)
            return
        read = _read(answer.value, call)
        if read is None:
            kind = type(answer.value).__name__
            _log.warning("the approval handler returned a %s about %r", kind, name)
        question.settle(read or NO_ANSWER)

    def _request(self, call: HeldCall) -> ApprovalRequest:
        return ApprovalRequest(
            key=call.key,
            turn=self.caller.turn,
            user=self.caller.user,
            session=self.caller.session,
            toolset=call.offered.toolset,
            tool=call.offered.tool.name,
            description=call.offered.tool.description,
            arguments=call.arguments,
            effect=call.offered.tool.effect,
            why=call.decision.rule,
            question=call.question,
            choices=call.choices,
        )

    async def _watch_store(self, question: OpenQuestion) -> None:
        """Look from time to time whether another process has answered, or removed the turn."""
        parking, renewed_at = self.questions.parking, anyio.current_time()
        assert parking is not None  # noqa: S101 - only a turn that is kept is watched
        while True:
            await anyio.sleep(WATCH_S)
            renew = anyio.current_time() - renewed_at > HOLD_S / 3
            try:
                with self._store_waits():
                    answers = await parking.answers(renew=renew)
            except StoreError as error:
                _log.info("whether a call was approved elsewhere is not known: %s", error)
                continue
            renewed_at = anyio.current_time() if renew else renewed_at
            if answers is None:
                raise self._removed()
            row = answers.get(question.call.key)
            if row is not None and row.answer:
                question.settle(_approval_of(row))

    def _removed(self) -> ApprovalError:
        self.questions.is_parked = False
        return ApprovalError(
            f"turn {self.caller.turn!r} was removed from the store while it waited for a person, "
            "as with its conversation: none of its calls has run. Send the message again."
        )

    def _store_waits(self) -> Any:
        return store_waits_until(anyio.current_time() + STORE_WAIT_S, moved=True)


def _read(value: Any, call: HeldCall) -> Approval | None:
    """Return what a handler answered; None if it is not an answer to this call."""
    if call.question:
        if isinstance(value, Approval):
            return value if value.answer or not value.approved else None
        if isinstance(value, str) and value:
            return Approval(approved=True, answer=value)
        if isinstance(value, bool) and not (value and call.choices):
            return Approval(approved=value, answer="yes" if value else "")
        return None
    if isinstance(value, Approval):
        return None if value.answer else value
    return Approval(approved=value) if isinstance(value, bool) else None


def _approval_of(row: ParkedCall) -> Approval:
    """Return the decision that the store has about a call."""
    approved = row.answer in ("approved", "answered")
    answer = row.text if row.answer == "answered" else ""
    scope = cast("ApprovalScope", row.scope or "once")
    return Approval(approved, scope, reason="" if approved else row.text, answer=answer)


def _denied(answer: Approval) -> Approval:
    return Approval(approved=False, reason=f"A person denied it. {answer.reason}".strip())


def _no_one(call: HeldCall) -> Approval:
    """Return the answer of a turn in which no one can be asked."""
    if call.question:
        why = "Not asked: no one is here to answer. Go on without an answer, or state what is open."
    else:
        rule = call.decision.rule
        why = f"Not run: it needs a person's approval ({rule}), and none is here."
    return Approval(approved=False, reason=why)
