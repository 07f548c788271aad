"""An engine that plays recordings, in as few deltas as the scheduler needs.

Invariant: at every moment it has produced what the recording says for that moment, and a stopped
play costs the tokens that it had produced by then. A takeover plays its whole recording, since the
length of a remainder is not recorded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import anyio

from vanta import (
    Capabilities,
    Delta,
    DeltaStream,
    Engine,
    EngineError,
    EngineModel,
    GenerationRequest,
    Health,
    Message,
    Receipt,
    TokenCount,
    TokenLogprob,
    Usage,
)
from vanta_tuning.replay.recordings import Play, Recording, VerifierWord

WORD = "·"
"""The text of a recorded token."""

_LEAST_CHANCE = 1e-12


@dataclass(frozen=True, slots=True)
class VerificationRequest(GenerationRequest):
    """A request for a verifier's word; `session` is the recording.

    :param judged: the track whose answer is judged.
    """

    judged: str = ""


class ReplayEngine(Engine):
    """Play one track of `recordings`, selected by the request's session.

    :param track: the track to play.
    :param recordings: the recordings by id.
    :param heartbeat_s: the longest silence between first content and end, below the stall timeout.
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

    def stream(self, request: GenerationRequest) -> AbstractAsyncContextManager[DeltaStream]:
        """Play the recording of the request's session: an answer, or a verifier's word."""
        recording = self._recordings[request.session]
        if not isinstance(request, VerificationRequest):
            return _Staged(_Playing(recording.plays[self.model], self))
        word = recording.word(self.model, request.judged)
        assert word is not None  # noqa: S101 - the stage requests recorded words only
        return _Staged(_Speaking(word, self))

    def failure(self, play: Play | VerifierWord) -> EngineError:
        """Return the error in which a play ends."""
        assert play.error is not None  # noqa: S101 - only called for one that fails
        return EngineError(play.error, "as it was recorded", engine=self.name, model=self.model)

    @property
    def heartbeat_s(self) -> float:
        """The longest silence between first content and end, in seconds."""
        return self._heartbeat_s

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        """Return 0: a replay has no prompts."""
        return TokenCount(0, exact=True)

    async def models(self) -> Sequence[EngineModel]:
        """Return the track."""
        return (EngineModel(self.model),)

    async def health(self, *, force: bool = False) -> Health:
        """Return that a recording is always healthy."""
        return Health(True, "a recording")

    async def aclose(self) -> None:
        """Do nothing: nothing is open."""


class _Staged:
    """The context of one play or word."""

    __slots__ = ("_stream",)

    def __init__(self, stream: _Playing | _Speaking) -> None:
        self._stream = stream

    async def __aenter__(self) -> DeltaStream:
        return self._stream

    async def __aexit__(self, *exc_info: object) -> None:
        self._stream.settle()


class _Speaking(DeltaStream):
    """The one delta of a verifier's word."""

    def __init__(self, word: VerifierWord, engine: ReplayEngine) -> None:
        self._word = word
        self._engine = engine
        self._ends_at = anyio.current_time() + word.total_s
        self._over = False

    async def __anext__(self) -> Delta:
        word = self._word
        if self._over:
            raise StopAsyncIteration
        await anyio.sleep(max(0.0, self._ends_at - anyio.current_time()))
        self._over = True
        if word.error:
            raise self._engine.failure(word)
        usage = Usage(word.input_tokens, word.output_tokens)
        if word.yes is None:
            return Delta(text=WORD, finish_reason="stop", model=self._engine.model, usage=usage)
        chances = {"yes": word.yes, "no": 1 - word.yes}
        top = tuple((text, _log(chance)) for text, chance in chances.items())
        best = max(top, key=lambda item: item[1])
        return Delta(
            text=best[0],
            finish_reason="stop",
            model=self._engine.model,
            usage=usage,
            logprobs=(TokenLogprob(*best, top),),
        )

    def settle(self) -> None:
        """Write the receipt of the word."""
        spoken = self._over and self._word.error is None
        self.receipt = Receipt(self._word.input_tokens, self._word.output_tokens if spoken else 0)


def _log(chance: float) -> float:
    return math.log(max(chance, _LEAST_CHANCE))


class _Playing(DeltaStream):
    """The deltas of one play: first content, a heartbeat now and then, the rest."""

    def __init__(self, play: Play, engine: ReplayEngine) -> None:
        self._play = play
        self._engine = engine
        self._started_at = anyio.current_time()
        self._emitted = 0
        self._over = False

    async def __anext__(self) -> Delta:
        play = self._play
        if self._over:
            raise StopAsyncIteration
        if not self._emitted:
            await self._until(play.ttft_s)
            if play.error and not play.speaks:
                raise self._engine.failure(play)
            self._emitted = 1
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
        return self._last(max(play.output_tokens - self._emitted, 0))

    def _more(self, produced: int) -> Delta:
        fresh, self._emitted = max(produced - self._emitted, 0), max(produced, self._emitted)
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
        """Return a word for the answer's score, so that a right and a wrong answer differ."""
        score = self._play.score
        return "" if score is None else f" {score:g}"

    async def _until(self, at_s: float) -> None:
        await anyio.sleep(max(0.0, self._started_at + at_s - anyio.current_time()))

    def produced(self) -> int:
        """Return the tokens that the play has produced so far."""
        play = self._play
        passed = anyio.current_time() - self._started_at
        if passed < play.ttft_s:
            return 0
        span = play.total_s - play.ttft_s
        share = 1.0 if span <= 0 else min(1.0, (passed - play.ttft_s) / span)
        return max(1, math.floor(play.output_tokens * share))

    def settle(self) -> None:
        """Write the receipt of everything produced."""
        produced = 0 if self._play.error and not self._play.speaks else self.produced()
        self.receipt = Receipt(self._play.input_tokens, produced)
