"""An engine that follows a script: real streams, cancellation and receipts, nothing generated.

    gate = anyio.Event()
    engine = ScriptedEngine("Hello", Wait(gate), " world")

Invariant: it costs next to nothing and never waits on its own; whatever order things happen in is
what the script's gates say. Tokens are those of `vanta.testing.steps`, counted exactly.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from vanta.errors import EngineError, ErrorKind, UnknownName
from vanta.hookspecs import hookimpl
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
    StopFilter,
    Think,
    Wait,
    Waitable,
    count_prompt,
    count_tokens,
    expand,
    skip,
    split_tokens,
)

if TYPE_CHECKING:
    from vanta.runtime.runtime import Runtime


ALL = Capabilities(tools=True, logprobs=True, prefix_continuation=True, tokenize=True)
_HEALTH_TTL_S = 30.0


@dataclass(slots=True)
class Run:
    """One request and what became of it.

    tokens: produced, delivered or not. complete: the last delta was taken. cancelled: the stream
    was left before that. stopped: the event of its standing still. at: `time.monotonic()` seconds.
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
        """Whether the stream was left before its end."""
        return self.stopped_at is not None and not self.complete


class ScriptedEngine(Engine):
    """Answers by a script.

    script: steps (a plain string: its tokens) for every request. scripts: one script a request, in
    order, the last one repeating. reply: a function from the request to its script. Give one of
    the three; none is an empty answer.

    capabilities: requests for anything else raise `unsupported`. A request with a `prefix` is
    continued: text of the script that the prefix already has is not said again. window: in tokens;
    longer prompts raise `context_overflow`. healthy: what `health` says. winds_down: leaving a
    stream early takes until this gate opens; tokens_after_stop: what its receipt then admits to.
    """

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
        self._scripts = [expand(one) for one in (scripts or [script])]
        self._reply = reply
        self._window = window
        self._winds_down = winds_down
        self._tokens_after_stop = tokens_after_stop
        self._performances: set[ScriptedStream] = set()
        self._opened = anyio.Event()
        self._health: tuple[float, Health] | None = None
        self._closed = False

    def stream(self, request: GenerationRequest) -> AbstractAsyncContextManager[DeltaStream]:
        """Perform the script for `request`."""
        return _Staged(partial(self._begin, request), self._end)

    async def run(self, index: int = 0) -> Run:
        """The run number `index`, as soon as it has begun."""
        while len(self.runs) <= index:
            await self._opened.wait()
        return self.runs[index]

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        """Exact, by the rule of `vanta.testing.steps`."""
        return TokenCount(count_prompt(messages), exact=True)

    async def count_texts(self, texts: Sequence[str]) -> list[TokenCount]:
        """Exact, by the same rule."""
        return [TokenCount(count_tokens(text), exact=True) for text in texts]

    @property
    def counter(self) -> str:
        """The rule's name."""
        return "vanta.testing.steps"

    async def models(self) -> Sequence[EngineModel]:
        """The one model."""
        return (EngineModel(self.model, self._window),)

    async def health(self, *, force: bool = False) -> Health:
        """As `healthy` says, looked at no more than every 30 seconds unless forced."""
        now = time.monotonic()
        if force or self._health is None or now - self._health[0] >= _HEALTH_TTL_S:
            self.health_checks += 1
            detail = "the script is ready" if self.healthy else "told to be unwell"
            self._health = (now, Health(self.healthy and not self._closed, detail))
        checked_at, health = self._health
        return Health(health.ok, health.detail, now - checked_at)

    async def load(self) -> None:
        """Nothing to load; counted in `loads`."""
        self.loads += 1

    @property
    def window(self) -> int | None:
        """As it was set."""
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
        """How many streams are open."""
        return len(self._performances)

    def stats(self) -> dict[str, Any]:
        """Streams opened and closed, tokens produced and produced after a stop."""
        return {
            "opened": len(self.runs),
            "closed": len(self.runs) - self.streaming,
            "tokens": sum(run.tokens for run in self.runs),
            "tokens_after_stop": sum(run.tokens_after_stop for run in self.runs),
        }

    async def aclose(self) -> None:
        """End what runs: its reader gets an EngineError; so does every later request."""
        self._closed = True
        for performance in tuple(self._performances):
            performance.abort(self._closed_error())

    def error(self, kind: ErrorKind, message: str, suggestion: str = "") -> EngineError:
        """An error in this engine's name."""
        return EngineError(kind, message, engine=self.name, model=self.model, suggestion=suggestion)

    async def _begin(self, request: GenerationRequest) -> ScriptedStream:
        await anyio.lowlevel.checkpoint()
        self._check(request)
        run = Run(request)
        self.runs.append(run)
        performance = ScriptedStream(self, run, self._steps(request, len(self.runs) - 1))
        self._performances.add(performance)
        self._opened.set()
        self._opened = anyio.Event()
        return performance

    async def _end(self, performance: ScriptedStream) -> None:
        try:
            await self._wind_down(performance.run)
        finally:
            performance.settle()
            self._performances.discard(performance)

    def _steps(self, request: GenerationRequest, index: int) -> tuple[Step, ...]:
        if self._reply is not None:
            steps = expand(self._reply(request))
        else:
            steps = self._scripts[min(index, len(self._scripts) - 1)]
        return skip(steps, request.prefix)

    def _check(self, request: GenerationRequest) -> None:
        if self._closed:
            raise self._closed_error()
        for asked, name in _asked(request):
            if asked and not getattr(self.capabilities, name):
                raise self.error(
                    ErrorKind.UNSUPPORTED, f"{name} was asked for", "Ask for what it can do."
                )
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

    def _closed_error(self) -> EngineError:
        return self.error(ErrorKind.MODEL_NOT_LOADED, "the engine was closed", "Open a new one.")


class _Staged:
    """The context of one stream."""

    __slots__ = ("_begin", "_end", "_performance")

    def __init__(
        self,
        begin: Callable[[], Awaitable[ScriptedStream]],
        end: Callable[[ScriptedStream], Awaitable[None]],
    ) -> None:
        self._begin = begin
        self._end = end

    async def __aenter__(self) -> DeltaStream:
        self._performance = await self._begin()
        return self._performance

    async def __aexit__(self, *exc_info: object) -> None:
        await self._end(self._performance)


def _asked(request: GenerationRequest) -> tuple[tuple[object, str], ...]:
    sampling = request.sampling
    return (
        (request.tools, "tools"),
        (request.prefix, "prefix_continuation"),
        (sampling.grammar is not None, "grammar"),
        (sampling.json_schema is not None, "json_schema"),
        (sampling.logprobs is not None, "logprobs"),
    )


class AnyOptions(BaseModel):
    """Options of the scripted engine: whatever is given, and nothing is made of it."""

    model_config = ConfigDict(extra="allow")


class ScriptedPlugin:
    """A plugin whose engine `scripted` is, for each track, the engine of the track's name."""

    name = "scripted"

    def __init__(self, engines: dict[str, Engine]) -> None:
        self.engines = engines

    @hookimpl
    def vanta_engines(self) -> Iterable[EngineFactory]:
        """The factory `scripted`."""
        return (EngineFactory("scripted", "follows a script", AnyOptions, self._create),)

    def _create(self, _options: Any, context: EngineContext) -> Engine:
        try:
            return self.engines[context.track]
        except KeyError:
            raise UnknownName("scripted engine", context.track, self.engines) from None


def scripted_plugin(**engines: Engine) -> ScriptedPlugin:
    """A plugin for `vanta.open(..., plugins=[scripted_plugin(local=..., api=...)])`, for tracks
    that say `engine = "scripted"`; each gets the engine given under the track's name."""
    return ScriptedPlugin(engines)


class ScriptedStream(DeltaStream):
    """The deltas of a script. Made and settled by its engine."""

    started = True

    def __init__(self, engine: ScriptedEngine, run: Run, steps: tuple[Step, ...]) -> None:
        sampling = run.request.sampling
        self._engine = engine
        self.run = run
        self._steps: Iterator[Step] = iter(steps)
        self._stops = StopFilter(sampling.stop)
        self._left = sampling.max_tokens
        self._logprobs = sampling.logprobs
        self._input = count_prompt(run.request.messages)
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
                return self._give(self._ready.pop(0))
            if self._done:
                raise StopAsyncIteration
            await self._take(next(self._steps, None))

    def abort(self, error: EngineError) -> None:
        """Have the reader meet `error` instead of the next delta."""
        self._error = error
        if self._waiting is not None:
            self._waiting.cancel()

    def settle(self) -> None:
        """Stand still: the receipt is written."""
        run = self.run
        self.receipt = Receipt(self._input, run.tokens, run.tokens_after_stop)
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
            self._ready.append(Delta(text=text, logprobs=self._likely(text, step.logprob)))
        if self._stops.hit:
            self._finish("stop")
        elif self._left == 0:
            self._finish("length")

    def _likely(self, text: str, logprob: float | None) -> tuple[TokenLogprob, ...]:
        if self._logprobs is None:
            return ()
        value = -0.1 if logprob is None else logprob
        rivals = self._logprobs > 0
        return tuple(
            TokenLogprob(token, value, ((token, value),) if rivals else ())
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
            self._ready.append(Delta(text=held, logprobs=self._likely(held, None)))
        counted = usage or Usage(self._input, self.run.tokens)
        self._ready.append(Delta(finish_reason=reason, usage=counted, model=self._engine.model))
        self._done = True

    def _give(self, delta: Delta) -> Delta:
        if self._done and not self._ready:
            self.run.complete = True
        return delta

    def _failure(self, step: Fail) -> EngineError:
        if isinstance(step.error, EngineError):
            return step.error
        return self._engine.error(ErrorKind(step.error), "the script failed as it was told")

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


def open_scripted(data_dir: Path, given: Mapping[str, Any]) -> AbstractAsyncContextManager[Runtime]:
    """A runtime with a track for each engine in `given`; the rest of it is configuration."""
    import vanta

    engines = {name: value for name, value in given.items() if isinstance(value, Engine)}
    rest = {name: value for name, value in given.items() if name not in engines}
    asked = rest.pop("tracks", {})
    tracks = {
        name: {"engine": "scripted", "model": engine.model, **asked.get(name, {})}
        for name, engine in engines.items()
    }
    config = {"data_dir": str(data_dir), **rest, "tracks": tracks}
    return vanta.open(config, plugins=[scripted_plugin(**engines)])
