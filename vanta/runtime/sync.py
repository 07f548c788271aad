"""The synchronous facade: a runtime for programs without an event loop.

One background thread runs the event loop; every call waits for its result there. Invariant: the
facade has the parameters, types and errors of the asynchronous classes and adds no behaviour.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from typing import Any, TypeVar

from anyio.from_thread import BlockingPortal

from vanta.concurrency import HomeProcess
from vanta.config import Config, Loaded
from vanta.engine import Sampling
from vanta.events import Event
from vanta.learning import Learnt
from vanta.memory import (
    Filters,
    ForgetPreview,
    ForgetReceipt,
    Memory,
    MemoryItem,
    NewItem,
    Question,
    Recollection,
    Scope,
    Selection,
)
from vanta.memory.items import NO_FILTERS
from vanta.memory.memory import PAGE, RECALL_TIMEOUT_S
from vanta.messages import Message
from vanta.models import ModelStore
from vanta.money import Ledger, Spending
from vanta.plugin_loading import PluginSet
from vanta.prompts import Templates
from vanta.runtime.learnt_facts import LearntFacts
from vanta.runtime.options import NOT_ISOLATED, Isolation, TurnOptions
from vanta.runtime.runtime import Runtime
from vanta.runtime.session import Session
from vanta.runtime.turns.turn_stream import ShownText, TurnStream
from vanta.scheduling.policy import Policy
from vanta.trace import Reply
from vanta.track import Track

T = TypeVar("T")


class Calls:
    """Calls of the facade on the event loop's thread.

    :param portal: the portal of that thread.
    :param home: the process that opened the runtime.
    """

    def __init__(self, portal: BlockingPortal, home: HomeProcess) -> None:
        self._portal = portal
        self._home = home

    @property
    def portal(self) -> BlockingPortal:
        """The portal.

        :raises UsageError: in a process that was forked from the one that opened the runtime.
        """
        self._home.require()
        return self._portal

    def call(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Call an asynchronous function on the loop and wait for its result.

        Ctrl-C cancels the call.

        :param function: the function.
        :param args: its arguments.
        :raises UsageError: in a process that was forked from the one that opened the runtime.
        """
        future = self.portal.start_task_soon(function, *args)
        try:
            return future.result()
        finally:
            future.cancel()

    def leave(self, context: AbstractAsyncContextManager[Any]) -> None:
        """Leave an asynchronous context; it is left alone in a forked process.

        :param context: a context that was entered by `call`.
        """
        if not self._home.left:
            self.call(context.__aexit__, None, None, None)


class SyncTurn:
    """The events of a running turn, in order; iterate it, or its `text()`, to the end.

    See `vanta.TurnStream`.
    """

    def __init__(self, turn: TurnStream, calls: Calls) -> None:
        self._turn = turn
        self._calls = calls

    @property
    def reply(self) -> Reply:
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

    def ask(
        self,
        text: str,
        *,
        policy: str | Policy | None = None,
        track: str | None = None,
        deadline_s: float | None = None,
        private: bool | None = None,
        sampling: Sampling | None = None,
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
            options=options,
        )
        return self._calls.call(asking)

    @contextmanager
    def stream(
        self,
        text: str,
        *,
        policy: str | Policy | None = None,
        track: str | None = None,
        deadline_s: float | None = None,
        private: bool | None = None,
        sampling: Sampling | None = None,
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
        """Return all messages of the conversation; see `Session.history`."""
        return self._calls.call(self._session.history)

    def clear(self) -> int:
        """Delete the conversation; see `Session.clear`."""
        return self._calls.call(self._session.clear)


class SyncMemory:
    """A memory whose calls wait for their result; see `vanta.memory.Memory`."""

    def __init__(self, memory: Memory, calls: Calls) -> None:
        self._memory = memory
        self._calls = calls

    def recall(self, question: Question, timeout_s: float = RECALL_TIMEOUT_S) -> Recollection:
        """Search for items that fit a question; see `Memory.recall`."""
        return self._calls.call(self._memory.recall, question, timeout_s)

    def add(self, items: Iterable[NewItem]) -> list[int]:
        """Remember items; see `Memory.add`."""
        return self._calls.call(self._memory.add, items)

    def get(self, scope: Scope, ids: Sequence[int]) -> list[MemoryItem]:
        """Return the items of a scope with these ids; see `Memory.get`."""
        return self._calls.call(self._memory.get, scope, ids)

    def newest(
        self, scope: Scope, *, filters: Filters = NO_FILTERS, limit: int = PAGE
    ) -> list[MemoryItem]:
        """Return the newest items of a scope; see `Memory.newest`."""
        return self._calls.call(partial(self._memory.newest, scope, filters=filters, limit=limit))

    def export(self, user: str | None = None) -> Iterator[MemoryItem]:
        """Yield all items of a user; see `Memory.export`."""
        items = self._memory.export(user)

        async def following() -> MemoryItem | None:
            return await anext(items, None)

        while (item := self._calls.call(following)) is not None:
            yield item

    def preview_forget(self, selection: Selection) -> ForgetPreview:
        """Return what `forget` would delete; see `Memory.preview_forget`."""
        return self._calls.call(self._memory.preview_forget, selection)

    def forget(self, selection: Selection) -> ForgetReceipt:
        """Delete items for good; see `Memory.forget`."""
        return self._calls.call(self._memory.forget, selection)

    def stats(self, user: str | None = None) -> dict[str, Any]:
        """Return figures for a person; see `Memory.stats`."""
        return self._calls.call(self._memory.stats, user)


class SyncLedger:
    """The money of a runtime, for programs without an event loop."""

    def __init__(self, ledger: Ledger, calls: Calls) -> None:
        self._ledger = ledger
        self._calls = calls

    def spending(self) -> Spending:
        """Return all spending; see `Ledger.spending`."""
        return self._calls.call(self._ledger.spending)

    def reset(self, *, user: str, session: str | None = None) -> float:
        """Let a cap count from now on; see `Ledger.reset`."""
        return self._calls.call(partial(self._ledger.reset, user=user, session=session))


class SyncLearnt:
    """What a runtime has learnt about its tracks, for programs without an event loop."""

    def __init__(self, learnt: LearntFacts, calls: Calls) -> None:
        self._learnt = learnt
        self._calls = calls

    def facts(self) -> Sequence[Learnt]:
        """Return all facts that are still believed; see `LearntFacts.facts`."""
        return self._calls.portal.call(self._learnt.facts)

    def forget(self, track: str | None = None, what: str | None = None) -> None:
        """Forget facts; see `LearntFacts.forget`."""
        self._calls.portal.call(self._learnt.forget, track, what)


class SyncRuntime:
    """A runtime whose calls wait for their result; see `vanta.Runtime`.

    :ivar runtime: the asynchronous runtime; it also has what only asynchronous code uses.
    """

    def __init__(self, runtime: Runtime, calls: Calls) -> None:
        self.runtime = runtime
        self._calls = calls

    @property
    def portal(self) -> BlockingPortal:
        """Calls functions on its event loop.

        :raises UsageError: in a process that was forked from the one that opened the runtime.
        """
        return self._calls.portal

    @property
    def config(self) -> Config:
        """The effective configuration."""
        return self.runtime.config

    @property
    def tracks(self) -> Mapping[str, Track]:
        """The tracks that are on, by name."""
        return self.runtime.tracks

    @property
    def off(self) -> Mapping[str, str]:
        """Why each other configured track is off, by name."""
        return self.runtime.off

    @property
    def policies(self) -> Mapping[str, Policy]:
        """The policies by name, the configuration's variants included."""
        return self.runtime.policies

    @property
    def plugins(self) -> PluginSet:
        """All plugins and what they bring."""
        return self.runtime.plugins

    @property
    def models(self) -> ModelStore:
        """The model registry and the files on disk."""
        return self.runtime.models

    @property
    def loaded(self) -> Loaded:
        """The configuration with the source of every value."""
        return self.runtime.loaded

    @property
    def templates(self) -> Templates:
        """The prompt templates."""
        return self.runtime.templates

    @property
    def memory(self) -> SyncMemory | None:
        """The memory of all sessions; None if it is off, see `memory_off`."""
        memory = self.runtime.memory
        return SyncMemory(memory, self._calls) if memory else None

    @property
    def memory_off(self) -> str:
        """Why memory is off; "" if it is on."""
        return self.runtime.memory_off

    @property
    def ledger(self) -> SyncLedger:
        """The money that is spent and reserved."""
        return SyncLedger(self.runtime.ledger, self._calls)

    @property
    def learnt(self) -> SyncLearnt:
        """What earlier turns have shown about the tracks, with the means to forget it."""
        return SyncLearnt(self.runtime.learnt, self._calls)

    @property
    def turns(self) -> int:
        """How many turns have started since it opened."""
        return self.runtime.turns

    def session(
        self,
        id: str,  # noqa: A002
        *,
        user: str = "default",
        private: bool | None = None,
        system: str | None = None,
        variables: Mapping[str, Any] | None = None,
        isolation: Isolation = NOT_ISOLATED,
    ) -> SyncSession:
        """Get or create the session `id` of `user`; see `Runtime.session`."""
        session = self.runtime.session(
            id,
            user=user,
            private=private,
            system=system,
            variables=variables,
            isolation=isolation,
        )
        return SyncSession(session, self._calls)

    def warm_up(self, *tracks: str) -> None:
        """Load engines ahead of the first turn; see `Runtime.warm_up`."""
        self._calls.call(self.runtime.warm_up, *tracks)

    def usual_policy(self, user: str = "default") -> Policy:
        """Return the policy of turns that name none; see `Runtime.usual_policy`."""
        return self.runtime.usual_policy(user)
