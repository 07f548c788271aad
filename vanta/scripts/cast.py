"""The tracks that a script runs on, where they are not the runtime's own.

A script may want other models, a stand-in for the api track's server, and its engines recorded.
Invariant: the runtime is left as it is, so that scripts with different casts share one, and with it
the local engine; what a cast made is closed with it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, Any

from vanta.engine import EngineContext
from vanta.errors import ScriptError, UnknownName
from vanta.scheduling.experience import Experience
from vanta.scheduling.policy import LegPlan, Policy
from vanta.scripts.model import Script, UpstreamPlan
from vanta.scripts.stand_in import TRACK, stand_in
from vanta.session import Session
from vanta.track import Track
from vanta.turn import Conversation, TurnSettings

if TYPE_CHECKING:
    from vanta.events import Event
    from vanta.runtime import Runtime

Wrap = Callable[[Track], Track]


class Cast:
    """Who answers in one run of a script; use it as a context.

    wrap: puts something around the engine of every track (a recorder). Entering raises UnknownName
    for a track that does not exist, ScriptError for one that is off.
    """

    def __init__(self, runtime: Runtime, script: Script, wrap: Wrap | None = None) -> None:
        self.runtime = runtime
        self._script = script
        self._wrap = wrap
        self._own: dict[str, Track] = {}
        self._direct: Callable[[UpstreamPlan], None] | None = None
        self._experience = Experience()
        self._stack = AsyncExitStack()

    @property
    def tracks(self) -> Mapping[str, Track]:
        """All tracks, by name."""
        return {**self.runtime.tracks, **self._own}

    async def __aenter__(self) -> Cast:
        async with AsyncExitStack() as stack:
            for name, model in self._script.models.items():
                self._own[name] = _with_model(self.runtime, name, model)
                await stack.enter_async_context(aclosing(self._own[name].engine))
            if self._script.stands_in:
                entered = await stack.enter_async_context(stand_in(self.runtime))
                self._own[TRACK], self._direct = entered
            if self._wrap:
                self._own = {name: self._wrap(track) for name, track in self.tracks.items()}
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        # Not told of the body's exception: it is not the stand-in's to wrap in a group.
        await self._stack.aclose()

    def direct(self, plan: UpstreamPlan | None) -> None:
        """Tell the stand-in, if there is one, how to behave in the next turn."""
        if self._direct:
            self._direct(plan or self._script.upstream or UpstreamPlan())

    def session(self, user: str, name: str) -> Session:
        """The conversation `name` of `user`, answered by this cast."""
        script = self._script
        if not self._own:
            return self.runtime.session(
                name,
                user=user,
                private=script.private,
                system=script.system,
                variables=script.variables,
            )
        rules = _CastRules(self.runtime, script, user, self._own, self._experience)
        return Session(Conversation(user, name), rules, self.runtime.store, private=script.private)


class _CastRules:
    """The runtime's rules, but for the tracks, the script's system prompt and what is learnt of
    the tracks: a stand-in that fails says nothing of the real one."""

    def __init__(
        self,
        runtime: Runtime,
        script: Script,
        user: str,
        tracks: Mapping[str, Track],
        experience: Experience,
    ) -> None:
        self._runtime = runtime
        self._experience = experience
        self._tracks = tracks
        self._prompt = runtime.prompt(user, script.system, script.variables)

    async def refresh(self) -> None:
        """As the runtime does."""
        await self._runtime.refresh()

    def settings(self, **asked: Any) -> TurnSettings:
        """The settings of one turn; see `vanta.session.TurnRules`."""
        track = asked["track"]
        if track in self._tracks:
            alone = Policy(f"track {track}", "one track alone", (LegPlan(track),))
            asked = {**asked, "track": None, "policy": alone}
        settings = self._runtime.settings(**asked, prompt=self._prompt)
        tracks = {**settings.tracks, **self._tracks}
        return dataclasses.replace(settings, tracks=tracks, experience=self._experience)

    def observe(self, event: Event) -> None:
        """As the runtime does."""
        self._runtime.observe(event)


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
