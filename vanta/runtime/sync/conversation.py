"""Sessions and running turns for programs without an event loop.

Invariant: parameters, types and errors are those of the asynchronous classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, Generic, Unpack, overload

from vanta.engine import Sampling
from vanta.events import Event
from vanta.messages import Exchange, Message, MessageContent
from vanta.runtime.exporting import ExportFormat
from vanta.runtime.options import TurnChoice, TurnOptions
from vanta.runtime.session import Session
from vanta.runtime.sync.calls import Calls
from vanta.runtime.turns.turn_stream import CallName, ShownText, TurnStream
from vanta.scheduling.policy import Policy
from vanta.storage import Branch, SessionInfo
from vanta.tools.turn_rules import ApprovalScope
from vanta.trace import OutputT, Reply


class SyncTurn(Generic[OutputT]):
    """The events of a running turn, in order; iterate it, its `text()` or its `objects()`.

    See `vanta.TurnStream`.
    """

    def __init__(self, turn: TurnStream[OutputT], calls: Calls) -> None:
        self._turn = turn
        self._calls = calls

    @property
    def reply(self) -> Reply[OutputT]:
        """The reply.

        :raises RuntimeError: if the turn is not iterated to its end yet.
        """
        return self._turn.reply

    def text(self) -> Iterator[ShownText]:
        """Yield the whole text to show, each time that it changes; see `TurnStream.text`.

        :raises VantaError: what the turn raises.
        """
        texts = self._turn.text()

        async def following() -> ShownText | None:
            return await anext(texts, None)

        while (shown := self._calls.call(following)) is not None:
            yield shown

    def approve(self, call: CallName, scope: ApprovalScope = "once") -> None:
        """Approve a call that waits; see `TurnStream.approve`."""
        self._calls.call(self._turn.approve, call, scope)

    def deny(self, call: CallName, reason: str = "") -> None:
        """Deny a call that waits; see `TurnStream.deny`."""
        self._calls.call(self._turn.deny, call, reason)

    def answer(self, call: CallName, text: str) -> None:
        """Answer a question of the model; see `TurnStream.answer`."""
        self._calls.call(self._turn.answer, call, text)

    def objects(self) -> Iterator[Any]:
        """Yield the value of a typed answer as it grows; see `TurnStream.objects`.

        :raises UsageError: if the turn was started without `output`.
        :raises VantaError: what the turn raises.
        """
        values, end = self._turn.objects(), object()

        async def following() -> Any:
            return await anext(values, end)

        while (value := self._calls.call(following)) is not end:
            yield value

    def __iter__(self) -> Iterator[Event]:
        while (event := self._calls.call(self._next)) is not None:
            yield event

    async def _next(self) -> Event | None:
        # StopAsyncIteration cannot travel through a future.
        return await anext(self._turn, None)


class SyncSession:
    """A session whose calls wait for their result; see `vanta.Session`."""

    def __init__(self, session: Session, calls: Calls) -> None:
        self._session = session
        self._calls = calls

    @property
    def id(self) -> str:
        """The session's name, unique for its user."""
        return self._session.id

    @property
    def user(self) -> str:
        """The user of the conversation."""
        return self._session.user

    @property
    def private(self) -> bool:
        """Whether its turns are confined to private tracks unless they say otherwise."""
        return self._session.private

    @overload
    def ask(self, text: MessageContent, **choice: Unpack[TurnChoice]) -> Reply: ...

    @overload
    def ask(
        self, text: MessageContent, *, output: type[OutputT], **choice: Unpack[TurnChoice]
    ) -> Reply[OutputT]: ...

    @overload
    def ask(self, text: MessageContent, *, output: Any, **choice: Unpack[TurnChoice]) -> Reply: ...

    def ask(
        self,
        text: MessageContent,
        *,
        policy: str | Policy | None = None,
        track: str | None = None,
        deadline_s: float | None = None,
        private: bool | None = None,
        sampling: Sampling | None = None,
        output: Any = None,
        options: TurnOptions | None = None,
    ) -> Reply:
        """Send `text` and wait for the whole reply; see `Session.ask`."""
        asking = partial(
            self._session.ask,
            text,
            policy=policy,
            track=track,
            deadline_s=deadline_s,
            private=private,
            sampling=sampling,
            output=output,
            options=options,
        )
        return self._calls.call(asking)

    @overload
    def stream(
        self, text: MessageContent, **choice: Unpack[TurnChoice]
    ) -> AbstractContextManager[SyncTurn]: ...

    @overload
    def stream(
        self, text: MessageContent, *, output: type[OutputT], **choice: Unpack[TurnChoice]
    ) -> AbstractContextManager[SyncTurn[OutputT]]: ...

    @overload
    def stream(
        self, text: MessageContent, *, output: Any, **choice: Unpack[TurnChoice]
    ) -> AbstractContextManager[SyncTurn]: ...

    @contextmanager
    def stream(
        self,
        text: MessageContent,
        *,
        policy: str | Policy | None = None,
        track: str | None = None,
        deadline_s: float | None = None,
        private: bool | None = None,
        sampling: Sampling | None = None,
        output: Any = None,
        options: TurnOptions | None = None,
    ) -> Iterator[SyncTurn]:
        """Send `text` and watch the turn: `with session.stream(...) as turn`.

        See `Session.stream`.
        """
        streaming = self._session.stream(
            text,
            policy=policy,
            track=track,
            deadline_s=deadline_s,
            private=private,
            sampling=sampling,
            output=output,
            options=options,
        )
        turn = self._calls.call(streaming.__aenter__)
        try:
            yield SyncTurn(turn, self._calls)
        finally:
            # Left without the body's exception: Ctrl-C is for this thread, not for the loop's.
            self._calls.leave(streaming)

    def refresh(self) -> None:
        """Read from the store whether the session is private; see `Session.refresh`."""
        self._calls.call(self._session.refresh)

    def history(self) -> list[Message]:
        """Return all messages of the branch in use; see `Session.history`."""
        return self._calls.call(self._session.history)

    def clear(self) -> int:
        """Delete the conversation; see `Session.clear`."""
        return self._calls.call(self._session.clear)

    def edit(self, turn: str, text: MessageContent, options: TurnOptions | None = None) -> Reply:
        """Replace the message of an earlier turn; see `Session.edit`."""
        return self._calls.call(self._session.edit, turn, text, options)

    def regenerate(
        self,
        turn: str | None = None,
        *,
        track: str | None = None,
        policy: str | Policy | None = None,
        options: TurnOptions | None = None,
    ) -> Reply:
        """Answer the message of an earlier turn again; see `Session.regenerate`."""
        again = partial(self._session.regenerate, turn, track=track, policy=policy, options=options)
        return self._calls.call(again)

    def exchange(self, turn: str | None = None) -> Exchange:
        """Return a turn's messages; see `Session.exchange`."""
        return self._calls.call(self._session.exchange, turn)

    def exchanges(self, branch: str = "") -> list[Exchange]:
        """Return the turns of a branch; see `Session.exchanges`."""
        return self._calls.call(self._session.exchanges, branch)

    def branches(self) -> list[Branch]:
        """Return all branches; see `Session.branches`."""
        return self._calls.call(self._session.branches)

    def branch(self, at: str | int | None = None, name: str = "") -> Branch:
        """Begin a branch beside the others; see `Session.branch`."""
        return self._calls.call(self._session.branch, at, name)

    def switch(self, branch: str) -> Branch:
        """Have later turns continue a branch; see `Session.switch`."""
        return self._calls.call(self._session.switch, branch)

    def info(self) -> SessionInfo:
        """Return title, times and costs; see `Session.info`."""
        return self._calls.call(self._session.info)

    def rename(self, title: str) -> None:
        """Give the session a title; see `Session.rename`."""
        self._calls.call(self._session.rename, title)

    def export(
        self, form: ExportFormat = "jsonl", *, calls: bool = False, traces: bool = False
    ) -> str:
        """Return the whole session as text; see `Session.export`."""
        return self._calls.call(partial(self._session.export, form, calls=calls, traces=traces))

    def delete(self) -> int:
        """Delete the session; see `Session.delete`."""
        return self._calls.call(self._session.delete)
