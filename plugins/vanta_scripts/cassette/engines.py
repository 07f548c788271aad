"""Engines that record to a cassette, and engines that play one.

Invariant: recording changes nothing for the caller (same deltas, errors and receipts), and a
stream is recorded as far as it was read. Playing uses no other engine; a request that was not
recorded is an EngineError, never an invented answer. A stream that was left before its end stays
silent from there on, so losing tracks lose again and stalled ones stall again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any

import anyio
import anyio.lowlevel
from pydantic import BaseModel, ConfigDict

from vanta import (
    Capabilities,
    Delta,
    DeltaStream,
    Engine,
    EngineContext,
    EngineError,
    EngineFactory,
    EngineModel,
    ErrorKind,
    Fold,
    GenerationRequest,
    Health,
    Message,
    Receipt,
    TokenCount,
    Tool,
    ToolCounts,
    Track,
    WrapperEngine,
    hookimpl,
)
from vanta_scripts.cassette.tape import (
    Cassette,
    RecordedStream,
    RecordedTrack,
    Reel,
    fingerprint,
    fingerprint_of_messages,
    fingerprint_of_text,
    label,
)
from vanta_scripts.results import TurnResult
from vanta_scripts.script import Script
from vanta_scripts.tracks import WrapTrack

ENGINE = "cassette"


class Recorder:
    """Fills a cassette. Pass it to `Suite` as `tape`."""

    def __init__(self) -> None:
        self.cassette = Cassette()
        self._finished: dict[str, int] = {}

    def wrap(self, script: Script, number: int) -> WrapTrack:
        """Return the function that records the tracks of one run of a script."""
        reel = Reel(label(script), number)
        self.cassette.reels.append(reel)

        def recorded(track: Track) -> Track:
            self._add_track(track)
            return dataclasses.replace(track, engine=_RecordingEngine(track, reel))

        return recorded

    def turn_over(self, script: Script, number: int, turn: TurnResult) -> None:
        """Drop the deltas of legs that lost: played, they lose again."""
        reel = self.cassette.reel(label(script), number)
        if reel is None:
            return
        key = f"{label(script)}/{number}"
        legs = turn.reply.trace.legs if turn.reply else ()
        lost = {leg.track for leg in legs if leg.state == "cancelled"}
        served = {leg.track for leg in legs if leg.state in ("won", "broken", "finished")}
        for stream in reel.streams[self._finished.get(key, 0) :]:
            if stream.end == "left" and stream.track in lost - served:
                stream.deltas.clear()
        self._finished[key] = len(reel.streams)

    def _add_track(self, track: Track) -> None:
        engine = track.engine
        self.cassette.tracks[track.name] = RecordedTrack(
            engine.model,
            engine.name,
            track.window or engine.window,
            dataclasses.asdict(engine.capabilities),
        )


class Player:
    """A plugin with the engine `cassette`. Pass it to `vanta.open` and, as `tape`, to `Suite`.

    :param cassette: the cassette to play.
    """

    name = "cassette"

    def __init__(self, cassette: Cassette) -> None:
        self._cassette = cassette

    @property
    def tracks(self) -> dict[str, dict[str, Any]]:
        """Return the `tracks` configuration that plays every recorded track."""
        return {
            name: {"engine": ENGINE, "model": track.model, "enabled": True}
            for name, track in self._cassette.tracks.items()
        }

    def recast(self, script: Script) -> Script:
        """Return `script` without stand-in and other models: their output is on the cassette."""
        turns = tuple(dataclasses.replace(turn, upstream=None) for turn in script.turns)
        return dataclasses.replace(script, turns=turns, upstream=None, models={})

    def wrap(self, script: Script, number: int) -> WrapTrack:
        """Return the function that replaces the tracks of one run by recorded ones."""
        reel = self._cassette.reel(label(script), number) or Reel(label(script), number)
        # A copy for this run: played streams stay played when the script restarts.
        reel = dataclasses.replace(reel, streams=list(reel.streams))

        def played(track: Track) -> Track:
            recorded = self._cassette.tracks.get(track.name)
            engine = _PlayedEngine(track.name, recorded, reel) if recorded else track.engine
            return dataclasses.replace(track, engine=engine)

        return played

    def turn_over(self, script: Script, number: int, turn: TurnResult) -> None:
        """Do nothing: a player only plays."""

    @hookimpl
    def vanta_engines(self) -> Iterable[EngineFactory]:
        """Return the factory of the engine `cassette`."""
        return (EngineFactory(ENGINE, "plays a recorded run", _AnyOptions, self._create),)

    def _create(self, _options: Any, context: EngineContext) -> Engine:
        unknown = RecordedTrack(context.model, ENGINE, None, {})
        recorded = self._cassette.tracks.get(context.track, unknown)
        return _PlayedEngine(context.track, recorded, Reel("", 0))


class _AnyOptions(BaseModel):
    """The options of the recorded engine, which are ignored."""

    model_config = ConfigDict(extra="allow")


class _RecordingEngine(WrapperEngine):
    """An engine whose streams and counts are recorded. Its owner closes it."""

    answers = Engine.answers

    def __init__(self, track: Track, reel: Reel) -> None:
        super().__init__(track.engine)
        self._track = track.name
        self._reel = reel

    def stream(self, request: GenerationRequest) -> AbstractAsyncContextManager[DeltaStream]:
        """Return the engine's stream, recorded."""
        stream = RecordedStream(self._track, fingerprint(request))
        self._reel.streams.append(stream)
        return _RecordingContext(self.wrapped.stream(request), stream)

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        """Return the engine's count and record it."""
        count = await self.wrapped.count_tokens(messages)
        self._reel.counts[f"{self._track}/{fingerprint_of_messages(messages)}"] = count.value
        return count

    async def count_texts(self, texts: Sequence[str]) -> list[TokenCount]:
        """Return the engine's counts and record them."""
        counts = await self.wrapped.count_texts(texts)
        for text, count in zip(texts, counts, strict=True):
            self._reel.counts[f"{self._track}/{fingerprint_of_text(text)}"] = count.value
        return counts

    async def count_tools(self, tools: Sequence[Tool]) -> ToolCounts:
        """Count by the texts, whose counts are recorded: the cassette knows no other way."""
        return await Engine.count_tools(self, tools)

    async def aclose(self) -> None:
        """Do nothing: the owner of the engine closes it."""


class _RecordingContext:
    """The context of a recorded stream; records an error on entry, too."""

    def __init__(
        self, inner: AbstractAsyncContextManager[DeltaStream], stream: RecordedStream
    ) -> None:
        self._inner = inner
        self._stream = stream

    async def __aenter__(self) -> DeltaStream:
        try:
            return _RecordingDeltas(await self._inner.__aenter__(), self._stream)
        except EngineError as error:
            _record_error(self._stream, error)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._inner.__aexit__(kind, error, traceback)


class _RecordingDeltas(DeltaStream):
    """A stream whose deltas are recorded as they are read."""

    def __init__(self, inner: DeltaStream, stream: RecordedStream) -> None:
        self._inner = inner
        self._stream = stream
        self._fold = Fold()

    @property
    def receipt(self) -> Any:  # type: ignore[override]
        """Forward to the engine's stream."""
        return self._inner.receipt

    async def __anext__(self) -> Delta:
        try:
            delta = self._fold.add(await anext(self._inner))
        except StopAsyncIteration:
            self._stream.end = "complete"
            raise
        except EngineError as error:
            _record_error(self._stream, error)
            raise
        self._stream.deltas.append(dataclasses.replace(delta, timings=None))
        if delta.finish_reason is not None:
            self._stream.end = "complete"
        return delta


def _record_error(stream: RecordedStream, error: EngineError) -> None:
    stream.end = "error"
    stream.error = {key: value for key, value in error.to_dict().items() if key != "cause"}


class _PlayedEngine(Engine):
    """One track of one reel."""

    keeps_state = False

    def __init__(self, track: str, recorded: RecordedTrack, reel: Reel) -> None:
        self.name, self.model = recorded.engine, recorded.model
        known = {field.name for field in dataclasses.fields(Capabilities)}
        self.capabilities = Capabilities(
            **{name: value for name, value in recorded.capabilities.items() if name in known}
        )
        self._window = recorded.window
        self._track = track
        self._reel = reel

    @property
    def window(self) -> int | None:
        """Return the recorded window."""
        return self._window

    def stream(self, request: GenerationRequest) -> AbstractAsyncContextManager[DeltaStream]:
        """Return the recorded answer; equal requests get their answers in recorded order."""
        return self._stream(request)

    @asynccontextmanager
    async def _stream(self, request: GenerationRequest) -> AsyncIterator[DeltaStream]:
        key = (self._track, fingerprint(request))
        matches = (stream for stream in self._reel.streams if (stream.track, stream.key) == key)
        recorded = next(matches, None)
        if recorded is None:
            raise EngineError(
                ErrorKind.BAD_REQUEST,
                f"the cassette has no answer to this request of track {self._track!r} "
                f"in {self._reel.script!r}",
                engine=self.name,
                model=self.model,
                suggestion="The script or its configuration has changed: record it again.",
            )
        self._reel.streams = [stream for stream in self._reel.streams if stream is not recorded]
        deltas = _PlayedDeltas(recorded)
        try:
            yield deltas
        finally:
            deltas.settle()

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        """Return the recorded count, or 1 if it was not recorded."""
        return self._count(fingerprint_of_messages(messages))

    async def count_texts(self, texts: Sequence[str]) -> list[TokenCount]:
        """Return the recorded counts, or 1 for a text that was not recorded."""
        return [self._count(fingerprint_of_text(text)) for text in texts]

    def _count(self, key: str) -> TokenCount:
        return TokenCount(self._reel.counts.get(f"{self._track}/{key}", 1), exact=True)

    async def models(self) -> Sequence[EngineModel]:
        """Return the recorded model."""
        return (EngineModel(self.model, self._window),)

    async def health(self, *, force: bool = False) -> Health:
        """Return that the engine is healthy."""
        return Health(True, "a cassette is always healthy")

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""


class _PlayedDeltas(DeltaStream):
    """The deltas of a recorded stream."""

    def __init__(self, stream: RecordedStream) -> None:
        self._stream = stream
        self._deltas = iter(stream.deltas)
        self._fold = Fold()

    async def __anext__(self) -> Delta:
        await anyio.lowlevel.checkpoint()
        for delta in self._deltas:
            self._fold.add(delta)
            return delta
        if self._stream.error is not None:
            raise _recorded_error(self._stream.error)
        if self._stream.end == "left":
            await anyio.sleep_forever()
        raise StopAsyncIteration

    def settle(self) -> None:
        """Set the receipt."""
        usage = self._fold.completion().usage
        self.receipt = Receipt(usage.input_tokens, usage.output_tokens) if usage else Receipt(0, 0)


def _recorded_error(data: dict[str, Any]) -> EngineError:
    return EngineError(
        ErrorKind(data["kind"]),
        data["message"],
        engine=data["engine"],
        model=data["model"],
        server=data["server"],
        suggestion=data["suggestion"],
        retry_after_s=data["retry_after_s"],
    )
