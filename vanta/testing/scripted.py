"""An engine that follows a script: real streams, cancellation and receipts, nothing generated.

    gate = anyio.Event()
    engine = ScriptedEngine("Hello", Wait(gate), " world")

Invariant: it costs next to nothing and never waits on its own; whatever order things happen in is
what the script's gates say. Tokens are those of `vanta.testing.tokens`, counted exactly.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

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
    TokenCount,
)
from vanta.errors import EngineError, ErrorKind, UnknownName
from vanta.hookspecs import hookimpl
from vanta.messages import Message
from vanta.testing._behaviour import Gate
from vanta.testing._performance import Performance
from vanta.testing.steps import (
    Call,
    Fail,
    Finish,
    Hang,
    Pause,
    Say,
    Script,
    Step,
    Think,
    Wait,
    expand,
    skip,
)
from vanta.testing.tokens import count_prompt, count_tokens

__all__ = [
    "Call",
    "Fail",
    "Finish",
    "Hang",
    "Pause",
    "Run",
    "Say",
    "ScriptedEngine",
    "Step",
    "Think",
    "Wait",
    "scripted_plugin",
]

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
        winds_down: Gate | None = None,
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
        self._performances: set[Performance] = set()
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
        """Exact, by the rule of `vanta.testing.tokens`."""
        return TokenCount(count_prompt(messages), exact=True)

    async def count_texts(self, texts: Sequence[str]) -> list[TokenCount]:
        """Exact, by the same rule."""
        return [TokenCount(count_tokens(text), exact=True) for text in texts]

    @property
    def counter(self) -> str:
        """The rule's name."""
        return "vanta.testing.tokens"

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

    async def _begin(self, request: GenerationRequest) -> Performance:
        await anyio.lowlevel.checkpoint()
        self._check(request)
        run = Run(request)
        self.runs.append(run)
        performance = Performance(self, run, self._steps(request, len(self.runs) - 1))
        self._performances.add(performance)
        self._opened.set()
        self._opened = anyio.Event()
        return performance

    async def _end(self, performance: Performance) -> None:
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
        begin: Callable[[], Awaitable[Performance]],
        end: Callable[[Performance], Awaitable[None]],
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
