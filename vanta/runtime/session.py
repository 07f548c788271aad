"""A session: one conversation with one user.

Invariant: the turns of a session run one after another, in the order in which they were asked;
every other session is independent. Its history survives a restart.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from vanta.engine import Sampling
from vanta.errors import VantaError
from vanta.events import Event, Reply, TurnFinished
from vanta.messages import Message
from vanta.runtime.turn import Conversation, Emit, Turn, TurnSettings
from vanta.scheduling.policy import Policy
from vanta.storage.transcripts import Store


class TurnRules(Protocol):
    """What a runtime gives its sessions: the rules of a turn, and who watches it."""

    async def refresh(self) -> None:
        """Bring the rules up to date before a turn. Callers go on in the order they came in."""
        ...

    def settings(
        self,
        *,
        text: str,
        user: str,
        policy: str | Policy | None,
        track: str | None,
        deadline_s: float | None,
        private: bool,
        sampling: Sampling | None,
    ) -> TurnSettings:
        """The settings of one turn. Raises UnknownName, ConfigError, TemplateError."""
        ...

    def observe(self, event: Event) -> None:
        """Show an event to the observers; never raises."""
        ...


class TurnStream:
    """The events of a running turn, in order. Iterate it; then `reply` is there.

    Iterating raises what the turn raises (AllTracksFailed, NoTrack, StoreError), after the events
    that came before.
    """

    def __init__(self, receive: MemoryObjectReceiveStream[Event | VantaError]) -> None:
        self._receive = receive
        self._reply: Reply | None = None

    @property
    def reply(self) -> Reply:
        """The reply. Raises RuntimeError before `TurnFinished` has come."""
        if self._reply is None:
            raise RuntimeError("the turn has no reply yet: iterate its events to the end first")
        return self._reply

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        try:
            item = await self._receive.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            raise StopAsyncIteration from None
        if isinstance(item, VantaError):
            raise item
        if isinstance(item, TurnFinished):
            self._reply = item.reply
        return item


class Session:
    """One conversation. Make it with `Runtime.session`."""

    def __init__(
        self, conversation: Conversation, rules: TurnRules, store: Store, *, private: bool
    ) -> None:
        self._conversation = conversation
        self._rules = rules
        self._store = store
        self.private = private

    @property
    def id(self) -> str:
        """The session's name, unique for its user."""
        return self._conversation.session

    @property
    def user(self) -> str:
        """Whose conversation it is."""
        return self._conversation.user

    async def ask(
        self,
        text: str,
        *,
        policy: str | Policy | None = None,
        track: str | None = None,
        deadline_s: float | None = None,
        private: bool | None = None,
        sampling: Sampling | None = None,
    ) -> Reply:
        """Say `text` and return the whole reply.

        policy: a policy's name or the policy itself. track: one track alone, instead of a policy.
        With neither, the system prompt's template decides, else the configuration. deadline_s:
        seconds for the whole turn. private: keep this turn on private tracks; None for the
        session's own rule. sampling: goes before the template's, which goes before the tracks'.

        Raises AllTracksFailed if no track could answer, NoTrack if none was allowed to,
        UnknownName for a policy or track that does not exist, StoreError if the exchange could
        not be stored.
        """
        await self._rules.refresh()
        turn = self._turn(text, self._rules.observe, policy, track, deadline_s, private, sampling)
        return await turn.run()

    @asynccontextmanager
    async def stream(
        self,
        text: str,
        *,
        policy: str | Policy | None = None,
        track: str | None = None,
        deadline_s: float | None = None,
        private: bool | None = None,
        sampling: Sampling | None = None,
    ) -> AsyncIterator[TurnStream]:
        """Say `text` and watch the turn: `async with session.stream(...) as turn`.

        Takes the same as `ask`. Leaving the context before the turn is over cancels the turn and
        waits until all its legs stand still.
        """
        send, receive = anyio.create_memory_object_stream[Event | VantaError](float("inf"))

        def emit(event: Event) -> None:
            self._rules.observe(event)
            send.send_nowait(event)

        failure: Exception | None = None
        await self._rules.refresh()
        with send, receive:
            turn = self._turn(text, emit, policy, track, deadline_s, private, sampling)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_deliver, turn, send)
                try:
                    yield TurnStream(receive)
                except Exception as error:  # noqa: BLE001 - raised below, outside the task group
                    failure = error
                tasks.cancel_scope.cancel()
        if failure:
            raise failure

    async def history(self) -> list[Message]:
        """All messages of the conversation, oldest first."""
        exchanges = await self._store.history(self.user, self.id)
        return [message for exchange in exchanges for message in exchange.messages]

    async def clear(self) -> int:
        """Forget the conversation; returns how many messages there were."""
        async with self._conversation.lock:
            self._conversation.history = None
            return await self._store.clear(self.user, self.id)

    def _turn(
        self,
        text: str,
        emit: Emit,
        policy: str | Policy | None,
        track: str | None,
        deadline_s: float | None,
        private: bool | None,
        sampling: Sampling | None,
    ) -> Turn:
        settings = self._rules.settings(
            text=text,
            user=self.user,
            policy=policy,
            track=track,
            deadline_s=deadline_s,
            private=self.private if private is None else private,
            sampling=sampling,
        )
        return Turn(self._conversation, text, settings, self._store, emit)


async def _deliver(turn: Turn, send: MemoryObjectSendStream[Event | VantaError]) -> None:
    """Run a turn for a stream; what it raises goes to whoever iterates."""
    with send:
        try:
            await turn.run()
        except VantaError as error:
            send.send_nowait(error)
