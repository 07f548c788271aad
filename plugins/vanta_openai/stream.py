"""One streamed answer: its deltas, its end, and the end of its connection.

Invariant: however the stream is left, its connection is closed or, if the answer was complete,
returned to the pool; no task and no suspended generator remains, and the receipt is written. An
answer ends at `[DONE]`, or at the end of the body after a known finish reason that no content
followed. The last usage counts, as far as it is possible.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace

import anyio
import httpx2

from vanta import (
    AnswerBound,
    CallNumbering,
    Delta,
    DeltaStream,
    EngineError,
    EngineTimings,
    ErrorKind,
    FinishReason,
    Fold,
    GenerationRequest,
    Pace,
    Receipt,
    Usage,
)
from vanta.context import believed_usage
from vanta.normalising import CallFilter, ReasoningFilter
from vanta_openai.body import DONE, AnswerBody, json_limit
from vanta_openai.errors import EXPECTED, ErrorTranslator
from vanta_openai.protocol import AnswerChunk, parse_chunk

CLOSE_TIMEOUT_S = 0.15
"""Seconds that closing may take: a TLS shutdown can wait on a full socket."""

DRAIN_TIMEOUT_S = 0.1
"""Seconds to wait for the end of a body whose answer is complete, to reuse its connection."""

END_WAIT_S = 3.0
"""Seconds to wait for `[DONE]` after a finish reason: some servers keep the connection open.
Neither keep-alives nor a repeated reason extend the wait."""

EMPTY_WAIT_S = 20.0
"""The same for an answer without content, since some servers send a reason before their answer."""


class OpenAIStream(DeltaStream):
    """The deltas of one response. `started` is always True: the headers have arrived."""

    started = True

    def __init__(
        self,
        response: httpx2.Response,
        request: GenerationRequest,
        errors: ErrorTranslator,
        sent_at: float,
        window: int | None,
        reasoning: ReasoningFilter,
    ) -> None:
        self._response = response
        self._request = request
        self._window = window
        self._errors = errors
        bound = AnswerBound(request.sampling.max_tokens, window)
        logprobs = request.sampling.logprobs is not None
        self._body = AnswerBody(response, json_limit(bound.tokens, logprobs=logprobs))
        self._events: AsyncIterator[httpx2.ServerSentEvent] = self._body.events()
        self._clock = _Clock(sent_at)
        self._end = Delta()
        self._calls_tools = False
        self._ended = False
        self._cut = False
        self._failed = False
        self._fold = Fold()
        self._numbering = CallNumbering()
        self._calls = CallFilter(request.tools, request.most_calls, continues=bool(request.prefix))
        self._reasoning = reasoning
        self._pace = Pace()
        self._is_ending = False
        self._end_by = 0.0
        self._unknown_reason = ""

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
        self._body.stop()
        await self._response.aclose()

    async def _next(self) -> Delta:
        if self._cut:
            raise self._closed()
        while (event := await self._next_event()) is not None:
            if event.data.strip().startswith(DONE):
                return self._last(self._end.finish_reason or self._default_reason())
            # Also in the middle of a piece: it may have a thousand events without content.
            if self._pace.is_due:
                await self._pace.pause()
            if not event.data:
                continue  # a keep-alive sent as an event without data
            delta = self._take(parse_chunk(event.data, self._numbering, event.event))
            if delta is not None:
                return delta
        if self._is_ending and self._end.finish_reason:
            return self._last(self._end.finish_reason)
        raise self._incomplete()

    async def _next_event(self) -> httpx2.ServerSentEvent | None:
        """Return the next event, None at the end of the body or of the wait for it."""
        if not self._is_ending:
            return await anext(self._events, None)
        with anyio.move_on_at(self._end_by):
            try:
                return await anext(self._events, None)
            except httpx2.TransportError:
                return None  # the answer was complete when the connection broke
        return None

    def _take(self, chunk: AnswerChunk) -> Delta | None:
        """Keep what belongs to the end; return the rest, or None if there is none."""
        delta = chunk.delta
        self._unknown_reason = chunk.unknown_reason or self._unknown_reason
        self._end = replace(
            self._end,
            finish_reason=delta.finish_reason or self._end.finish_reason,
            usage=delta.usage or self._end.usage,
            model=delta.model or self._end.model,
        )
        has_content = delta.text or delta.reasoning or delta.tool_calls or delta.logprobs
        if has_content or (delta.finish_reason and not self._is_ending):
            # Content after a reason shows that it was none.
            self._is_ending = delta.finish_reason is not None
            wait_s = END_WAIT_S if has_content or self._clock.ticks else EMPTY_WAIT_S
            self._end_by = anyio.current_time() + wait_s
        if not has_content:
            return None
        self._body.note_content()
        self._clock.tick()
        content = self._reasoning.feed(replace(delta, finish_reason=None, usage=None))
        content = None if content is None else self._calls.feed(content)
        if content is not None:
            self._calls_tools |= bool(content.tool_calls)
            self._fold.add(content)
        return content if content != Delta(model=delta.model) else None

    def _last(self, reason: FinishReason) -> Delta:
        self._ended = True
        held = self._reasoning.finish() or Delta()
        rest = self._calls.feed(replace(held, finish_reason=reason)) or held
        self._calls_tools |= bool(rest.tool_calls)
        reason = rest.finish_reason or reason
        if self._calls_tools and reason == "stop":
            reason = "tool_calls"  # OpenAI's own reason for a call that was required by its name
        self._fold.add(replace(rest, finish_reason=None))
        usage = self._believed(self._end.usage) if self._end.usage else None
        return replace(
            rest,
            model=self._end.model,
            finish_reason=reason,
            usage=usage,
            timings=self._clock.timings(usage),
        )

    def _believed(self, usage: Usage | None) -> Usage:
        return believed_usage(
            usage,
            self._request,
            self._fold.completion(),
            window=self._window,
            produced=self._clock.ticks,
        )

    def _default_reason(self) -> FinishReason:
        return "tool_calls" if self._calls_tools else "stop"

    def _incomplete(self) -> EngineError:
        return self._errors.build(
            ErrorKind.NETWORK,
            f"the stream ended before the answer was complete{self._reason_note()}",
            "Look at the server's log: the server or a proxy closed the connection.",
        )

    def _reason_note(self) -> str:
        """Return a note on a finish reason that was not trusted, or ""."""
        reason = self._unknown_reason[:40]
        return f" (its finish reason {reason!r} is not part of the protocol)" if reason else ""

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
        usage = self._believed(self._end.usage)
        if self._ended:
            return Receipt(usage.input_tokens, usage.output_tokens, exact=usage.exact)
        # The counts of a stream that was left early are of its beginning.
        output_tokens = self._believed(None).output_tokens
        return Receipt(usage.input_tokens, output_tokens, exact=False)


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
