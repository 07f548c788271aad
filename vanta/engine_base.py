"""Base classes of engines: `BaseEngine` for adapters, `WrapperEngine` to change another engine.

The smallest engine names itself, says that it keeps no state, and yields deltas:

    class ShoutEngine(vanta.BaseEngine):
        name = "shout"
        keeps_state = False

        def __init__(self, options: ShoutOptions, context: vanta.EngineContext) -> None:
            self.model = context.model

        async def deltas(self, request):
            words = request.messages[-1].content.upper().split()
            limit = request.sampling.max_tokens
            for word in words[:limit]:
                yield vanta.Delta(text=f"{word} ")
            cut = limit is not None and limit < len(words)
            yield vanta.Delta(finish_reason="length" if cut else "stop")

Invariant: a stream that `BaseEngine` opened has a receipt when its context is left, and raises
EngineError once the engine is closed.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread

from vanta.context.estimate import estimate_tokens
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
from vanta.errors import EngineError, ErrorKind, describe
from vanta.learning import Learnt
from vanta.messages import Completion, Delta, Message, Usage
from vanta.normalising import CallLimit, ReasoningFilter, quoted_marks
from vanta.tool_contract import Tool, ToolCounts

HEALTH_AGE_S = 30.0
"""Seconds for which a health check is cached."""

QUICK_CHARACTERS = 65_536
"""Size of a prompt up to which it is estimated on the event loop."""

CLOSE_S = 5.0
"""Seconds that the clean-up of `deltas` may take when a stream is left."""


class BaseEngine(Engine):
    """An engine whose subclass only yields deltas.

    It opens and closes streams, writes receipts, refuses requests beyond `capabilities`, moves
    reasoning out of the text, applies stop strings, caches health checks for 30 seconds, lists its
    one model, and estimates token counts. Subclasses set `name`, `model`, `capabilities` and
    `keeps_state`, implement `deltas`, and override the rest where they know better. An `__init__`
    need not call this class's.
    """

    def deltas(self, request: GenerationRequest) -> AsyncIterator[Delta]:
        """Generate, as an asynchronous generator: `async def deltas(...)` with `yield Delta(...)`.

        Respect every field of `request.sampling` but `stop`, or raise `unsupported`. Yield one
        delta per token where possible: deltas are what an inexact receipt counts. The last delta
        has a finish reason, and the usage if it is known. Leaving the stream closes the generator
        at its `yield` or cancels it at its `await`: release resources in `finally`.

        :param request: what to generate; within `capabilities`.
        :returns: the deltas.
        :raises EngineError: if the generation fails.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement 'deltas' or 'stream'")

    def stream(self, request: GenerationRequest) -> AbstractAsyncContextManager[DeltaStream]:
        """Open a stream of `deltas(request)`; see `Engine.stream`."""
        return self._generate(request)

    @asynccontextmanager
    async def _generate(self, request: GenerationRequest) -> AsyncIterator[DeltaStream]:
        self.require(request)
        generation = _Generation(self.deltas(request), request)
        self._state.generations.add(generation)
        try:
            yield generation
        finally:
            self._state.generations.discard(generation)
            await generation.aclose()

    def require(self, request: GenerationRequest) -> None:
        """Check that the engine is open and supports `request`.

        :param request: the request to check.
        :raises EngineError: `model_not_loaded` if the engine is closed, `unsupported` if the
            request needs a capability that the engine lacks, `bad_request` if it has to call a tool
            that it does not offer.
        """
        if self.closed:
            raise self.closed_error()
        for name in required_capabilities(request):
            if not getattr(self.capabilities, name):
                raise self.error(
                    ErrorKind.UNSUPPORTED,
                    f"the request needs {name!r}, which the engine does not support",
                    "Use an engine that lists it in 'vanta engines list'.",
                )
        problem = request.tool_choice_problem
        if problem:
            raise self.error(
                ErrorKind.BAD_REQUEST, problem, "Offer the tool, or change the choice."
            )

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        """Estimate the tokens of `messages` on the high side; see `Engine.count_tokens`."""
        if sum(len(message.content) for message in messages) <= QUICK_CHARACTERS:
            return estimate_tokens(messages)
        return await anyio.to_thread.run_sync(estimate_tokens, messages, abandon_on_cancel=True)

    async def models(self) -> Sequence[EngineModel]:
        """Return the one model."""
        return (EngineModel(self.model, self.window),)

    async def check(self) -> Health:
        """Check whether the engine can answer; `health` calls it at most every 30 seconds.

        :returns: the result; any exception counts as not ok.
        :raises EngineError: if the engine cannot answer.
        """
        return Health(True, "ready")

    async def health(self, *, force: bool = False) -> Health:
        """Return the last result of `check` if it is recent; see `Engine.health`."""
        state, now = self._state, time.monotonic()
        if self.closed:
            return Health(False, str(self.closed_error()))
        if state.health is None or force or now - state.checked_at >= HEALTH_AGE_S:
            try:
                state.health = await self.check()
            except Exception as error:  # noqa: BLE001 - a check that breaks is a finding
                known = isinstance(error, EngineError)
                detail = str(error) if known else f"the check failed: {describe(error)}"
                state.health = Health(False, detail)
            state.checked_at = time.monotonic()
        return dataclasses.replace(state.health, age_s=max(0.0, now - state.checked_at))

    async def aclose(self) -> None:
        """Refuse further requests; readers of running streams get an EngineError."""
        self._state.closed = True
        for generation in tuple(self._state.generations):
            generation.abort(self.closed_error())

    @property
    def closed(self) -> bool:
        """True after `aclose`."""
        return self._state.closed

    def error(self, kind: ErrorKind, message: str, suggestion: str = "") -> EngineError:
        """Return an error that names this engine and its model.

        :param kind: the kind of error.
        :param message: what happened.
        :param suggestion: what a person can do about it.
        """
        return EngineError(kind, message, engine=self.name, model=self.model, suggestion=suggestion)

    def closed_error(self) -> EngineError:
        """Return the error of a request to a closed engine."""
        return self.error(ErrorKind.MODEL_NOT_LOADED, "the engine is closed", "Open a new one.")

    @functools.cached_property
    def _state(self) -> _State:
        return _State()


@dataclass(slots=True)
class _State:
    """The state of a `BaseEngine`, apart from its subclass's attributes."""

    closed: bool = False
    generations: set[_Generation] = field(default_factory=set)
    health: Health | None = None
    checked_at: float = 0.0


def required_capabilities(request: GenerationRequest) -> tuple[str, ...]:
    """Return the names of the capabilities that `request` needs.

    :param request: the request, whose needs are named as the fields of `Capabilities`.
    """
    sampling, messages = request.sampling, request.messages
    needed = {
        "tools": bool(request.tools),
        "prefix_continuation": bool(request.prefix),
        "grammar": sampling.grammar is not None,
        "json_schema": sampling.json_schema is not None,
        "logprobs": sampling.logprobs is not None,
        "images": any(message.images for message in messages),
    }
    return tuple(name for name, holds in needed.items() if holds)


class _Generation(DeltaStream):
    """The stream of an engine's `deltas`."""

    def __init__(self, deltas: AsyncIterator[Delta], request: GenerationRequest) -> None:
        self._deltas = deltas
        self._request = request
        quoted = quoted_marks(request.messages)
        self._reasoning = ReasoningFilter(continues=bool(request.prefix), quoted=quoted)
        self._stops = StopFilter(request.sampling.stop)
        self._calls = CallLimit(request.most_calls)
        self._produced = 0
        self._usage: Usage | None = None
        self._ended = False
        self._error: EngineError | None = None
        self._waiting: anyio.CancelScope | None = None

    async def __anext__(self) -> Delta:
        await anyio.lowlevel.checkpoint()
        while not self._ended:
            delta = self._take(await self._next())
            if delta is not None:
                return delta
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration

    def abort(self, error: EngineError) -> None:
        """Raise `error` in the reader instead of the next delta."""
        self._error = error
        self._ended = True
        if self._waiting is not None:
            self._waiting.cancel()

    async def aclose(self) -> None:
        """Stop the generator and write the receipt."""
        self._ended = True
        close = getattr(self._deltas, "aclose", None)
        try:
            if close is not None:
                with anyio.move_on_after(CLOSE_S, shield=True):
                    await close()
        finally:
            usage = self._usage or self._estimate()
            self.receipt = Receipt(usage.input_tokens, usage.output_tokens, exact=usage.exact)

    async def _next(self) -> Delta | None:
        """Return the generator's next delta; None at its end or after an abort."""
        try:
            with anyio.CancelScope() as self._waiting:
                return await anext(self._deltas, None)
        except BaseException:
            self._ended = True
            raise
        return None

    def _take(self, delta: Delta | None) -> Delta | None:
        """Return what to deliver of a delta, None for nothing."""
        if delta is None:
            if self._error is not None:
                return None
            delta = Delta(finish_reason="stop")
        self._produced += bool(delta.text or delta.reasoning or delta.tool_calls)
        delta = self._reasoning.feed(self._calls.feed(delta))
        if delta is None:
            return None
        text = self._stops.feed(delta.text)
        if self._stops.hit:
            return self._last(dataclasses.replace(delta, text=text, finish_reason="stop"))
        if delta.finish_reason is not None:
            return self._last(dataclasses.replace(delta, text=text + self._stops.flush()))
        if text == delta.text:
            return delta
        held = dataclasses.replace(delta, text=text)
        return held if text or delta.reasoning or delta.tool_calls else None

    def _last(self, delta: Delta) -> Delta:
        self._ended = True
        self._usage = delta.usage or self._estimate()
        return dataclasses.replace(delta, usage=self._usage)

    def _estimate(self) -> Usage:
        tokens = estimate_tokens(self._request.messages).value
        return Usage(tokens, self._produced, exact=False)


class StopFilter:
    """Cuts a stream of text at the first of some stop strings.

    `feed` and `flush` together return the text before the stop string that was complete first,
    however the text was split. What may begin a stop string is held back.

    :param stops: the stop strings; empty ones are ignored.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = tuple(filter(None, stops))
        self._held = ""
        self.hit = False

    def feed(self, text: str) -> str:
        """Take more text and return what can be delivered.

        :param text: the text that was generated.
        :returns: text before any stop string; `hit` is True once one was complete.
        """
        if not self._stops:
            return text
        held = self._held + text
        hits = [(at + len(stop), at) for stop in self._stops if (at := held.find(stop)) >= 0]
        if hits:
            self.hit, self._held = True, ""
            return held[: min(hits)[1]]
        keep = max(_overlap(held, stop) for stop in self._stops)
        cut = len(held) - keep
        self._held = held[cut:]
        return held[:cut]

    def flush(self) -> str:
        """Return what was held back, at the end of the stream."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` that `stop` begins with."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)


class WrapperEngine(Engine):
    """An engine that forwards everything to another one, to be overridden in part.

    `answers` is forwarded as well: a subclass that overrides `stream` and wants every answer to
    pass through it sets `answers = Engine.answers`.

    :param wrapped: the engine behind it. `aclose` closes it, unless a subclass says otherwise.
    """

    def __init__(self, wrapped: Engine) -> None:
        self.wrapped = wrapped

    @property
    def name(self) -> str:  # type: ignore[override]
        """The wrapped engine's name."""
        return self.wrapped.name

    @property
    def model(self) -> str:  # type: ignore[override]
        """The wrapped engine's model."""
        return self.wrapped.model

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]
        """The wrapped engine's capabilities, which it may learn when it is loaded."""
        return self.wrapped.capabilities

    @property
    def keeps_state(self) -> bool:  # type: ignore[override]
        """Whether the wrapped engine keeps state."""
        return self.wrapped.keeps_state

    @property
    def counter(self) -> str:
        """The wrapped engine's counter."""
        return self.wrapped.counter

    @property
    def writes_calls(self) -> bool:  # type: ignore[override]
        """See `Engine.writes_calls`."""
        return self.wrapped.writes_calls

    @property
    def window(self) -> int | None:
        """The wrapped engine's window."""
        return self.wrapped.window

    def stream(self, request: GenerationRequest) -> AbstractAsyncContextManager[DeltaStream]:
        """See `Engine.stream`."""
        return self.wrapped.stream(request)

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        """See `Engine.count_tokens`."""
        return await self.wrapped.count_tokens(messages)

    async def count_texts(self, texts: Sequence[str]) -> list[TokenCount]:
        """See `Engine.count_texts`."""
        return await self.wrapped.count_texts(texts)

    async def count_tools(self, tools: Sequence[Tool]) -> ToolCounts:
        """See `Engine.count_tools`."""
        return await self.wrapped.count_tools(tools)

    async def models(self) -> Sequence[EngineModel]:
        """See `Engine.models`."""
        return await self.wrapped.models()

    async def health(self, *, force: bool = False) -> Health:
        """See `Engine.health`."""
        return await self.wrapped.health(force=force)

    async def load(self) -> None:
        """See `Engine.load`."""
        await self.wrapped.load()

    async def connect(self) -> None:
        """See `Engine.connect`."""
        await self.wrapped.connect()

    async def answers(self, request: GenerationRequest, count: int) -> list[Completion]:
        """See `Engine.answers`."""
        return await self.wrapped.answers(request, count)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """See `Engine.embed`."""
        return await self.wrapped.embed(texts)

    def stats(self) -> Mapping[str, Any]:
        """See `Engine.stats`."""
        return self.wrapped.stats()

    def learnt(self) -> Sequence[Learnt]:
        """See `Engine.learnt`."""
        return self.wrapped.learnt()

    def forget_learnt(self, what: str | None = None) -> None:
        """See `Engine.forget_learnt`."""
        self.wrapped.forget_learnt(what)

    async def forget(self) -> None:
        """See `Engine.forget`."""
        await self.wrapped.forget()

    async def aclose(self) -> None:
        """See `Engine.aclose`."""
        await self.wrapped.aclose()
