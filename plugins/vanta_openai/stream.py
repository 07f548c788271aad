"""One streamed answer: its deltas, its end, and the end of its connection.

Invariant: however the stream is left, its connection is closed or, if the answer was complete,
returned to the pool; no task and no suspended generator remains, and the receipt is written. The
last delta, with finish reason and usage, is yielded as soon as both are known.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import anyio
import httpx2

from vanta import (
    Delta,
    DeltaStream,
    EngineError,
    EngineTimings,
    ErrorKind,
    FinishReason,
    Message,
    Receipt,
    Usage,
)
from vanta.context import estimate_text, estimate_tokens
from vanta_openai.errors import EXPECTED, ErrorTranslator
from vanta_openai.protocol import parse_chunk

CLOSE_TIMEOUT_S = 1.0
"""Seconds that closing may take: a TLS shutdown can wait on a full socket."""

DRAIN_TIMEOUT_S = 0.1
"""Seconds to wait for the end of a body whose answer is complete, to reuse its connection."""

_DONE = "[DONE]"


class OpenAIStream(DeltaStream):
    """The deltas of one response. `started` is always True: the headers have arrived."""

    started = True

    def __init__(
        self,
        response: httpx2.Response,
        messages: Sequence[Message],
        errors: ErrorTranslator,
        sent_at: float,
    ) -> None:
        self._response = response
        self._messages = messages
        self._errors = errors
        self._events: AsyncIterator[httpx2.ServerSentEvent] = aiter(httpx2.EventSource(response))
        self._clock = _Clock(sent_at)
        self._end = Delta()
        self._calls_tools = False
        self._ended = False
        self._cut = False
        self._failed = False
        self._texts: list[str] = []

    async def __anext__(self) -> Delta:
        if self._ended or self._failed:
            raise StopAsyncIteration
        try:
            return await self._next()
        except EngineError as error:
            failure = error
        except EXPECTED as cause:
            failure = self._closed() if self._cut else self._errors.translate(cause)
        self._failed = True
        raise failure

    async def aclose(self) -> None:
        """End the stream and write the receipt; safe under cancellation, bounded in time."""
        with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
            if self._ended:
                with anyio.move_on_after(DRAIN_TIMEOUT_S):
                    await self._exhaust()
            await self.cut()
            await self._exhaust()
        if self.receipt is None:
            self.receipt = self._receipt()

    async def cut(self) -> None:
        """Close the connection unless the whole body has been read."""
        self._cut = True
        await self._response.aclose()

    async def _next(self) -> Delta:
        if self._cut:
            raise self._closed()
        async for event in self._events:
            if event.data.startswith(_DONE):
                return self._last(self._end.finish_reason or self._default_reason())
            if not event.data:
                continue  # a keep-alive sent as an event without data
            delta = self._take(parse_chunk(event.data, event.event))
            if self._end.finish_reason and self._end.usage:
                return self._last(self._end.finish_reason, delta)
            if delta is not None:
                return delta
        if self._end.finish_reason:
            return self._last(self._end.finish_reason)
        raise self._incomplete()

    def _take(self, delta: Delta) -> Delta | None:
        """Keep what belongs to the end; return the rest, or None if there is none."""
        self._end = replace(
            self._end,
            finish_reason=delta.finish_reason or self._end.finish_reason,
            usage=delta.usage or self._end.usage,
            model=delta.model or self._end.model,
        )
        if not (delta.text or delta.reasoning or delta.tool_calls or delta.logprobs):
            return None
        self._clock.tick()
        self._calls_tools |= bool(delta.tool_calls)
        arguments = [part.name + part.arguments for part in delta.tool_calls]
        self._texts += [delta.reasoning, delta.text, *arguments]
        return replace(delta, finish_reason=None, usage=None)

    def _last(self, reason: FinishReason, delta: Delta | None = None) -> Delta:
        self._ended = True
        usage = self._end.usage
        timings = self._clock.timings(usage)
        return replace(
            delta or Delta(model=self._end.model),
            finish_reason=reason,
            usage=usage,
            timings=timings,
        )

    def _default_reason(self) -> FinishReason:
        return "tool_calls" if self._calls_tools else "stop"

    def _incomplete(self) -> EngineError:
        return self._errors.build(
            ErrorKind.NETWORK,
            "the stream ended before the answer was complete",
            "Look at the server's log: the server or a proxy closed the connection.",
        )

    def _closed(self) -> EngineError:
        return self._errors.build(
            ErrorKind.NETWORK,
            "the stream was closed from this side before the answer was complete",
            "Read the answer before closing its stream or its engine.",
        )

    async def _exhaust(self) -> None:
        """Run the nested generators under the response to their end.

        The garbage collector would finalise a suspended one, which trio reports as an error. After
        `cut` this reads the buffered rest and then fails on the closed socket, without waiting.
        """
        try:
            async for _ in self._events:
                pass
        except EXPECTED:
            pass

    def _receipt(self) -> Receipt:
        usage = self._end.usage
        if self._ended and usage is not None:
            return Receipt(usage.input_tokens, usage.output_tokens)
        input_tokens = usage.input_tokens if usage else estimate_tokens(self._messages).value
        # Most servers send one token per delta; some send several.
        output_tokens = max(self._clock.ticks, estimate_text("".join(self._texts)))
        return Receipt(input_tokens, output_tokens, exact=False)


class _Clock:
    """The times at which deltas arrived, on the monotonic clock."""

    def __init__(self, sent_at: float) -> None:
        self._sent_at = sent_at
        self._first_at: float | None = None
        self._last_at = sent_at
        self.ticks = 0

    def tick(self) -> None:
        """Record the arrival of a delta with content."""
        self._last_at = time.monotonic()
        if self._first_at is None:
            self._first_at = self._last_at
        self.ticks += 1

    def timings(self, usage: Usage | None) -> EngineTimings:
        """Return the timings as seen by the client."""
        if self._first_at is None:
            return EngineTimings()
        tokens = usage.output_tokens if usage else self.ticks
        spent_s = self._last_at - self._first_at
        return EngineTimings(
            first_token_s=self._first_at - self._sent_at,
            per_token_s=spent_s / (tokens - 1) if tokens > 1 else None,
        )
