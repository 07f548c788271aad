"""A running turn as its caller sees it: its events, and the text to display.

Invariant: the text to display is right after every event, whatever the policy: under a takeover, a
restart and an amendment; its last state is the text of the reply.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from vanta.events import Amended, Event, Takeover, TextDelta, TurnFinished
from vanta.runtime.turns.turn_tasks import RunningTurn
from vanta.trace import Reply


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
        return None


def shown_text(text: str, appended: str | None) -> ShownText:
    """Return `text` as a `ShownText`."""
    shown = ShownText(text)
    shown.appended = appended
    return shown


NOTHING_SHOWN = shown_text("", "")
"""The text at the beginning of a turn."""


class TurnStream:
    """The events of a running turn, in order; iterate it, or its `text()`, to the end.

    Iterating raises what the turn raises (AllTracksFailed, NoTrack, StoreError), after the events
    that came before. Afterwards `reply` is the reply.
    """

    def __init__(self, receive: MemoryObjectReceiveStream[Event], running: RunningTurn) -> None:
        self._receive = receive
        self._running = running
        self._reply: Reply | None = None

    @property
    def reply(self) -> Reply:
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

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        try:
            item = await self._receive.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            self._running.raise_error()
            raise StopAsyncIteration from None
        if isinstance(item, TurnFinished):
            self._reply = item.reply
        return item


class _Texts:
    """The texts of a turn; not a generator, so that leaving the loop early needs no clean-up."""

    def __init__(self, turn: TurnStream) -> None:
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
