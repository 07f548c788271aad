"""The open questions of one turn, and those who may answer them.

A question is put to the handler of `vanta.open(approve=...)`, to the program that iterates the
turn's stream, and, through the store, to any other process; the first answer counts. Without a
handler, a program that takes the next event of its stream without having decided denies the call:
so a program that knows nothing of approvals is never held up.

Invariant: a question is decided once. What comes later is an `ApprovalError`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import anyio

from vanta.events import ApprovalRequested, QuestionAsked
from vanta.tools.permissions.parked_turns import ApprovalError, ParkedCall
from vanta.tools.turn_rules import Approval, ApprovalHandler

ApprovalMode = Literal["deny", "wait", "park"]
"""What a turn does with calls that ask: deny them, wait for an answer from wherever it comes, or
end and be resumed later."""

NO_ANSWER = Approval(approved=False)


class Parking(Protocol):
    """Keeps one turn in the store while a person is asked."""

    async def park(self, calls: Sequence[ParkedCall]) -> None:
        """Keep the turn with its questions, durably."""
        ...

    async def answers(self, *, renew: bool = False) -> Mapping[str, ParkedCall] | None:
        """Return what was decided so far; None if the turn was removed."""
        ...

    async def decide(self, key: str, answer: Approval) -> ParkedCall:
        """Record a decision. Raises ApprovalError if there is one."""
        ...

    async def take(self) -> bool:
        """Remove the turn before its calls run; False if it was removed."""
        ...

    async def release(self) -> None:
        """Let another process resume the turn."""
        ...


class OpenQuestion:
    """A question that waits for its answer.

    :param call: the call as the person is shown it.
    :ivar answer: the answer, once `decided` is set.
    :ivar by_person: whether a person gave it.
    """

    def __init__(self, call: ParkedCall) -> None:
        self.call = call
        self.decided = anyio.Event()
        self.answer = NO_ANSWER
        self.by_person = False

    def settle(self, answer: Approval, *, by_person: bool = True) -> None:
        """Answer the question, if it has no answer yet.

        :param answer: the answer.
        :param by_person: whether a person gave it.
        """
        if not self.decided.is_set():
            self.answer, self.by_person = answer, by_person
            self.decided.set()


class Questions:
    """Who is asked in one turn, and what is open.

    :param turn: the turn's id.
    :param ask: the handler that asks a person; None without one.
    :param mode: what the caller chose; None asks the handler and the stream.
    :param parking: keeps the turn in the store; None if it is not kept.
    :param earlier: the calls of a turn that is resumed, by key.
    :ivar streamed: whether a program iterates the events of the turn, and may answer.
    :ivar is_parked: whether the store has the turn.
    """

    def __init__(
        self,
        turn: str = "",
        *,
        ask: ApprovalHandler | None = None,
        mode: ApprovalMode | None = None,
        parking: Parking | None = None,
        earlier: Mapping[str, ParkedCall] | None = None,
    ) -> None:
        self.turn = turn
        self.ask = ask if mode in (None, "wait") else None
        self.mode = mode
        self.parking = parking
        self.earlier = earlier or {}
        self.streamed = False
        self.is_parked = earlier is not None
        self._open: dict[str, OpenQuestion] = {}
        self._answered: dict[str, str] = {}

    @property
    def is_resumed(self) -> bool:
        """Whether the turn was parked before it began here."""
        return bool(self.earlier)

    @property
    def parks(self) -> bool:
        """Whether the turn ends at a question, to be resumed later."""
        return self.mode == "park" and self.parking is not None

    @property
    def can_ask(self) -> bool:
        """Whether a question could be answered at all."""
        if self.mode == "deny":
            return False
        waits = self.mode == "wait" and self.parking is not None
        return self.ask is not None or self.streamed or waits or self.parks

    def open(self, call: ParkedCall) -> OpenQuestion:
        """Open a question.

        :param call: the call as the person is shown it.
        """
        question = self._open[call.key] = OpenQuestion(call)
        return question

    def close(self, question: OpenQuestion) -> None:
        """Close a question, answered or not.

        :param question: the question.
        """
        self._open.pop(question.call.key, None)
        if question.decided.is_set():
            how = "approved" if question.answer.approved else "denied"
            self._answered[question.call.key] = "answered" if question.answer.answer else how

    def pass_over(self) -> None:
        """Deny what no one decides: the program went on without an answer, and is the only one."""
        if self.ask is None and self.mode is None:
            for question in self._open.values():
                question.settle(NO_ANSWER, by_person=False)

    def decide(self, call: str | ApprovalRequested | QuestionAsked, answer: Approval) -> None:
        """Answer an open question of this turn.

        :param call: the event that asked, or the call's key.
        :param answer: the answer.
        :raises ApprovalError: if the call does not wait, is decided, has changed, or is answered
            in the wrong way.
        """
        question = self._find(call)
        if question.decided.is_set():
            self._answered[question.call.key] = "approved" if question.answer.approved else "denied"
            raise self._no_question(question.call.key)
        is_question, key = question.call.is_question, question.call.key
        if is_question and answer.approved and not answer.answer:
            raise ApprovalError(f"call {key!r} is a question: answer it in words, or deny it.")
        if not is_question and answer.answer:
            raise ApprovalError(f"call {key!r} is not a question: approve or deny it.")
        question.settle(answer)

    def _find(self, call: str | ApprovalRequested | QuestionAsked) -> OpenQuestion:
        key = call if isinstance(call, str) else getattr(call, "key", None)
        if not isinstance(key, str):
            raise ApprovalError(
                f"{call!r} is not a call: pass the event that asked for it, or its key."
            )
        question = self._open.get(key)
        if question is None:
            raise self._no_question(key)
        shown = question.call
        if isinstance(call, ApprovalRequested) and (
            (call.tool, call.arguments) != (shown.name, shown.arguments)
        ):
            raise ApprovalError(
                f"call {key!r} has changed: it is {shown.name!r} with {shown.arguments}, not what "
                "this event shows. Decide about the event of this turn."
            )
        return question

    def _no_question(self, key: str) -> ApprovalError:
        if key in self._answered:
            return ApprovalError(f"call {key!r} is {self._answered[key]} already.")
        if self._open:
            waiting = ", ".join(map(repr, self._open))
            return ApprovalError(f"no call {key!r} of this turn waits; these do: {waiting}.")
        if self.is_parked:
            return ApprovalError(
                f"turn {self.turn!r} has stopped, and call {key!r} waits in the store: decide with "
                "Runtime.parked, then call Runtime.resume."
            )
        return ApprovalError(f"no call {key!r} of turn {self.turn!r} waits for a person.")
