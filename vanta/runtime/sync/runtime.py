"""A runtime for programs without an event loop.

Invariant: parameters, types and errors are those of `vanta.Runtime`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, Unpack, overload

from anyio.from_thread import BlockingPortal

from vanta.config import Config, Loaded
from vanta.engine import Sampling
from vanta.events import Observer
from vanta.models import ModelStore
from vanta.plugin_loading import PluginSet
from vanta.prompts import Templates
from vanta.runtime.options import NOT_ISOLATED, Isolation, TranscriptChoice, TurnOptions
from vanta.runtime.runtime import Runtime
from vanta.runtime.stateless import Messages, Tools
from vanta.runtime.sync.calls import Calls
from vanta.runtime.sync.conversation import SyncSession, SyncTurn
from vanta.runtime.sync.parts import SyncLearnt, SyncLedger, SyncMemory, SyncParkedTurns
from vanta.scheduling.policy import Policy
from vanta.storage import SessionInfo
from vanta.tool_contract import ToolResult
from vanta.tools import ApprovalHandler, ApprovalMode, OfferedTool, ToolOutlook
from vanta.trace import OutputT, Reply
from vanta.track import Track


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
    def parked(self) -> SyncParkedTurns:
        """The turns that wait for a person, whatever process they began in."""
        return SyncParkedTurns(self.runtime.parked, self._calls)

    def tool_outlooks(self, private: bool = False) -> Sequence[ToolOutlook]:
        """Return the tools that turns are offered now; see `Runtime.tool_outlooks`."""
        return self._calls.call(partial(self.runtime.tool_outlooks, private))

    def resume(
        self,
        turn_id: str,
        *,
        approve: Sequence[str] = (),
        deny: Sequence[str] = (),
        approvals: ApprovalMode | None = None,
    ) -> Reply:
        """Continue a turn that waits for a person; see `Runtime.resume`."""
        resuming = partial(
            self.runtime.resume, turn_id, approve=approve, deny=deny, approvals=approvals
        )
        return self._calls.call(resuming)

    @contextmanager
    def resume_stream(
        self,
        turn_id: str,
        *,
        approve: Sequence[str] = (),
        deny: Sequence[str] = (),
        approvals: ApprovalMode | None = None,
    ) -> Iterator[SyncTurn]:
        """Continue a turn that waits for a person, and watch it; see `Runtime.resume_stream`."""
        resuming = self.runtime.resume_stream(
            turn_id, approve=approve, deny=deny, approvals=approvals
        )
        turn = self._calls.call(resuming.__aenter__)
        try:
            yield SyncTurn(turn, self._calls)
        finally:
            self._calls.leave(resuming)

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
        sampling: Sampling | None = None,
        keep: bool = False,
        isolation: Isolation = NOT_ISOLATED,
    ) -> SyncSession:
        """Get or create the session `id` of `user`; see `Runtime.session`."""
        session = self.runtime.session(
            id,
            user=user,
            private=private,
            system=system,
            variables=variables,
            sampling=sampling,
            keep=keep,
            isolation=isolation,
        )
        return SyncSession(session, self._calls)

    def observing(self, observer: Observer) -> AbstractContextManager[None]:
        """Pass the events of all turns to an observer; see `Runtime.observing`.

        :param observer: called on the event loop's thread, not on the one that asks.
        """
        return self.runtime.observing(observer)

    def tools(self) -> Sequence[OfferedTool]:
        """Return the tools that models may call now; see `Runtime.tools`."""
        return self._calls.call(self.runtime.tools)

    def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any],
        *,
        user: str = "default",
        session: str = "",
        private: bool = False,
        deadline_s: float | None = None,
        approve: ApprovalHandler | None = None,
        ask: bool = True,
    ) -> ToolResult:
        """Run one call of a tool under the rules; see `Runtime.call_tool`."""
        return self._calls.call(
            partial(
                self.runtime.call_tool,
                name,
                arguments,
                user=user,
                session=session,
                private=private,
                deadline_s=deadline_s,
                approve=approve,
                ask=ask,
            )
        )

    def sessions(
        self,
        *,
        user: str | None = "default",
        search: str = "",
        limit: int = 100,
        private: bool = False,
    ) -> list[SessionInfo]:
        """Return sessions, the latest first; see `Runtime.sessions`."""
        listing = partial(
            self.runtime.sessions, user=user, search=search, limit=limit, private=private
        )
        return self._calls.call(listing)

    @overload
    def complete(self, messages: Messages, **choice: Unpack[TranscriptChoice]) -> Reply: ...

    @overload
    def complete(
        self, messages: Messages, *, output: type[OutputT], **choice: Unpack[TranscriptChoice]
    ) -> Reply[OutputT]: ...

    @overload
    def complete(
        self, messages: Messages, *, output: Any, **choice: Unpack[TranscriptChoice]
    ) -> Reply: ...

    def complete(
        self,
        messages: Messages,
        *,
        tools: Tools | None = None,
        tool_choice: str | None = None,
        output: Any = None,
        options: TurnOptions | None = None,
        user: str = "default",
        session: str = "",
        memory: bool = False,
        store: bool = False,
    ) -> Reply:
        """Answer a transcript that the caller owns; see `Runtime.complete`."""
        completing = partial(
            self.runtime.complete,
            messages,
            tools=tools,
            tool_choice=tool_choice,
            output=output,
            options=options,
            user=user,
            session=session,
            memory=memory,
            store=store,
        )
        return self._calls.call(completing)

    @overload
    def stream(
        self, messages: Messages, **choice: Unpack[TranscriptChoice]
    ) -> AbstractContextManager[SyncTurn]: ...

    @overload
    def stream(
        self, messages: Messages, *, output: type[OutputT], **choice: Unpack[TranscriptChoice]
    ) -> AbstractContextManager[SyncTurn[OutputT]]: ...

    @overload
    def stream(
        self, messages: Messages, *, output: Any, **choice: Unpack[TranscriptChoice]
    ) -> AbstractContextManager[SyncTurn]: ...

    @contextmanager
    def stream(
        self,
        messages: Messages,
        *,
        tools: Tools | None = None,
        tool_choice: str | None = None,
        output: Any = None,
        options: TurnOptions | None = None,
        user: str = "default",
        session: str = "",
        memory: bool = False,
        store: bool = False,
    ) -> Iterator[SyncTurn]:
        """Answer a transcript and watch the turn; see `Runtime.stream`."""
        streaming = self.runtime.stream(
            messages,
            tools=tools,
            tool_choice=tool_choice,
            output=output,
            options=options,
            user=user,
            session=session,
            memory=memory,
            store=store,
        )
        turn = self._calls.call(streaming.__aenter__)
        try:
            yield SyncTurn(turn, self._calls)
        finally:
            # Left without the body's exception: Ctrl-C is for this thread, not for the loop's.
            self._calls.leave(streaming)

    def warm_up(self, *tracks: str) -> None:
        """Load engines ahead of the first turn; see `Runtime.warm_up`."""
        self._calls.call(self.runtime.warm_up, *tracks)

    def usual_policy(self, user: str = "default") -> Policy:
        """Return the policy of turns that name none; see `Runtime.usual_policy`."""
        return self.runtime.usual_policy(user)
