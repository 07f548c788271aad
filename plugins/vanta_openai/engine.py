"""The engine itself: the contract of `vanta.engine` over one OpenAI-compatible server.

Invariant: nothing blocks the event loop; the SDK is imported and its client built in a worker
thread, once, by the first to need it. Nothing is retried.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from vanta.context import read_overflow
from vanta.engine import (
    Capabilities,
    DeltaStream,
    Engine,
    EngineContext,
    EngineModel,
    GenerationRequest,
    Health,
    TokenCount,
)
from vanta.errors import EngineError, ErrorKind
from vanta.messages import Message
from vanta_openai.availability import Availability
from vanta_openai.counting import Counter
from vanta_openai.opening import fault, open_transport
from vanta_openai.options import OpenAIOptions
from vanta_openai.ranks import NoRanks, encoding_of
from vanta_openai.request import MaxTokensField, Unsayable, body_of
from vanta_openai.server import Server

if TYPE_CHECKING:
    from vanta_openai.stream import OpenAIStream
    from vanta_openai.transport import Transport


class OpenAIEngine(Engine):
    """One model on one server."""

    name = "openai"

    def __init__(self, options: OpenAIOptions, context: EngineContext) -> None:
        self.model = context.model
        self.capabilities = Capabilities(
            tools=True,
            grammar=options.extended_sampling,
            json_schema=True,
            logprobs=True,
            prefix_continuation=bool(options.prefix_continuation),
        )
        self._options = options
        self._server: Server | None = None
        self._transport: Transport | None = None
        self._loading = anyio.Lock()
        self._closed = False
        self._live: set[OpenAIStream] = set()
        self._availability = Availability(self._check)
        self._window: int | None = None
        self._requests = 0
        self._counter = Counter()
        self._no_ranks: str | None = None

    async def load(self) -> None:
        """Import the SDK and build its client; later calls do nothing."""
        await self._ready()

    @asynccontextmanager
    async def stream(self, request: GenerationRequest) -> AsyncIterator[DeltaStream]:
        """Send the request; leaving closes the connection unless the answer is complete."""
        transport, server = await self._ready()
        body = self._body(request, server)
        self._requests += 1
        try:
            stream = await transport.open(body, request.messages)
        except EngineError as error:
            self._learn_from(error, request)
            raise
        self._live.add(stream)
        try:
            yield stream
        finally:
            self._live.discard(stream)
            await stream.aclose()
            if stream.receipt is not None and stream.receipt.exact:
                self._counter.note(request, stream.receipt.input_tokens)

    async def count_tokens(self, messages: Sequence[Message]) -> TokenCount:
        """Exact where tiktoken's ranks for the model are on disk; else an estimate that learns from
        the usage that the server tells, since the protocol has no way to ask."""
        return await self._counter.count(messages)

    async def count_texts(self, texts: Sequence[str]) -> list[TokenCount]:
        """Likewise, all in one visit to a thread where they are long."""
        return await self._counter.count_texts(texts)

    @property
    def counter(self) -> str:
        """tiktoken's encoding, or the state of the estimate."""
        return self._counter.name

    async def models(self) -> Sequence[EngineModel]:
        """What the server lists; teaches `window` where the server tells it."""
        transport, _ = await self._ready()
        listed = await transport.models()
        self._window = next((m.window for m in listed if m.id == self.model), self._window)
        return listed

    async def health(self, *, force: bool = False) -> Health:
        """Whether the server lists its models; see `Availability` for how often it is asked."""
        return await self._availability.get(force=force)

    def stats(self) -> Mapping[str, Any]:
        """Requests sent so far, streams open now, and where; what counts tokens, and why tiktoken
        does not."""
        return {
            "server": self._server.label if self._server else None,
            "requests": self._requests,
            "open_streams": len(self._live),
            "counter": self._counter.name,
            "no_tiktoken": self._no_ranks,
        }

    @property
    def window(self) -> int | None:
        """The model's window, once the server's list of models has told it."""
        return self._window

    async def aclose(self) -> None:
        """Cut the streams that run, then close the pool."""
        self._closed = True
        for stream in tuple(self._live):
            await stream.cut()
        if self._transport is not None:
            await self._transport.aclose()

    async def _check(self) -> Health:
        try:
            listed = [model.id for model in await self.models()]
        except EngineError as error:
            return _health_of(error)
        where = self._server.label if self._server else "the server"
        if listed and self.model not in listed:
            return Health(True, f"{where} answers, but does not list the model {self.model!r}")
        return Health(True, f"{where} answers")

    async def _ready(self) -> tuple[Transport, Server]:
        async with self._loading:
            if self._closed:
                raise self._fault(ErrorKind.MODEL_NOT_LOADED, "the engine is closed", "Open anew.")
            if self._transport is None or self._server is None:
                # Abandoned where the caller is cancelled: all that is lost then is an import.
                built = await anyio.to_thread.run_sync(self._build, abandon_on_cancel=True)
                self._transport, self._server = built
            return self._transport, self._server

    def _build(self) -> tuple[Transport, Server]:
        """Everything that blocks; runs in a worker thread."""
        self._find_ranks()
        return open_transport(self._options, self.model)

    def _find_ranks(self) -> None:
        try:
            self._counter = Counter(encoding_of(self.model, self._options.tiktoken_dir))
        except NoRanks as why:
            self._no_ranks = str(why)

    def _learn_from(self, error: EngineError, request: GenerationRequest) -> None:
        """A server that refuses a prompt may say how many tokens it counted in it."""
        told = read_overflow(error.message).prompt
        if error.kind is ErrorKind.CONTEXT_OVERFLOW and told is not None:
            self._counter.note(request, told)

    def _body(self, request: GenerationRequest, server: Server) -> dict[str, Any]:
        default: MaxTokensField = "max_completion_tokens" if server.is_openai else "max_tokens"
        limit_name = self._options.max_tokens_field or default
        try:
            return body_of(request, self.model, self._options, limit_name)
        except Unsayable as unsayable:
            problem = unsayable
        raise self._fault(ErrorKind.UNSUPPORTED, problem.what, problem.helps)

    def _fault(self, kind: ErrorKind, message: str, advice: str = "") -> EngineError:
        return fault(kind, message, advice, model=self.model, server=self._server)


def _health_of(error: EngineError) -> Health:
    """A server that has no list of models, but answers, is there."""
    if error.kind is ErrorKind.MODEL_NOT_FOUND:
        return Health(True, f"{error.server} answers, but lists no models")
    return Health(False, str(error))
