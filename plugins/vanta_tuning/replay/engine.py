"""An engine that plays what was recorded, in as few deltas as the scheduler can do with.

Invariant: at every moment it has said and spent what the recording says of that moment; what a
stopped play costs is the tokens that it had produced by then. A takeover plays its whole
recording: how much of it would have been left to say, nobody recorded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import anyio

from vanta.engine import (
    Capabilities,
    DeltaStream,
    Engine,
    EngineModel,
    GenerationRequest,
    Health,
    Receipt,
    TokenCount,
)
from vanta.errors import EngineError
from vanta.messages import Delta, Message, TokenLogprob, Usage
from vanta_tuning.replay.plays import Play, Recording

WORD = "·"
"""What stands for a recorded token's text."""


class ReplayEngine(Engine):
    """Plays one track of `recordings`, which are found by the request's session.

    heartbeat_s: the longest that a play is silent between its first content and its end, below
    the stall timeout.
    """

    name = "replay"
    keeps_state = False
    capabilities = Capabilities(
        tools=True, grammar=True, json_schema=True, logprobs=True, prefix_continuation=True
    )

    def __init__(self, track: str, recordings: Mapping[str, Recording], heartbeat_s: float) -> None:
        self.model = track
        self._recordings = recordings
        self._heartbeat_s = heartbeat_s

    def stream(self, request: GenerationRequest) -> _Staged:
        """Play the recording that the request names."""
        return _Staged(self._recordings[request.session].plays[self.model], self)

    def failure(self, play: Play) -> EngineError:
        """The error that a play ends in."""
        assert play.error is not None  # noqa: S101 - only called for one that fails
        return EngineError(play.error, "as it was recorded", engine=self.name, model=self.model)

    @property
    def heartbeat_s(self) -> float:
        """See the class."""
        return self._heartbeat_s

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        """Nothing is prompted here."""
        return TokenCount(0, exact=True)

    async def models(self) -> Sequence[EngineModel]:
        """The track."""
        return (EngineModel(self.model),)

    async def health(self, *, force: bool = False) -> Health:
        """Always well."""
        return Health(True, "a recording")

    async def aclose(self) -> None:
        """Nothing is open."""


class _Staged:
    """The context of one play."""

    __slots__ = ("_engine", "_play", "_stream")

    def __init__(self, play: Play, engine: ReplayEngine) -> None:
        self._play = play
        self._engine = engine

    async def __aenter__(self) -> DeltaStream:
        self._stream = _Playing(self._play, self._engine)
        return self._stream

    async def __aexit__(self, *exc_info: object) -> None:
        self._stream.settle()


class _Playing(DeltaStream):
    """The deltas of one play: first content, a sign of life now and then, the rest."""

    def __init__(self, play: Play, engine: ReplayEngine) -> None:
        self._play = play
        self._engine = engine
        self._started_at = anyio.current_time()
        self._said = 0
        self._over = False

    async def __anext__(self) -> Delta:
        play = self._play
        if self._over:
            raise StopAsyncIteration
        if not self._said:
            await self._until(play.ttft_s)
            if play.error and not play.speaks:
                raise self._engine.failure(play)
            self._said = 1
            if not play.error and play.total_s <= play.ttft_s:
                return self._last(play.output_tokens)
            return Delta(text=WORD)
        return await self._rest(play)

    async def _rest(self, play: Play) -> Delta:
        passed = anyio.current_time() - self._started_at
        if play.total_s - passed > self._engine.heartbeat_s:
            await anyio.sleep(self._engine.heartbeat_s)
            return self._more(self.produced())
        await self._until(play.total_s)
        if play.error:
            raise self._engine.failure(play)
        return self._last(max(play.output_tokens - self._said, 0))

    def _more(self, produced: int) -> Delta:
        fresh, self._said = max(produced - self._said, 0), max(produced, self._said)
        return Delta(text=WORD * fresh)

    def _last(self, words: int) -> Delta:
        self._over = True
        play = self._play
        known = play.mean_logprob
        return Delta(
            text=WORD * words + self._verdict(),
            finish_reason="stop",
            model=self._engine.model,
            usage=Usage(play.input_tokens, play.output_tokens),
            logprobs=() if known is None else (TokenLogprob(WORD, known),),
        )

    def _verdict(self) -> str:
        """A word for how good the answer is, so that a right and a wrong one read differently."""
        score = self._play.score
        return "" if score is None else f" {score:g}"

    async def _until(self, at_s: float) -> None:
        await anyio.sleep(max(0.0, self._started_at + at_s - anyio.current_time()))

    def produced(self) -> int:
        """The tokens that the play has produced by now."""
        play = self._play
        passed = anyio.current_time() - self._started_at
        if passed < play.ttft_s:
            return 0
        span = play.total_s - play.ttft_s
        share = 1.0 if span <= 0 else min(1.0, (passed - play.ttft_s) / span)
        return max(1, math.floor(play.output_tokens * share))

    def settle(self) -> None:
        """Write the receipt of all that was produced."""
        produced = 0 if self._play.error and not self._play.speaks else self.produced()
        self.receipt = Receipt(self._play.input_tokens, produced)
