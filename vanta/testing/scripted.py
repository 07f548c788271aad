"""An engine that follows a script: real streams, cancellation and receipts, nothing generated.

    gate = anyio.Event()
    engine = ScriptedEngine("Hello", Wait(gate), " world")

Invariant: it costs next to nothing and never waits on its own; the gates of the script alone
determine the order of events. Tokens are those of `vanta.testing.steps`, counted exactly.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.lowlevel

from vanta.engine import (
    Capabilities,
    DeltaStream,
    GenerationRequest,
    Health,
    Receipt,
    TokenCount,
)
from vanta.engine_base import BaseEngine, StopFilter
from vanta.errors import EngineError, ErrorKind
from vanta.messages import Delta, FinishReason, Message, TokenLogprob, ToolCallPart, Usage
from vanta.testing.steps import (
    CallTool,
    Fail,
    Finish,
    Hang,
    Pause,
    Say,
    Script,
    Step,
    Think,
    Wait,
    Waitable,
    allow_calls,
    count_prompt,
    count_tokens,
    expand,
    skip,
    split_tokens,
)

ALL = Capabilities(tools=True, logprobs=True, prefix_continuation=True, tokenize=True)


@dataclass(slots=True)
class Run:
    """One request to a `ScriptedEngine` and what became of it. Times are `time.monotonic()`.

    :param request: the request.
    :param tokens: tokens produced, delivered or not.
    :param tokens_after_stop: tokens produced after the stream was left.
    :param complete: True once the last delta was delivered.
    :param stopped: set when the stream has stopped.
    :param started_at: when the stream was opened.
    :param stopped_at: when the stream stopped, None while it runs.
    """

    request: GenerationRequest
    tokens: int = 0
    tokens_after_stop: int = 0
    complete: bool = False
    stopped: anyio.Event = field(default_factory=anyio.Event)
    started_at: float = field(default_factory=time.monotonic)
    stopped_at: float | None = None

    @property
    def cancelled(self) -> bool:
        """True if the stream was left before its end."""
        return self.stopped_at is not None and not self.complete


class ScriptedEngine(BaseEngine):
    """Answers by a script. Pass one of `script`, `scripts` and `reply`; none is an empty answer.

    A request with a `prefix` is continued: the text of the script that the prefix has already is
    not sent again. Calls that `tool_choice` and `parallel_tool_calls` do not allow are left out; a
    required call that the script lacks is made with the simplest arguments. `runs` records every
    request, for tests.

    :param script: steps for every request; a plain string stands for its tokens.
    :param scripts: one script per request, in order; the last one repeats.
    :param reply: returns the script for a request.
    :param name: the engine's name.
    :param model: the model's name.
    :param capabilities: requests that need anything else raise `unsupported`.
    :param window: context window in tokens; longer prompts raise `context_overflow`.
    :param healthy: what `health` reports.
    :param winds_down: leaving a stream early takes until this opens.
    :param tokens_after_stop: tokens that the receipt of a stream left early then reports.
    """

    keeps_state = False

    def __init__(
        self,
        *script: Step | str,
        scripts: Sequence[Script] = (),
        reply: Callable[[GenerationRequest], Iterable[Step | str]] | None = None,
        name: str = "scripted",
        model: str = "scripted-1",
        capabilities: Capabilities = ALL,
        window: int | None = None,
        healthy: bool = True,
        winds_down: Waitable | None = None,
        tokens_after_stop: int = 0,
    ) -> None:
        self.name = name
        self.model = model
        self.capabilities = capabilities
        self.healthy = healthy
        self.runs: list[Run] = []
        self.loads = self.health_checks = 0
        self._scripts = [expand(steps) for steps in (scripts or [script])]
        self._reply = reply
        self._window = window
        self._winds_down = winds_down
        self._tokens_after_stop = tokens_after_stop
        self._streams: set[ScriptedStream] = set()
        self._opened = anyio.Event()

    def stream(self, request: GenerationRequest) -> AbstractAsyncContextManager[DeltaStream]:
        """Perform the script for `request`; see `Engine.stream`."""
        return _OpenStream(self, request)

    async def run(self, index: int = 0) -> Run:
        """Wait until a run has begun and return it.

        :param index: number of the request, from 0.
        """
        while len(self.runs) <= index:
            await self._opened.wait()
        return self.runs[index]

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        """Count exactly, by the rule of `vanta.testing.steps`."""
        return TokenCount(count_prompt(messages), exact=True)

    async def count_texts(self, texts: Sequence[str]) -> list[TokenCount]:
        """Count exactly, by the same rule."""
        return [TokenCount(count_tokens(text), exact=True) for text in texts]

    @property
    def counter(self) -> str:
        """The name of the rule."""
        return "vanta.testing.steps"

    async def check(self) -> Health:
        """Report `healthy`; counted in `health_checks`."""
        self.health_checks += 1
        return Health(self.healthy, "the script is ready" if self.healthy else "set to unhealthy")

    async def load(self) -> None:
        """Do nothing; counted in `loads`."""
        self.loads += 1

    @property
    def window(self) -> int | None:
        """The window as it was set."""
        return self._window

    @window.setter
    def window(self, tokens: int | None) -> None:
        self._window = tokens

    @property
    def requests(self) -> list[GenerationRequest]:
        """Every request, in order."""
        return [run.request for run in self.runs]

    @property
    def streaming(self) -> int:
        """The number of open streams."""
        return len(self._streams)

    def stats(self) -> dict[str, Any]:
        """Return the streams opened and closed, and the tokens produced and produced too late."""
        return {
            "opened": len(self.runs),
            "closed": len(self.runs) - self.streaming,
            "tokens": sum(run.tokens for run in self.runs),
            "tokens_after_stop": sum(run.tokens_after_stop for run in self.runs),
        }

    async def aclose(self) -> None:
        """End running streams with an EngineError and refuse later requests."""
        await super().aclose()
        for stream in tuple(self._streams):
            stream.abort(self.closed_error())

    async def begin(self, request: GenerationRequest) -> ScriptedStream:
        """Open the stream of `request`; for this module."""
        await anyio.lowlevel.checkpoint()
        self.require(request)
        self._require_room(request)
        run = Run(request)
        self.runs.append(run)
        stream = ScriptedStream(self, run, self._steps(request, len(self.runs) - 1))
        self._streams.add(stream)
        self._opened.set()
        self._opened = anyio.Event()
        return stream

    async def end(self, stream: ScriptedStream) -> None:
        """Close a stream; for this module."""
        try:
            await self._wind_down(stream.run)
        finally:
            stream.settle()
            self._streams.discard(stream)

    def _steps(self, request: GenerationRequest, index: int) -> tuple[Step, ...]:
        if self._reply is not None:
            steps = expand(self._reply(request))
        else:
            steps = self._scripts[min(index, len(self._scripts) - 1)]
        return allow_calls(skip(steps, request.prefix), request)

    def _require_room(self, request: GenerationRequest) -> None:
        tokens = count_prompt(request.messages)
        if self._window is not None and tokens > self._window:
            message = f"the prompt has {tokens} tokens, the window {self._window}"
            raise self.error(
                ErrorKind.CONTEXT_OVERFLOW, message, f"Cut {tokens - self._window} tokens."
            )

    async def _wind_down(self, run: Run) -> None:
        if run.complete:
            return
        if self._winds_down is not None:
            with anyio.CancelScope(shield=True):
                await self._winds_down.wait()
        run.tokens_after_stop = self._tokens_after_stop
        run.tokens += self._tokens_after_stop


class _OpenStream:
    """The context of one stream; a class, because a generator would cost more than the stream."""

    __slots__ = ("_engine", "_request", "_stream")

    def __init__(self, engine: ScriptedEngine, request: GenerationRequest) -> None:
        self._engine = engine
        self._request = request

    async def __aenter__(self) -> DeltaStream:
        self._stream = await self._engine.begin(self._request)
        return self._stream

    async def __aexit__(self, *exc_info: object) -> None:
        await self._engine.end(self._stream)


class ScriptedStream(DeltaStream):
    """The deltas of one script. A checkpoint precedes every delta, so any of them can be the last.

    `settle` writes the receipt, exactly once.
    """

    started = True

    def __init__(self, engine: ScriptedEngine, run: Run, steps: tuple[Step, ...]) -> None:
        sampling = run.request.sampling
        self._engine = engine
        self.run = run
        self._steps: Iterator[Step] = iter(steps)
        self._stops = StopFilter(sampling.stop)
        self._left = sampling.max_tokens
        self._logprobs = sampling.logprobs
        self._input_tokens = count_prompt(run.request.messages)
        self._calls = 0
        self._ready: list[Delta] = []
        self._done = False
        self._error: EngineError | None = None
        self._waiting: anyio.CancelScope | None = None

    async def __anext__(self) -> Delta:
        await anyio.lowlevel.checkpoint()
        while True:
            if self._error is not None:
                raise self._error
            if self._ready:
                return self._deliver(self._ready.pop(0))
            if self._done:
                raise StopAsyncIteration
            await self._take(next(self._steps, None))

    def abort(self, error: EngineError) -> None:
        """Raise `error` in the reader instead of the next delta."""
        self._error = error
        if self._waiting is not None:
            self._waiting.cancel()

    def settle(self) -> None:
        """Write the receipt and mark the run as stopped."""
        run = self.run
        self.receipt = Receipt(self._input_tokens, run.tokens, run.tokens_after_stop)
        run.stopped_at = time.monotonic()
        run.stopped.set()

    async def _take(self, step: Step | None) -> None:
        match step:
            case Say():
                self._say(step)
            case Think():
                self.run.tokens += count_tokens(step.text)
                self._ready.append(Delta(reasoning=step.text))
            case Wait() | Pause() | Hang():
                await self._pass_time(step)
            case CallTool():
                self._call(step)
            case Fail():
                self._error = self._failure(step)
            case Finish():
                self._finish(step.reason, step.usage)
            case None:
                self._finish("tool_calls" if self._calls else "stop")

    def _say(self, step: Say) -> None:
        tokens = split_tokens(step.text)
        fit = tokens if self._left is None else tokens[: self._left]
        self.run.tokens += len(fit)
        text = self._stops.feed("".join(fit))
        if self._left is not None:
            self._left -= len(fit)
        if text:
            self._ready.append(Delta(text=text, logprobs=self._logprobs_of(text, step.logprob)))
        if self._stops.hit:
            self._finish("stop")
        elif self._left == 0:
            self._finish("length")

    def _logprobs_of(self, text: str, logprob: float | None) -> tuple[TokenLogprob, ...]:
        if self._logprobs is None:
            return ()
        value = -0.1 if logprob is None else logprob
        alternatives = self._logprobs > 0
        return tuple(
            TokenLogprob(token, value, ((token, value),) if alternatives else ())
            for token in split_tokens(text)
        )

    def _call(self, step: CallTool) -> None:
        index, self._calls = self._calls, self._calls + 1
        name = ToolCallPart(index, id=step.id or f"call_{index}", name=step.name)
        arguments = ToolCallPart(index, arguments=step.arguments)
        self.run.tokens += count_tokens(step.name) + count_tokens(step.arguments)
        self._ready += [Delta(tool_calls=(name,)), Delta(tool_calls=(arguments,))]

    def _finish(self, reason: FinishReason, usage: Usage | None = None) -> None:
        held = "" if self._stops.hit else self._stops.flush()
        if held:
            self._ready.append(Delta(text=held, logprobs=self._logprobs_of(held, None)))
        counted = usage or Usage(self._input_tokens, self.run.tokens)
        self._ready.append(Delta(finish_reason=reason, usage=counted, model=self._engine.model))
        self._done = True

    def _deliver(self, delta: Delta) -> Delta:
        if self._done and not self._ready:
            self.run.complete = True
        return delta

    def _failure(self, step: Fail) -> EngineError:
        if isinstance(step.error, EngineError):
            return step.error
        return self._engine.error(ErrorKind(step.error), "the script fails here")

    async def _pass_time(self, step: Wait | Pause | Hang) -> None:
        with anyio.CancelScope() as self._waiting:
            match step:
                case Wait():
                    await step.gate.wait()
                case Pause():
                    await anyio.sleep(step.seconds)
                case Hang():
                    await anyio.sleep_forever()
        self._waiting = None
