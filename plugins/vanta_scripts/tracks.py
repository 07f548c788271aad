"""The tracks of a script's run: other models, a stand-in server, offered tools, recorded engines.

Invariant: the runtime stays as it is, so scripts with different tracks share it and its local
engine. Everything that is created here is closed with its context.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from vanta import (
    DeltaStream,
    EmbedderError,
    Engine,
    EngineContext,
    GenerationRequest,
    IsolatedTools,
    Isolation,
    Message,
    ScriptError,
    Session,
    TokenCount,
    Tool,
    Track,
    UnknownName,
    WrapperEngine,
)
from vanta.scheduling import TrackStats
from vanta.tools import Permissions
from vanta_scripts.isolation import RECALL_TIMEOUT_S, IsolatedStorage
from vanta_scripts.script import Script, UpstreamPlan
from vanta_scripts.stand_in import TRACK, stand_in

if TYPE_CHECKING:
    from vanta import Runtime
    from vanta.memory import Embedder

WrapTrack = Callable[[Track], Track]
_TOOL_TEMPLATE = "tools/use"

NO_TOOLS = IsolatedTools(permissions=Permissions("deny"))
"""The tools of a script that names none: it calls nothing, whatever the configuration has on."""


class ScriptTracks:
    """The tracks, embedders and sessions of one run. Use it as a context.

    :param runtime: the runtime that lends its tracks.
    :param script: the script.
    :param storage: where sessions are kept; None for the runtime's own storage.
    :param wrap: replaces every track by another one, such as a recorder's.
    :param tools: what the run can call.
    """

    def __init__(
        self,
        runtime: Runtime,
        script: Script,
        storage: IsolatedStorage | None = None,
        wrap: WrapTrack | None = None,
        tools: IsolatedTools = NO_TOOLS,
    ) -> None:
        self.runtime = runtime
        self._tools = tools
        self._script = script
        self._storage = storage
        self._wrap = wrap
        self._own: dict[str, Track] = {}
        self._with_tools: dict[str, Track] = {}
        self._apply_plan: Callable[[UpstreamPlan], None] | None = None
        self._track_stats = TrackStats()
        self._embedders: dict[str, Embedder] = {}
        self._embedder_lock = anyio.Lock()
        self._stack = AsyncExitStack()

    @property
    def tracks(self) -> Mapping[str, Track]:
        """Return all tracks by name, without the script's tools: the tracks that judge."""
        return {**self.runtime.tracks, **self._own}

    async def __aenter__(self) -> ScriptTracks:
        async with AsyncExitStack() as stack:
            for name, model in self._script.models.items():
                self._own[name] = _with_model(self.runtime, name, model)
                await stack.enter_async_context(aclosing(self._own[name].engine))
            stack.push_async_callback(self._close_embedders)
            if self._script.uses_stand_in:
                entered = await stack.enter_async_context(stand_in(self.runtime))
                self._own[TRACK], self._apply_plan = entered
            if self._wrap:
                self._own = {name: self._wrap(track) for name, track in self.tracks.items()}
            if self._script.tools:
                self._with_tools = self._offering(self._script.tools)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        # Without the body's exception, which the stand-in's task group would wrap in a group.
        await self._stack.aclose()

    def apply(self, plan: UpstreamPlan | None) -> None:
        """Set the behaviour of the stand-in server, if there is one, for the next turn."""
        if self._apply_plan:
            self._apply_plan(plan or UpstreamPlan())

    def session(self, user: str, name: str) -> Session:
        """Return the session `name` of `user` on these tracks."""
        script = self._script
        return self.runtime.session(
            name,
            user=user,
            private=script.private,
            system=script.system,
            variables=script.variables,
            isolation=self._isolation(),
        )

    async def embedder(self, name: str | None) -> Embedder:
        """Return the loaded embedder of that name, or memory's own for None.

        Memory's own embedder is shared; others are created once and closed with this context.

        :raises UnknownName: if no plugin provides the embedder.
        :raises EmbedderError: if it cannot be loaded, or memory has no embedder.
        """
        shared = _memory_embedder(self.runtime)
        if shared is not None and name in (None, shared.name):
            await shared.load()
            return shared
        if name is None:
            raise EmbedderError(why_no_embedder(self.runtime))
        async with self._embedder_lock:
            if name not in self._embedders:
                create = self.runtime.create_embedder
                self._embedders[name] = await anyio.to_thread.run_sync(create, name)
            await self._embedders[name].load()
            return self._embedders[name]

    def _isolation(self) -> Isolation:
        """Return what differs from the runtime.

        The statistics of the tracks, too: failures of a stand-in must not count against the real
        track.
        """
        storage = self._storage
        return Isolation(
            tracks=self._with_tools or self._own,
            track_stats=self._track_stats if self._own else None,
            store=storage.store if storage else None,
            memory=storage.memory if storage else None,
            recall_timeout_s=RECALL_TIMEOUT_S if storage else 0.0,
            tools=self._tools,
        )

    def _offering(self, tools: Sequence[Tool]) -> dict[str, Track]:
        """Return all tracks with `tools` offered to them."""
        described = [{"name": tool.name, "description": tool.description} for tool in tools]
        rules = self.runtime.templates.render(_TOOL_TEMPLATE, {"tools": described}).strip()
        return {
            name: dataclasses.replace(track, engine=_ToolOffering(track.engine, tools, rules))
            for name, track in self.tracks.items()
        }

    async def _close_embedders(self) -> None:
        for embedder in self._embedders.values():
            await embedder.aclose()


def why_no_embedder(runtime: Runtime) -> str:
    """Return why memory has no embedder, or "" if it has one."""
    if _memory_embedder(runtime):
        return ""
    why = runtime.memory.why_lexical if runtime.memory else runtime.memory_off
    return f"memory has no embedder: {why}"


def _memory_embedder(runtime: Runtime) -> Embedder | None:
    return runtime.memory.embedder if runtime.memory else None


def _with_model(runtime: Runtime, name: str, model: str) -> Track:
    """Return the track `name` with another model."""
    if name in runtime.off:
        raise ScriptError(f"track {name!r} of 'models' is off: {runtime.off[name]}")
    if name not in runtime.tracks:
        raise UnknownName("track", name, runtime.tracks)
    config = runtime.config.tracks[name]
    factory = runtime.plugins.engines[config.engine]
    context = EngineContext(name, model, config.window, runtime.models.find, private=config.private)
    engine = factory.create(runtime.loaded.options(name, factory.options), context)
    return dataclasses.replace(runtime.tracks[name], engine=engine)


class _ToolOffering(WrapperEngine):
    """An engine whose conversations are offered tools. Its owner closes it.

    Only requests of a session get the tools; a verifier's or a judge's does not. The rules of use
    (template `tools/use`) end the system prompt. No tool is run: calls are part of the reply.
    """

    answers = Engine.answers

    def __init__(self, engine: Engine, tools: Sequence[Tool], rules: str) -> None:
        super().__init__(engine)
        self._tools = tuple(tools)
        self._rules = rules

    def stream(self, request: GenerationRequest) -> AbstractAsyncContextManager[DeltaStream]:
        """Return the engine's stream, with the tools if the request belongs to a session."""
        if request.session:
            messages = self._with_rules(request.messages)
            tools = (*request.tools, *self._tools)
            request = dataclasses.replace(request, messages=messages, tools=tools)
        return self.wrapped.stream(request)

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        """Count the tokens of `messages` and of the rules of use."""
        return await self.wrapped.count_tokens(self._with_rules(messages))

    def _with_rules(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """Return the messages with the rules at the end of the system prompt, if there is one."""
        if not messages or messages[0].role != "system":
            return tuple(messages)
        system = f"{messages[0].content}\n\n{self._rules}"
        return (dataclasses.replace(messages[0], content=system), *messages[1:])

    async def aclose(self) -> None:
        """Do nothing: the owner of the engine closes it."""
