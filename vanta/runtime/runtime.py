"""The runtime: all that is open in a process, and the way to it, `vanta.open`.

Invariant: what `open` opened, leaving its context closes: engines with their threads and sockets,
the store, the portal. A track that cannot work as configured is off, with a reason, said once;
everything else carries on.
"""

from __future__ import annotations

import functools
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import anyio
import anyio.lowlevel
import anyio.to_thread
from anyio.from_thread import BlockingPortal

from vanta.config import Config, Loaded
from vanta.context.preparer import merge_sampling
from vanta.engine import Sampling
from vanta.errors import EngineError, TemplateError, UnknownName
from vanta.events import Event, TurnStarted
from vanta.memory.memory import Memory
from vanta.models import ModelStore
from vanta.money import Ledger
from vanta.plugin_loading import PluginSet
from vanta.privacy import reason_to_be_private
from vanta.prompts import LivePrompts, Rendered, SystemPrompt, Templates
from vanta.routing import Shares
from vanta.runtime.background import accompanied
from vanta.runtime.bootstrap import Parts, gather, make_tracks
from vanta.runtime.session import Session
from vanta.runtime.turn import Conversation, TurnSettings
from vanta.scheduling.policy import LegPlan, Policy
from vanta.scheduling.takeover import anchor
from vanta.scheduling.track_stats import HealthRule, TrackStats
from vanta.storage.transcripts import Store
from vanta.track import Track

if TYPE_CHECKING:
    from vanta.runtime.sync import SyncRuntime

Observer = Callable[[Event], None]

RECENT = 128
"""Conversations that are kept in memory though nobody holds their session."""

_log = logging.getLogger("vanta")


class Runtime:
    """An open runtime; get one from `vanta.open`. turns: how many have begun since."""

    def __init__(self, parts: Parts, portal: BlockingPortal) -> None:
        self._parts = parts
        self.portal = portal
        self.tracks: Mapping[str, Track]
        self.off: Mapping[str, str]
        self.tracks, self.off = make_tracks(parts)
        self._conversations: WeakValueDictionary[tuple[str, str], Conversation] = (
            WeakValueDictionary()
        )
        self._recent: OrderedDict[tuple[str, str], Conversation] = OrderedDict()
        self._detectors = [parts.plugins.detectors[name] for name in parts.config.privacy.detect]
        self._shares = Shares(parts.router)
        breaker = parts.config.breaker
        self._experience = TrackStats(HealthRule(breaker.failures, breaker.cooldown_s))
        if parts.memory:
            parts.memory.on_forgotten(self._forget)
        self._prompts = LivePrompts(parts.templates)
        self._prompt_of = functools.lru_cache(maxsize=256)(self.prompt)
        self._next_turn: anyio.Event | None = None
        self.turns = 0

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
        """All plugins and what they brought."""
        return self._parts.plugins

    @property
    def policies(self) -> Mapping[str, Policy]:
        """The policies by name, variants of the configuration among them."""
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
        """The transcript store."""
        return self._parts.store

    @property
    def memory(self) -> Memory | None:
        """What is remembered of all sessions; None where there is no memory, see `memory_off`."""
        return self._parts.memory

    @property
    def memory_off(self) -> str:
        """Why there is no memory; "" where there is."""
        return self._parts.memory_off

    @property
    def ledger(self) -> Ledger:
        """What was spent, and what is reserved."""
        return self._parts.ledger

    def session(
        self,
        id: str,  # noqa: A002
        *,
        user: str = "default",
        private: bool = False,
        system: str | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> Session:
        """The conversation `id` of `user`, new or gone on with; two calls give the same one.

        private: every turn of it stays on private tracks. system: a template under `system/` in
        the place of the configured one; variables: for it, before the configured ones.
        """
        conversation = self.conversation(user, id)
        own = system is not None or bool(variables)
        rules = _OwnSystem(self, self.prompt(user, system, variables)) if own else self
        return Session(conversation, rules, self.store, private=private)

    def conversation(self, user: str, session: str) -> Conversation:
        """The one conversation of that name, whose turns background work yields to; the last few
        are kept with their history."""
        conversation = self._conversations.get((user, session))
        if conversation is None:
            conversation = Conversation(user, session)
            self._conversations[user, session] = conversation
        self._recent[user, session] = conversation
        self._recent.move_to_end((user, session))
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)
        return conversation

    async def _forget(self, user: str) -> str:
        """Have the user's conversations read their history from the store again, and engines keep
        nothing of earlier prompts, which repeat it; returns why one may still."""
        for (owner, _), conversation in self._conversations.items():
            if owner == user:
                conversation.history = None
        why = []
        for track in self.tracks.values():
            try:
                await track.engine.forget()
            except EngineError as error:
                why.append(f"track {track.name!r} may keep some of it: {error}")
        return "; ".join(why)

    async def warm_up(self, *tracks: str) -> None:
        """Load the engines of `tracks` (all if none is named) ahead of the first turn.

        Raises EngineError, UnknownName.
        """
        for name in tracks or self.tracks:
            await self._track(name).engine.load()

    async def refresh(self) -> None:
        """Have templates that were edited take effect; see `vanta.runtime.session.TurnRules`."""
        await self._prompts.refresh()

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
        prompt: SystemPrompt | None = None,
    ) -> TurnSettings:
        """The settings of one turn; see `vanta.runtime.session.TurnRules`.

        prompt: the system prompt, if it is not the configured one. Raises TemplateError, too.
        """
        system = (prompt or self._prompt_of(user)).now()
        told = system.defaults.sampling
        own = policy is None and track is None
        chosen = self._told_by(system) if own else self._policy(policy, track)
        plan = self._experience.resolve(chosen)
        rule = plan.gate
        because = None if private else reason_to_be_private(text, self._detectors)
        return TurnSettings(
            policy=plan,
            gate=self._parts.gates[rule.use if rule else "signals"],
            private=private or bool(because),
            private_because=because,
            deadline_s=self.config.deadline_s if deadline_s is None else deadline_s,
            stall_timeout_s=self.config.stall_timeout_s,
            sampling=merge_sampling(told, sampling) if sampling else told,
            tracks=self.tracks,
            off=self.off,
            system=system.text,
            ask_to_continue=self._ask_to_continue,
            ask_to_verify=self._ask_to_verify,
            experience=self._experience,
            hard=self._shares.is_hard(text, plan),
            retries=self.config.retries,
            ledger=self.ledger,
            memory=self.memory,
            recalls=self.config.memory,
            write_memories=self._write_memories,
        )

    async def idle(self) -> anyio.Event:
        """Wait until no turn runs; returns an event that is set as soon as the next one begins.

        For background work, which yields to turns; see `vanta.runtime.background.in_quiet`.
        """
        await anyio.lowlevel.checkpoint()
        while running := [one for one in self._conversations.values() if one.lock.locked()]:
            for conversation in running:
                async with conversation.lock:
                    pass
        self._next_turn = self._next_turn or anyio.Event()
        return self._next_turn

    def observe(self, event: Event) -> None:
        """Show an event to the observers; what they raise is logged and goes no further."""
        if isinstance(event, TurnStarted):
            self.turns += 1
            if self._next_turn:
                self._next_turn.set()
                self._next_turn = None
        for observer in self._parts.observers:
            try:
                observer(event)
            except Exception:  # noqa: BLE001 - watching must not break what is watched
                _log.exception("observer %r failed on %s", observer, type(event).__name__)

    async def aclose(self) -> None:
        """Close engines and store; `vanta.open` calls it."""
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as tasks:
                for track in self.tracks.values():
                    tasks.start_soon(track.engine.aclose)
            await self.ledger.aclose()
            await self.store.aclose()

    def usual_policy(self, user: str = "default") -> Policy:
        """The policy of turns whose call names none. Raises TemplateError, UnknownName."""
        return self._told_by(self._prompt_of(user).now())

    def _told_by(self, system: Rendered) -> Policy:
        """The policy that a system prompt's template asks for, else the configured one."""
        told = system.defaults
        try:
            return self._policy(told.policy, told.track)
        except UnknownName as error:
            if told.policy or told.track:
                raise TemplateError(f"{system.where}: {error}") from error
            raise

    def _policy(self, policy: str | Policy | None, track: str | None) -> Policy:
        if track is not None:
            name = self._known_track(track)
            return Policy(f"track {name}", "one track alone", (LegPlan(name),))
        if isinstance(policy, Policy):
            return policy
        name = policy or self.config.policy
        if name not in self.policies:
            raise UnknownName("policy", name, self.policies)
        return self.policies[name]

    def _known_track(self, name: str) -> str:
        if name not in self.tracks and name not in self.off:
            raise UnknownName("track", name, [*self.tracks, *self.off])
        return name

    def _track(self, name: str) -> Track:
        if name not in self.tracks:
            raise UnknownName("track", name, self.tracks, hint=self.off.get(name, ""))
        return self.tracks[name]

    def prompt(
        self, user: str, system: str | None = None, variables: Mapping[str, Any] | None = None
    ) -> SystemPrompt:
        """The system prompt for `user`; `system` and `variables` as for `session`."""
        values = {"user": user, **self.config.variables, **(variables or {})}
        return self._prompts.prompt(f"system/{system or self.config.system}", values)

    def _ask_to_verify(self, question: str, answer: str) -> str:
        variables = {"question": question, "answer": answer}
        return self.templates.render("verify/answer", variables)

    def _write_memories(self, lines: str, summary: str) -> str:
        return self.templates.render("memory/block", {"notes": lines, "summary": summary})

    def _ask_to_continue(self, shown: str) -> str:
        variables = {"shown": shown, "anchor": anchor(shown)}
        return self.templates.render("takeover/continue", variables)


class _OwnSystem:
    """The rules of a session that has a system prompt of its own."""

    def __init__(self, runtime: Runtime, prompt: SystemPrompt) -> None:
        self._runtime = runtime
        self._prompt = prompt

    async def refresh(self) -> None:
        """As the runtime does."""
        await self._runtime.refresh()

    def settings(self, **asked: Any) -> TurnSettings:
        """The runtime's settings, but for the system prompt."""
        return self._runtime.settings(**asked, prompt=self._prompt)

    def observe(self, event: Event) -> None:
        """As the runtime does."""
        self._runtime.observe(event)


class Opening:
    """What `vanta.open` returns: enter it with `async with` for a `Runtime`, or with `with`, where
    no event loop runs, for a `SyncRuntime`."""

    def __init__(
        self, source: Any, plugins: Iterable[object], overrides: Mapping[str, Any]
    ) -> None:
        self._gather = functools.partial(gather, source, tuple(plugins), dict(overrides))
        self._stack = AsyncExitStack()
        self._sync: Any = None

    async def __aenter__(self) -> Runtime:
        async with AsyncExitStack() as stack:
            parts = await anyio.to_thread.run_sync(self._gather)
            stack.callback(parts.store.close)
            companions = [
                parts.plugins.companions[name] for name in dict.fromkeys(parts.config.companions)
            ]
            runtime = Runtime(parts, BlockingPortal())
            stack.push_async_callback(runtime.aclose)
            await stack.enter_async_context(runtime.portal)
            if parts.memory:
                await stack.enter_async_context(parts.memory.running())
            if companions:
                await stack.enter_async_context(accompanied(runtime, companions))
            self._stack = stack.pop_all()
        return runtime

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        # The portal's task group would wrap the body's exception in a group: it is not shown it.
        if isinstance(error, Exception):
            await self._stack.aclose()
            return None
        return await self._stack.__aexit__(kind, error, traceback)

    def __enter__(self) -> SyncRuntime:
        from vanta.runtime.sync import SyncOpening

        self._sync = SyncOpening(self)
        return self._sync.__enter__()  # type: ignore[no-any-return]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return self._sync.__exit__(kind, error, traceback)  # type: ignore[no-any-return]


def open(  # noqa: A001 - `vanta.open` is its name
    config: str | Path | Mapping[str, Any] | None = None,
    *,
    plugins: Iterable[object] = (),
    **overrides: Any,
) -> Opening:
    """Open a runtime: `async with vanta.open() as runtime`, or `with` for synchronous programs.

    config: a TOML file, the name of a ready configuration ("offline"), a mapping of the same
    shape, or None for the default with the user's own files. plugins: plugin objects to use beside
    the installed ones. overrides: configuration keys that go before everything else, as in
    `vanta.open(policy="race", deadline_s=10)`.

    Entering raises ConfigError, PluginError, UnknownName, TemplateError or StoreError.
    """
    return Opening(config, plugins, overrides)
