"""The runtime: everything that is open in a process.

Invariant: what opening opened, closing closes: engines with their threads and sockets, the store,
the portal. A track that cannot work as configured is off, with a reason that is logged once;
everything else works.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import anyio.lowlevel
from anyio.from_thread import BlockingPortal

from vanta.concurrency import HomeProcess
from vanta.config import Config, Loaded
from vanta.engine import Sampling
from vanta.errors import UnknownName
from vanta.events import Event, Observer, TurnStarted
from vanta.memory import Embedder, Memory
from vanta.models import ModelStore
from vanta.money import Ledger
from vanta.plugin_loading import PluginSet
from vanta.prompts import Templates
from vanta.runtime.bootstrap import Parts, make_tracks
from vanta.runtime.conversations import Conversations
from vanta.runtime.direct_calls import DirectCalls
from vanta.runtime.kept_settings import NOT_KEPT, Kept, to_data
from vanta.runtime.learnt_facts import LearntFacts
from vanta.runtime.memory_factory import embedder_named
from vanta.runtime.options import NOT_ISOLATED, Isolation
from vanta.runtime.resuming import Resuming
from vanta.runtime.session import Session
from vanta.runtime.stateless import StatelessTurns, TranscriptTurns
from vanta.runtime.turns.turn_settings import TurnPlanner
from vanta.runtime.turns.turn_stream import TurnStream
from vanta.runtime.turns.turn_tasks import TurnTasks
from vanta.scheduling.policy import Policy
from vanta.storage import SessionInfo, SessionQuery, Store
from vanta.text import well_formed_data
from vanta.tool_contract import ToolResult, Toolset
from vanta.tools import (
    ApprovalHandler,
    ApprovalMode,
    Journal,
    OfferedTool,
    ParkedTurns,
    ToolOutlook,
)
from vanta.trace import Reply
from vanta.track import Track

_log = logging.getLogger("vanta")


class Runtime(TranscriptTurns):
    """An open runtime; get one from `vanta.open`.

    :ivar tracks: the tracks that are on, by name.
    :ivar off: why each other configured track is off, by name.
    :ivar turn_tasks: the task group of its turns.
    :ivar turns: how many turns have started since it opened.
    """

    def __init__(self, parts: Parts, portal: BlockingPortal) -> None:
        self._parts = parts
        self._home = HomeProcess("the runtime")
        self._portal = portal
        self.turn_tasks = TurnTasks(self._home)
        self._watching: list[Observer] = []
        self.tracks: Mapping[str, Track]
        self.off: Mapping[str, str]
        self.tracks, self.off = make_tracks(parts)
        self._planner = TurnPlanner(parts, self.tracks, self.off)
        self._conversations = Conversations(self.tracks)
        self._resuming = Resuming(
            parts.store, self._conversations, self._planner, self.turn_tasks, self._observe
        )
        self._stateless = StatelessTurns(
            self._planner, self._conversations, parts.tools, parts.store
        )
        if parts.memory:
            parts.memory.on_forgotten(self._forget)
        self._next_turn: anyio.Event | None = None
        self.turns = 0

    @property
    def learnt(self) -> LearntFacts:
        """What earlier turns have shown about the tracks, with the means to forget it."""
        return self._planner.learnt

    @property
    def portal(self) -> BlockingPortal:
        """Calls functions on the event loop from other threads.

        :raises UsageError: in a process that was forked from the one that opened the runtime.
        """
        self._home.require()
        return self._portal

    @property
    def config(self) -> Config:
        """The effective configuration."""
        return self._parts.config

    @property
    def loaded(self) -> Loaded:
        """The configuration with the source of every value."""
        return self._parts.loaded

    @property
    def plugins(self) -> PluginSet:
        """All plugins and what they bring."""
        return self._parts.plugins

    @property
    def policies(self) -> Mapping[str, Policy]:
        """The policies by name, the configuration's variants included."""
        return self._parts.policies

    @property
    def models(self) -> ModelStore:
        """The model registry and the files on disk."""
        return self._parts.models

    @property
    def templates(self) -> Templates:
        """The prompt templates."""
        return self._parts.templates

    @property
    def store(self) -> Store:
        """The transcripts of all sessions, and the trace of every turn."""
        return self._parts.store

    @property
    def memory(self) -> Memory | None:
        """The memory of all sessions; None if it is off, see `memory_off`."""
        return self._parts.memory

    @property
    def memory_off(self) -> str:
        """Why memory is off; "" if it is on."""
        return self._parts.memory_off

    @property
    def toolsets(self) -> Mapping[str, Toolset]:
        """The toolsets that are on, by name."""
        return self._parts.tools.desk.registry.toolsets if self._parts.tools else {}

    @property
    def journal(self) -> Journal:
        """The record of every tool call."""
        tools = self._parts.tools
        return tools.desk.journal if tools else Journal(self.store)

    @property
    def parked(self) -> ParkedTurns:
        """The turns that wait for a person, whatever process they began in."""
        return self._resuming.turns

    @property
    def ledger(self) -> Ledger:
        """The money that is spent and reserved."""
        return self._parts.ledger

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
    ) -> Session:
        """Get or create the session `id` of `user`. Idempotent.

        :param id: the name of the conversation, unique for its user.
        :param user: the name of the user.
        :param private: whether its turns are confined to private tracks unless they say otherwise;
            None for what the session was before, in whatever process. The first turn stores it.
        :param system: a template under `system/` instead of the configured one.
        :param variables: for the template; they take precedence over the configured ones.
        :param sampling: its set fields take precedence over the template's; those of a turn take
            precedence over it.
        :param keep: store `system`, `variables` and `sampling` with the first turn, for all later
            turns of the session that are requested without them, in whatever process. None for all
            three stores that there are none.
        :param isolation: parts that it uses instead of the runtime's own.
        :returns: a session; all sessions of one name share one conversation.
        """
        id, user = well_formed_data((id, user))  # noqa: A001
        own_prompt = system is not None or bool(variables)
        kept = Kept(wanted=True, data=to_data(system, variables, sampling)) if keep else NOT_KEPT
        return Session(
            self._conversations.get(user, id),
            self._planner,
            self.turn_tasks,
            self._observe,
            isolation.store or self.store,
            private=private,
            prompt=self._planner.prompt(user, system, variables) if own_prompt else None,
            sampling=sampling,
            keep=kept,
            isolation=isolation,
        )

    async def tool_outlooks(self, private: bool = False) -> Sequence[ToolOutlook]:
        """Return the tools that turns are offered now, and whether their calls may run.

        :param private: whether the turn is private.
        """
        tools = self._parts.tools
        return await tools.outlooks(private=private) if tools else ()

    async def resume(
        self,
        turn_id: str,
        *,
        approve: Sequence[str] = (),
        deny: Sequence[str] = (),
        approvals: ApprovalMode | None = None,
    ) -> Reply:
        """Continue a turn that waits for a person, once its calls are decided.

        What was not decided is asked of the handler of `vanta.open`, if there is one.

        :param turn_id: the turn's id, as `parked` and `ApprovalPending` have it.
        :param approve: keys of calls to approve.
        :param deny: keys of calls to deny.
        :param approvals: what happens to other calls that ask, see `TurnOptions`; None for what the
            turn's caller chose.
        :returns: the reply; its exchange is durable.
        :raises ApprovalPending: if calls are not decided and no one can be asked.
        :raises ApprovalError: if the turn does not wait, another process resumes it, or a call is
            decided already.
        :raises VantaError: what `Session.ask` raises.
        """
        return await self._resuming.resume(turn_id, approve, deny, approvals)

    @asynccontextmanager
    async def resume_stream(
        self,
        turn_id: str,
        *,
        approve: Sequence[str] = (),
        deny: Sequence[str] = (),
        approvals: ApprovalMode | None = None,
    ) -> AsyncIterator[TurnStream]:
        """Continue a turn that waits for a person, and watch it.

        Its stream may decide, too, as that of `Session.stream`.

        :param turn_id: the turn's id.
        :param approve: keys of calls to approve.
        :param deny: keys of calls to deny.
        :param approvals: what happens to other calls that ask, see `TurnOptions`; None for what the
            turn's caller chose.
        :raises ApprovalError: as for `resume`.
        """
        async with self._resuming.stream(turn_id, approve, deny, approvals) as turn:
            yield turn

    async def sessions(
        self,
        *,
        user: str | None = "default",
        search: str = "",
        limit: int = 100,
        private: bool = False,
    ) -> list[SessionInfo]:
        """Return the sessions that have messages, a title or settings, the latest first.

        :param user: the user; None for all.
        :param search: words that one message of the session, or its title, must have; their case
            does not matter.
        :param limit: at most this many; 0 for all.
        :param private: include private sessions and the messages of private turns. Pass what comes
            of it to no track or server that is not private.
        :raises StoreError: if the store cannot be read.
        """
        words = tuple(well_formed_data(search).split())
        query = SessionQuery(user, words=words, limit=limit, private=private)
        return await self.store.sessions(query)

    def create_embedder(self, name: str) -> Embedder:
        """Create an embedder beside memory's own; the caller closes it. Blocking.

        :param name: the embedder's name.
        :raises UnknownName: if the embedder does not exist.
        :raises EmbedderError: if the embedder cannot be used.
        """
        return embedder_named(name, self.config, self.plugins, self.models)

    async def warm_up(self, *tracks: str) -> None:
        """Load engines ahead of the first turn.

        :param tracks: the names of their tracks; none for all.
        :raises UnknownName: for a track that does not exist or is off.
        :raises EngineError: if an engine cannot be loaded.
        """
        self._home.require()
        for name in tracks or self.tracks:
            if name not in self.tracks:
                raise UnknownName("track", name, self.tracks, hint=self.off.get(name, ""))
            await self.tracks[name].load()

    def usual_policy(self, user: str = "default") -> Policy:
        """Return the policy of turns that name neither policy nor track.

        :param user: the user of the turns, for the system prompt's template.
        :raises TemplateError: if the template is broken or names a policy that does not exist.
        :raises UnknownName: if the configured policy does not exist.
        """
        return self._planner.usual_policy(user)

    async def tools(self) -> Sequence[OfferedTool]:
        """Return the tools that models may call now, each with a name of its own."""
        self._home.require()
        return await DirectCalls(self._parts.tools).offered()

    async def call_tool(
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
        """Run one call of a tool outside of a turn, under the rules that calls of models have.

        :param name: the tool's name, as models see it or as `TOOLSET.TOOL`.
        :param arguments: its arguments.
        :param user: whose call it is.
        :param session: the session that it belongs to; "" for none.
        :param private: whether nothing of it may leave this machine. Results that are private are
            withheld from a caller that is not.
        :param deadline_s: seconds that it may take; None for those of a turn.
        :param approve: asks a person if the rules say so; None for the handler of `vanta.open`.
        :param ask: whether a person is asked at all; False denies what would be asked.
        :returns: the result. A call that fails or is denied is one with `is_error`, and the reason.
        :raises UnknownName: if there is no such tool.
        :raises StoreError: if the call cannot be recorded; it has not run then.
        """
        self._home.require()
        return await DirectCalls(self._parts.tools).call(
            name,
            arguments,
            user=user,
            session=session,
            private=private,
            deadline_s=self.config.deadline_s if deadline_s is None else deadline_s,
            approve=approve,
            ask=ask,
        )

    async def idle(self) -> anyio.Event:
        """Wait until no turn runs, for background work; see `vanta.runtime.in_quiet`.

        :returns: an event that is set as soon as the next turn starts.
        """
        self._home.require()
        await anyio.lowlevel.checkpoint()
        while busy := self._conversations.busy():
            for conversation in busy:
                async with conversation.lock:
                    pass
        self._next_turn = self._next_turn or anyio.Event()
        return self._next_turn

    async def aclose(self) -> None:
        """Close engines and store; leaving the context of `vanta.open` calls it."""
        with anyio.CancelScope(shield=True):
            await self._conversations.close(self.store)
            async with anyio.create_task_group() as tasks:
                for track in self.tracks.values():
                    tasks.start_soon(track.close)
            if self._parts.tools:
                await self._parts.tools.desk.registry.aclose()
                await self._parts.tools.desk.journal.aclose()
            await self.ledger.aclose()
            await self.store.aclose()

    @contextmanager
    def observing(self, observer: Observer) -> Iterator[None]:
        """Pass the events of all turns to an observer, within a `with` block.

        :param observer: called on the event loop's thread; what it raises is logged.
        """
        self._watching.append(observer)
        try:
            yield
        finally:
            self._watching.remove(observer)

    async def _forget(self, user: str) -> str:
        return await self._conversations.forget(user, self.store)

    def _observe(self, event: Event) -> None:
        """Pass an event to the observers; what they raise is logged."""
        if isinstance(event, TurnStarted):
            self.turns += 1
            if self._next_turn:
                self._next_turn.set()
                self._next_turn = None
        for observer in (*self._parts.observers, *self._watching):
            try:
                observer(event)
            except Exception:  # noqa: BLE001 - an observer must not break the turn
                _log.exception("observer %r failed on %s", observer, type(event).__name__)
