"""A running turn as its caller sees it: its events, and the text to display.

Invariant: the text to display is right after every event, whatever the policy: under a takeover, a
restart and an amendment; its last state is the text of the reply.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Generic, Protocol

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from vanta.concurrency import INTERRUPTS
from vanta.errors import InvalidValue, UsageError
from vanta.events import (
    Amended,
    ApprovalRequested,
    Event,
    Observer,
    QuestionAsked,
    RoundStarted,
    Takeover,
    TextDelta,
    TurnFinished,
    TurnResumed,
)
from vanta.runtime.turns.turn import Turn
from vanta.runtime.turns.turn_tasks import RunningTurn, TurnTasks
from vanta.tools import Approval, Questions
from vanta.tools.turn_rules import ApprovalScope
from vanta.trace import OutputT, Reply

CallName = str | ApprovalRequested | QuestionAsked
"""A call that waits for a person: the event that asked, or the call's key."""


class ShownText(str):
    """The whole text that a user should see at one moment of a turn.

    :ivar appended: the part at the end that the previous text of this turn did not have; None if
        this text replaces the previous one (a restart or an amendment), so that a display that
        only appends must start anew.
    """

    __slots__ = ("appended",)

    appended: str | None

    def after(self, event: Event) -> ShownText | None:
        """Return the text to show after `event`; None if the event does not change it.

        :param event: the next event of the turn.
        """
        if isinstance(event, TextDelta):
            return shown_text(self + event.text, event.text)
        if isinstance(event, Amended):
            return shown_text(event.text, None)
        if isinstance(event, Takeover) and event.restarts:
            return shown_text("", None)
        if isinstance(event, TurnResumed) and event.text:
            return shown_text(event.text, event.text)
        return None


def shown_text(text: str, appended: str | None) -> ShownText:
    """Return `text` as a `ShownText`."""
    shown = ShownText(text)
    shown.appended = appended
    return shown


NOTHING_SHOWN = shown_text("", "")
"""The text at the beginning of a turn."""


class PartialReader(Protocol):
    """Reads the value of an unfinished typed answer."""

    def partial(self, text: str) -> Any:
        """Return what a text has of the value so far, as JSON; None for nothing."""
        ...


class TurnStream(Generic[OutputT]):
    """The events of a running turn, in order; iterate it, its `text()` or its `objects()`.

    Iterating raises what the turn raises (AllTracksFailed, NoTrack, StoreError), after the events
    that came before. Afterwards `reply` is the reply.

    A call that asks comes as `ApprovalRequested`, a question as `QuestionAsked`; `approve`, `deny`
    and `answer` decide. Without a handler (`vanta.open(approve=...)`) a call that is not decided
    before the next event is taken is denied, unless the turn has `approvals="wait"`.
    """

    def __init__(
        self,
        receive: MemoryObjectReceiveStream[Event],
        running: RunningTurn,
        questions: Questions,
        form: PartialReader | None = None,
    ) -> None:
        self._receive = receive
        self._running = running
        self._questions = questions
        questions.streamed = True
        self._form = form
        self._reply: Reply[OutputT] | None = None

    @property
    def reply(self) -> Reply[OutputT]:
        """The reply.

        :raises RuntimeError: if the turn is not iterated to its end yet.
        """
        if self._reply is None:
            raise RuntimeError("the turn has no reply yet: iterate its events to the end first")
        return self._reply

    def text(self) -> AsyncIterator[ShownText]:
        """Iterate over the whole text to show, each time that it changes.

        Every item is complete, so showing the last one is always right: `async for text in
        turn.text(): show(text)`. A display that only appends writes `text.appended`, and begins a
        new line with `text` where `appended` is None. Takes the events: iterate either this or the
        turn itself.

        :raises VantaError: what the turn raises.
        """
        return _Texts(self)

    def objects(self) -> AsyncIterator[Any]:
        """Iterate over the value of a typed answer as it grows, as JSON, each time that it changes.

        Every item is the whole value so far, so showing the last one is always right; None means
        that what was shown is withdrawn (a restart). The last item is `reply.output` as JSON. Takes
        the events: iterate either this or the turn itself.

        :raises UsageError: if the turn was started without `output`.
        :raises VantaError: what the turn raises.
        """
        if self._form is None:
            raise UsageError("the turn has no typed answer: pass 'output' to 'stream'.")
        return _Objects(self, self._form)

    async def approve(self, call: CallName, scope: ApprovalScope = "once") -> None:
        """Approve a call that waits: it runs.

        :param call: the event that asked, or the call's key.
        :param scope: for how long the approval counts: `once`, for the `session`, or `always`,
            until it is revoked.
        :raises ApprovalError: if the call does not wait, was decided before, or has changed.
        :raises InvalidValue: for another scope.
        """
        self._questions.decide(call, Approval(approved=True, scope=scope))

    async def deny(self, call: CallName, reason: str = "") -> None:
        """Deny a call that waits, or decline to answer a question; the model reads it.

        :param call: the event that asked, or the call's key.
        :param reason: why, for the model.
        :raises ApprovalError: if the call does not wait, was decided before, or has changed.
        """
        self._questions.decide(call, Approval(approved=False, reason=reason))

    async def answer(self, call: CallName, text: str) -> None:
        """Answer a question that the model asks.

        :param call: the event that asked, or the call's key.
        :param text: the answer.
        :raises ApprovalError: if the call does not wait, was decided before, or is not a question.
        :raises InvalidValue: for an empty answer.
        """
        if not text.strip():
            raise InvalidValue("an answer is a text that is not empty; deny the question otherwise")
        self._questions.decide(call, Approval(approved=True, answer=text))

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        if not self._receive.statistics().current_buffer_used:
            self._questions.pass_over()
        try:
            item = await self._receive.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            self._running.raise_error()
            raise StopAsyncIteration from None
        if isinstance(item, TurnFinished):
            self._reply = item.reply
        return item


class _Objects:
    """The values of a typed answer; they begin anew with each round."""

    def __init__(self, turn: TurnStream[Any], form: PartialReader) -> None:
        self._turn = turn
        self._form = form
        self._shown = NOTHING_SHOWN
        self._before = 0
        self._value: Any = None

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        async for event in self._turn:
            value = self._after(event)
            if value != self._value:
                self._value = value
                return value
        raise StopAsyncIteration

    def _after(self, event: Event) -> Any:
        """Return the value after `event`."""
        if isinstance(event, TurnFinished):
            return event.reply.to_dict().get("output")
        if isinstance(event, RoundStarted):
            self._before = len(self._shown)
        shown = self._shown.after(event)
        if shown is None:
            return self._value
        self._shown = shown
        return self._form.partial(shown[self._before :])


class _Texts:
    """The texts of a turn; not a generator, so that leaving the loop early needs no clean-up."""

    def __init__(self, turn: TurnStream[Any]) -> None:
        self._turn = turn
        self._shown = NOTHING_SHOWN

    def __aiter__(self) -> AsyncIterator[ShownText]:
        return self

    async def __anext__(self) -> ShownText:
        async for event in self._turn:
            shown = self._shown.after(event)
            if shown is not None:
                self._shown = shown
                return shown
        raise StopAsyncIteration


@asynccontextmanager
async def streamed(
    tasks: TurnTasks, observe: Observer, begin: Callable[[Observer], Awaitable[Turn]]
) -> AsyncIterator[TurnStream]:
    """Run a turn and yield its stream; leaving the context stops the turn.

    :param tasks: the task group of the runtime's turns.
    :param observe: is called with each event, too.
    :param begin: makes the turn, with the function that it passes its events to.
    """
    send, receive = anyio.create_memory_object_stream[Event](float("inf"))

    def emit(event: Event) -> None:
        observe(event)
        # The reader may have left from a task that was cancelled once more.
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            send.send_nowait(event)

    with send, receive:
        turn = await begin(emit)
        running = tasks.start(turn.run, on_end=send.close)
        try:
            yield TurnStream(receive, running, turn.questions, turn.form)
        finally:
            await running.stop()
        running.raise_error(*INTERRUPTS)
