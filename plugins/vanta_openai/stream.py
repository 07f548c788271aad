"""One streamed answer: its deltas, its end, and the end of its connection.

Invariant: however the stream is left, its connection is either closed or, if the answer had come to
its end, back in the pool; no task and no suspended generator remains, and the receipt is written.
The last delta, with finish reason and usage, is sent as soon as both are known.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import anyio
import httpx2

from vanta.context import estimate_text, estimate_tokens
from vanta.engine import DeltaStream, Receipt
from vanta.errors import EngineError, ErrorKind
from vanta.messages import Delta, EngineTimings, FinishReason, Message, Usage
from vanta_openai.chunks import delta_of
from vanta_openai.faults import EXPECTED, Faults

CLOSE_TIMEOUT_S = 1.0
"""How long closing may take at the most: a TLS goodbye can wait on a full socket."""

DRAIN_TIMEOUT_S = 0.1
"""How long to wait for the end of a body whose answer is complete, to use its connection again."""

_DONE = "[DONE]"


class OpenAIStream(DeltaStream):
    """The deltas of one response. `started` is True from the first: the headers are there."""

    started = True

    def __init__(
        self,
        response: httpx2.Response,
        messages: Sequence[Message],
        faults: Faults,
        asked_at: float,
    ) -> None:
        self._response = response
        self._messages = messages
        self._faults = faults
        self._events: AsyncIterator[httpx2.ServerSentEvent] = aiter(httpx2.EventSource(response))
        self._clock = _Clock(asked_at)
        self._end = Delta()
        self._calls_tools = False
        self._ended = False
        self._cut = False
        self._failed = False
        self._seen: list[str] = []

    async def __anext__(self) -> Delta:
        if self._ended or self._failed:
            raise StopAsyncIteration
        try:
            return await self._next()
        except EngineError as cut_short:
            fault = cut_short
        except EXPECTED as cause:
            fault = self._closed() if self._cut else self._faults.of(cause)
        self._failed = True
        raise fault

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
        """Close the connection, unless the whole body was read."""
        self._cut = True
        await self._response.aclose()

    async def _next(self) -> Delta:
        if self._cut:
            raise self._closed()
        async for event in self._events:
            if event.data.startswith(_DONE):
                return self._last(self._end.finish_reason or self._default_reason())
            if not event.data:
                continue  # a keep-alive that is an event without data
            delta = self._take(delta_of(event.data, event.event))
            if self._end.finish_reason and self._end.usage:
                return self._last(self._end.finish_reason, delta)
            if delta is not None:
                return delta
        if self._end.finish_reason:
            return self._last(self._end.finish_reason)
        raise self._cut_short()

    def _take(self, delta: Delta) -> Delta | None:
        """Keep what belongs to the end; None if nothing else is in the delta."""
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
        self._seen += [delta.reasoning, delta.text, *arguments]
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

    def _cut_short(self) -> EngineError:
        return self._faults.make(
            ErrorKind.NETWORK,
            "the stream ended before the answer was complete",
            "Look at the server's log: it, or a proxy before it, closed the connection.",
        )

    def _closed(self) -> EngineError:
        return self._faults.make(
            ErrorKind.NETWORK,
            "the stream was closed from this side before the answer was complete",
            "Read an answer before its stream or its engine is closed.",
        )

    async def _exhaust(self) -> None:
        """Run the nested generators under the response to their end. One that is left suspended is
        finalised by the garbage collector, which trio rightly complains about. After `cut` this
        reads what was buffered and then fails on the closed socket; it waits for nothing."""
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
        # A delta is a token for most servers; some send several tokens in one.
        output_tokens = max(self._clock.ticks, estimate_text("".join(self._seen)))
        return Receipt(input_tokens, output_tokens, exact=False)


class _Clock:
    """When deltas came, on the monotonic clock."""

    def __init__(self, asked_at: float) -> None:
        self._asked_at = asked_at
        self._first_at: float | None = None
        self._last_at = asked_at
        self.ticks = 0

    def tick(self) -> None:
        """A delta with something in it has come."""
        self._last_at = time.monotonic()
        if self._first_at is None:
            self._first_at = self._last_at
        self.ticks += 1

    def timings(self, usage: Usage | None) -> EngineTimings:
        """What this side of the wire can know."""
        if self._first_at is None:
            return EngineTimings()
        tokens = usage.output_tokens if usage else self.ticks
        spent_s = self._last_at - self._first_at
        return EngineTimings(
            first_token_s=self._first_at - self._asked_at,
            per_token_s=spent_s / (tokens - 1) if tokens > 1 else None,
        )
