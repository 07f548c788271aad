"""Records what engines say.

Invariant: whoever asks notices nothing: the same deltas, errors and receipt come through; what is
recorded of a stream is what was taken from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

from vanta import WrapperEngine
from vanta.engine import (
    DeltaStream,
    Engine,
    GenerationRequest,
    TokenCount,
)
from vanta.errors import EngineError
from vanta.messages import Delta, Message
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


class Recorder:
    """Fills a cassette; give `wrap` to a `Suite`, and call `turn_over` after every turn."""

    def __init__(self) -> None:
        self.cassette = Cassette()
        self._done: dict[str, int] = {}

    def wrap(self, script: Script, number: int) -> Wrap:
        """What records the engines of one run of a script."""
        reel = Reel(label(script), number)
        self.cassette.reels.append(reel)

        def around(track: Track) -> Track:
            self._note(track)
            return dataclasses.replace(track, engine=_Recording(track, reel))

        return around

    def turn_over(self, script: Script, number: int, turn: TurnResult) -> None:
        """Of legs that lost, keep only that they were begun: played, they shall lose again."""
        reel = self.cassette.reel(label(script), number)
        if reel is None:
            return
        key = f"{label(script)}/{number}"
        legs = turn.reply.trace.legs if turn.reply else ()
        lost = {leg.track for leg in legs if leg.state == "cancelled"}
        served = {leg.track for leg in legs if leg.state in ("won", "broken", "finished")}
        for stream in reel.streams[self._done.get(key, 0) :]:
            if stream.end == "left" and stream.track in lost - served:
                stream.deltas.clear()
        self._done[key] = len(reel.streams)

    def _note(self, track: Track) -> None:
        engine = track.engine
        self.cassette.tracks[track.name] = RecordedTrack(
            engine.model,
            engine.name,
            track.window or engine.window,
            dataclasses.asdict(engine.capabilities),
        )


class _Recording(WrapperEngine):
    """An engine whose streams and counts are recorded. Its owner closes it."""

    answers = Engine.answers

    def __init__(self, track: Track, reel: Reel) -> None:
        super().__init__(track.engine)
        self._track = track.name
        self._reel = reel

    def stream(self, request: GenerationRequest) -> AbstractAsyncContextManager[DeltaStream]:
        """Open the engine's stream and record it."""
        stream = Stream(self._track, fingerprint(request))
        self._reel.streams.append(stream)
        return _Tap(self.wrapped.stream(request), stream)

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        """Record the engine's count."""
        count = await self.wrapped.count_tokens(messages)
        self._reel.counts[f"{self._track}/{fingerprint_of_messages(messages)}"] = count.value
        return count

    async def count_texts(self, texts: Sequence[str]) -> list[TokenCount]:
        """Record the engine's counts."""
        counts = await self.wrapped.count_texts(texts)
        for text, count in zip(texts, counts, strict=True):
            self._reel.counts[f"{self._track}/{fingerprint_of_text(text)}"] = count.value
        return counts

    async def aclose(self) -> None:
        """Do nothing: the engine belongs to the runtime."""


class _Tap:
    """The context of a stream that is recorded."""

    def __init__(self, inner: AbstractAsyncContextManager[DeltaStream], stream: Stream) -> None:
        self._inner = inner
        self._stream = stream

    async def __aenter__(self) -> DeltaStream:
        try:
            return _Tapped(await self._inner.__aenter__(), self._stream)
        except EngineError as error:
            _broke(self._stream, error)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._inner.__aexit__(kind, error, traceback)


class _Tapped(DeltaStream):
    """A stream whose deltas are kept."""

    def __init__(self, inner: DeltaStream, stream: Stream) -> None:
        self._inner = inner
        self._stream = stream

    @property
    def receipt(self) -> Any:  # type: ignore[override]
        """The engine's own."""
        return self._inner.receipt

    async def __anext__(self) -> Delta:
        try:
            delta = await anext(self._inner)
        except StopAsyncIteration:
            self._stream.end = "complete"
            raise
        except EngineError as error:
            _broke(self._stream, error)
            raise
        self._stream.deltas.append(dataclasses.replace(delta, timings=None))
        if delta.finish_reason is not None:
            self._stream.end = "complete"
        return delta


def _broke(stream: Stream, error: EngineError) -> None:
    stream.end = "error"
    stream.error = {key: value for key, value in error.to_dict().items() if key != "cause"}
