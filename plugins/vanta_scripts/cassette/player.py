"""Plays a cassette: engines that say again what was recorded, as fast as they are read.

Invariant: no engine but the player is made or asked; a request that was not recorded is an
EngineError that says so, never an invented answer. What was left before its end is silent from
there on, so that who lost loses again and who stalled stalls again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
from pydantic import BaseModel, ConfigDict

from vanta.engine import (
    Capabilities,
    DeltaStream,
    Engine,
    EngineContext,
    EngineFactory,
    EngineModel,
    GenerationRequest,
    Health,
    Receipt,
    TokenCount,
)
from vanta.errors import EngineError, ErrorKind
from vanta.hookspecs import hookimpl
from vanta.messages import Delta, Fold, Message
from vanta.track import Track
from vanta_scripts.cassette.tape import (
    Cassette,
    RecordedTrack,
    Reel,
    Stream,
    fingerprint,
    fingerprint_of_messages,
    fingerprint_of_text,
    label,
)
from vanta_scripts.model import Script
from vanta_scripts.results import TurnResult
from vanta_scripts.tracks import Wrap

ENGINE = "cassette"


class _AnyOptions(BaseModel):
    """Those of the engine that was recorded; nothing is made of them."""

    model_config = ConfigDict(extra="allow")


class Player:
    """A plugin whose engine `cassette` plays; `tracks` is the configuration that uses it."""

    name = "cassette"

    def __init__(self, cassette: Cassette) -> None:
        self._cassette = cassette

    @property
    def tracks(self) -> dict[str, dict[str, Any]]:
        """Configuration for `tracks`: every recorded one, played."""
        return {
            name: {"engine": ENGINE, "model": track.model, "enabled": True}
            for name, track in self._cassette.tracks.items()
        }

    def recast(self, script: Script) -> Script:
        """`script` as it is played: no stand-in is started and no other model loaded, for what
        they said is on the cassette."""
        turns = tuple(dataclasses.replace(turn, upstream=None) for turn in script.turns)
        return dataclasses.replace(script, turns=turns, upstream=None, models={})

    def wrap(self, script: Script, number: int) -> Wrap:
        """What plays the reel of one run of a script."""
        reel = self._cassette.reel(label(script), number) or Reel(label(script), number)
        # The run's own copy: what was played stays played when the script restarts.
        reel = dataclasses.replace(reel, streams=list(reel.streams))

        def around(track: Track) -> Track:
            recorded = self._cassette.tracks.get(track.name)
            engine = _Played(track.name, recorded, reel) if recorded else track.engine
            return dataclasses.replace(track, engine=engine)

        return around

    def turn_over(self, script: Script, number: int, turn: TurnResult) -> None:
        """Nothing: a player only plays."""

    @hookimpl
    def vanta_engines(self) -> Iterable[EngineFactory]:
        """The factory `cassette`."""
        return (EngineFactory(ENGINE, "plays what was recorded", _AnyOptions, self._create),)

    def _create(self, _options: Any, context: EngineContext) -> Engine:
        unknown = RecordedTrack(context.model, ENGINE, None, {})
        recorded = self._cassette.tracks.get(context.track, unknown)
        return _Played(context.track, recorded, Reel("", 0))


class _Played(Engine):
    """One track of one reel."""

    keeps_state = False

    def __init__(self, track: str, recorded: RecordedTrack, reel: Reel) -> None:
        self.name, self.model = recorded.engine, recorded.model
        known = {field.name for field in dataclasses.fields(Capabilities)}
        held = {name: value for name, value in recorded.capabilities.items() if name in known}
        self.capabilities = Capabilities(**held)
        self._window = recorded.window
        self._track = track
        self._reel = reel

    @property
    def window(self) -> int | None:
        """As it was."""
        return self._window

    def stream(self, request: GenerationRequest) -> AbstractAsyncContextManager[DeltaStream]:
        """What was answered to this request; the answers to equal requests in their order."""
        return self._stream(request)

    @asynccontextmanager
    async def _stream(self, request: GenerationRequest) -> AsyncIterator[DeltaStream]:
        wanted = (self._track, fingerprint(request))
        found = next((one for one in self._reel.streams if (one.track, one.key) == wanted), None)
        if found is None:
            raise EngineError(
                ErrorKind.BAD_REQUEST,
                f"the cassette has no answer to this for track {self._track!r} "
                f"in {self._reel.script!r}",
                engine=self.name,
                model=self.model,
                suggestion="The script or what it runs on has changed: record it again.",
            )
        self._reel.streams = [one for one in self._reel.streams if one is not found]
        playing = _Playing(found)
        try:
            yield playing
        finally:
            playing.settle()

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        """As it was counted; what was not counted then is small."""
        return self._counted(fingerprint_of_messages(messages))

    async def count_texts(self, texts: Sequence[str]) -> list[TokenCount]:
        """As they were counted."""
        return [self._counted(fingerprint_of_text(text)) for text in texts]

    def _counted(self, key: str) -> TokenCount:
        return TokenCount(self._reel.counts.get(f"{self._track}/{key}", 1), exact=True)

    async def models(self) -> Sequence[EngineModel]:
        """The one that was recorded."""
        return (EngineModel(self.model, self._window),)

    async def health(self, *, force: bool = False) -> Health:
        """Well."""
        return Health(True, "a cassette is always well")

    async def aclose(self) -> None:
        """Nothing to close."""


class _Playing(DeltaStream):
    """The deltas of a recorded stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._deltas = iter(stream.deltas)
        self._fold = Fold()

    async def __anext__(self) -> Delta:
        await anyio.lowlevel.checkpoint()
        for delta in self._deltas:
            self._fold.add(delta)
            return delta
        if self._stream.error is not None:
            raise _error(self._stream.error)
        if self._stream.end == "left":
            await anyio.sleep_forever()
        raise StopAsyncIteration

    def settle(self) -> None:
        """Write the receipt."""
        usage = self._fold.completion().usage
        self.receipt = Receipt(usage.input_tokens, usage.output_tokens) if usage else Receipt(0, 0)


def _error(told: dict[str, Any]) -> EngineError:
    return EngineError(
        ErrorKind(told["kind"]),
        told["message"],
        engine=told["engine"],
        model=told["model"],
        server=told["server"],
        suggestion=told["suggestion"],
        retry_after_s=told["retry_after_s"],
    )
