"""The tracks that a script runs on, where they are not the runtime's own.

A script may want other models, a stand-in for the api track's server, tools to offer and its
engines recorded. Invariant: the runtime is left as it is, so that scripts with different casts
share one, and with it the local engine; what a cast made is closed with it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING

from vanta.engine import EngineContext, Tool
from vanta.errors import ScriptError, UnknownName
from vanta.runtime import Isolation, Session
from vanta.scheduling import TrackStats
from vanta.track import Track
from vanta_scripts.embedders import Embedders
from vanta_scripts.fake_api import TRACK, stand_in
from vanta_scripts.isolation import PATIENCE_S, Scene
from vanta_scripts.model import Script, UpstreamPlan
from vanta_scripts.tools import TEMPLATE, offering

if TYPE_CHECKING:
    from vanta.memory import Embedder
    from vanta.runtime import Runtime

Wrap = Callable[[Track], Track]


class Cast:
    """Who answers in one run of a script; use it as a context.

    scene: where its conversations are kept; None: with the runtime's own. wrap: puts something
    around the engine of every track (a recorder). Entering raises UnknownName for a track that does
    not exist, ScriptError for one that is off.
    """

    def __init__(
        self,
        runtime: Runtime,
        script: Script,
        scene: Scene | None = None,
        wrap: Wrap | None = None,
    ) -> None:
        self.runtime = runtime
        self._script = script
        self._scene = scene
        self._wrap = wrap
        self._own: dict[str, Track] = {}
        self._speaking: dict[str, Track] = {}
        self._direct: Callable[[UpstreamPlan], None] | None = None
        self._experience = TrackStats()
        self._embedders = Embedders(runtime)
        self._stack = AsyncExitStack()

    @property
    def tracks(self) -> Mapping[str, Track]:
        """All tracks, by name, as a judge asks them: without the script's tools."""
        return {**self.runtime.tracks, **self._own}

    async def __aenter__(self) -> Cast:
        async with AsyncExitStack() as stack:
            for name, model in self._script.models.items():
                self._own[name] = _with_model(self.runtime, name, model)
                await stack.enter_async_context(aclosing(self._own[name].engine))
            stack.push_async_callback(self._embedders.aclose)
            if self._script.stands_in:
                entered = await stack.enter_async_context(stand_in(self.runtime))
                self._own[TRACK], self._direct = entered
            if self._wrap:
                self._own = {name: self._wrap(track) for name, track in self.tracks.items()}
            if self._script.tools:
                self._speaking = self._offered(self._script.tools)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        # Not told of the body's exception: it is not the stand-in's to wrap in a group.
        await self._stack.aclose()

    def direct(self, plan: UpstreamPlan | None) -> None:
        """Tell the stand-in, if there is one, how to behave in the next turn."""
        if self._direct:
            self._direct(plan or self._script.upstream or UpstreamPlan())

    def _offered(self, tools: Sequence[Tool]) -> dict[str, Track]:
        """All tracks, offered tools."""
        told = [{"name": tool.name, "description": tool.description} for tool in tools]
        rules = self.runtime.templates.render(TEMPLATE, {"tools": told}).strip()
        return {name: offering(track, tools, rules) for name, track in self.tracks.items()}

    async def embedder(self, name: str | None) -> Embedder:
        """See `vanta_scripts.expectations.Seen`."""
        return await self._embedders.get(name)

    def session(self, user: str, name: str) -> Session:
        """The conversation `name` of `user`, answered by this cast."""
        script = self._script
        return self.runtime.session(
            name,
            user=user,
            private=script.private,
            system=script.system,
            variables=script.variables,
            isolation=self._isolation(),
        )

    def _isolation(self) -> Isolation:
        """Return the tracks, the store and the memory of this run.

        A fake API that fails says nothing of the real one, so the run learns for itself.
        """
        scene = self._scene
        return Isolation(
            tracks=self._speaking or self._own,
            experience=self._experience if self._own else None,
            store=scene.store if scene else None,
            memory=scene.memory if scene else None,
            recall_timeout_s=PATIENCE_S if scene else 0.0,
        )


def _with_model(runtime: Runtime, name: str, model: str) -> Track:
    """The track `name` with another model."""
    if name in runtime.off:
        raise ScriptError(f"track {name!r} of 'models' is off: {runtime.off[name]}")
    if name not in runtime.tracks:
        raise UnknownName("track", name, runtime.tracks)
    config = runtime.config.tracks[name]
    factory = runtime.plugins.engines[config.engine]
    context = EngineContext(name, model, config.window, runtime.models.find)
    engine = factory.create(runtime.loaded.options(name, factory.options), context)
    return dataclasses.replace(runtime.tracks[name], engine=engine)
