"""The engine `openai`: the contract of `vanta.engine` over one OpenAI-compatible server.

Invariant: nothing blocks the event loop; the first call that needs the SDK's client imports and
builds it once, in a worker thread. Nothing is retried.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from vanta import (
    Capabilities,
    DeltaStream,
    Engine,
    EngineContext,
    EngineError,
    EngineModel,
    ErrorKind,
    GenerationRequest,
    Health,
    Message,
    TokenCount,
)
from vanta.context import read_overflow
from vanta.learning import Expiring, Learnt
from vanta.normalising import AS_GIVEN, ReasoningFilter, RoleRules, learn_roles, quoted_marks
from vanta.text import well_formed_data
from vanta_openai.connection import Availability, open_transport
from vanta_openai.protocol import UnsupportedFeatureError, chat_body
from vanta_openai.response_format import STEPS, ResponseFormats
from vanta_openai.server import NAME, ApiServer, OpenAIOptions, engine_error
from vanta_openai.token_counting import RanksNotFoundError, TokenCounter, encoding_of
from vanta_openai.vision import can_see

if TYPE_CHECKING:
    from vanta_openai.stream import OpenAIStream
    from vanta_openai.transport import Transport


THINK_END = "</think>"
"""Ends the reasoning that a server's own chat template opens."""

ROLES = {
    "as_given": AS_GIVEN,
    "alternating": RoleRules(alternating=True),
    "no_system": RoleRules(system=False, alternating=True),
}
"""The values of the option `roles` but "auto"."""

LEAST_WINDOW = 512
"""A smaller window in a list of models is not believed: no chat model in use has one."""

_REFUSALS = (ErrorKind.BAD_REQUEST, ErrorKind.UNSUPPORTED, ErrorKind.SERVER)
"""The kinds of error by which servers refuse a conversation's roles."""


class OpenAIEngine(Engine):
    """One model on one server."""

    name = NAME
    keeps_state = False  # in this process; what the server keeps is up to its operator

    def __init__(self, options: OpenAIOptions, context: EngineContext) -> None:
        self.model = context.model
        self.capabilities = Capabilities(
            tools=True,
            grammar=options.extended_sampling,
            json_schema=True,
            logprobs=True,
            prefix_continuation=bool(options.prefix_continuation),
            images=can_see(self.model) if options.images is None else options.images,
        )
        self._options = options
        self._private = context.private
        self._keyless = context.keyless
        self._server: ApiServer | None = None
        self._transport: Transport | None = None
        self._loading = anyio.Lock()
        self._closed = False
        self._live: set[OpenAIStream] = set()
        self._availability = Availability(self._check)
        self._window: int | None = None
        self._requests = 0
        self._counter = TokenCounter(model=self.model)
        self._no_ranks: str | None = None
        self._learnt_rules: Expiring[RoleRules] = Expiring()
        self._formats = ResponseFormats()

    async def load(self) -> None:
        """Import the SDK and build its client. Later calls do nothing."""
        await self._ready()

    async def connect(self) -> None:
        """Open a connection for the next request, if none is idle and no proxy is between."""
        transport, _ = await self._ready()
        await transport.connect()

    @asynccontextmanager
    async def stream(self, request: GenerationRequest) -> AsyncIterator[DeltaStream]:
        """Send the request; leaving closes the connection unless the answer is complete."""
        transport, server = await self._ready()
        body = self._body(request, server)
        self._requests += 1
        begins_inside = self._options.opens_reasoning and not request.prefix
        reasoning = ReasoningFilter(
            inside=THINK_END if begins_inside else "",
            continues=bool(request.prefix),
            quoted=quoted_marks(request.messages),
            calls=bool(request.tools),
        )
        try:
            stream = await transport.open(body, request, self._window, reasoning)
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
        """Return an exact count if tiktoken's ranks for the model are on disk.

        Otherwise the count is an estimate that learns from the usage that the server reports, since
        the protocol cannot count.
        """
        return await self._counter.count(messages)

    async def count_texts(self, texts: Sequence[str]) -> list[TokenCount]:
        """Return the tokens of each text; long texts are counted in one call to a thread."""
        return await self._counter.count_texts(texts)

    @property
    def counter(self) -> str:
        """The name of tiktoken's encoding, or the state of the estimate."""
        return self._counter.name

    async def models(self) -> Sequence[EngineModel]:
        """Return the models that the server lists, and update `window` from the list."""
        transport, _ = await self._ready()
        models = await transport.models()
        window = next((m.window for m in models if m.id == self.model), None)
        if window is not None and window >= LEAST_WINDOW:
            self._window = window
        return models

    async def health(self, *, force: bool = False) -> Health:
        """Return whether the server lists its models; `Availability` limits the requests."""
        return await self._availability.get(force=force)

    def stats(self) -> Mapping[str, Any]:
        """Return server, number of requests, open streams, and the token counter.

        `no_tiktoken` is the reason why tiktoken does not count, or None; `roles` is what is done to
        messages that the server would refuse, or None.
        """
        return {
            "server": self._server.label if self._server else None,
            "requests": self._requests,
            "open_streams": len(self._live),
            "counter": self._counter.name,
            "no_tiktoken": self._no_ranks,
            "roles": str(self._rules) or None,
        }

    def learnt(self) -> Sequence[Learnt]:
        """Return what the server refused, roles and forms, and the state of the token estimate."""
        rules, step = self._learnt_rules.value, self._formats.learnt
        roles = Learnt("", "roles", str(rules), self._learnt_rules.left_s)
        form = Learnt("", "response_format", STEPS[step.value or 0], step.left_s)
        known = [*([roles] if rules else []), *([form] if step.value else [])]
        return (*known, *self._counter.learnt())

    def forget_learnt(self, what: str | None = None) -> None:
        """Forget `roles`, `response_format` or `estimate`, or all of them."""
        if what in (None, "response_format"):
            self._formats.forget()
        if what in (None, "roles"):
            self._learnt_rules.forget()
        if what in (None, "estimate"):
            self._counter.forget()

    @property
    def window(self) -> int | None:
        """The model's window, known once the server has listed it."""
        return self._window

    async def aclose(self) -> None:
        """Cut the running streams, then close the connection pool."""
        self._closed = True
        for stream in tuple(self._live):
            await stream.cut()
        if self._transport is not None:
            await self._transport.aclose()

    async def _check(self) -> Health:
        try:
            names = [model.id for model in await self.models()]
        except EngineError as error:
            return _health_of(error)
        where = self._server.label if self._server else "the server"
        if names and self.model not in names:
            return Health(True, f"{where} answers, but does not list the model {self.model!r}")
        return Health(True, f"{where} answers")

    async def _ready(self) -> tuple[Transport, ApiServer]:
        async with self._loading:
            if self._closed:
                raise self._error(
                    ErrorKind.MODEL_NOT_LOADED, "the engine is closed", "Create a new one."
                )
            if self._transport is None or self._server is None:
                # Abandoned if the caller is cancelled: all that is lost then is an import.
                opened = await anyio.to_thread.run_sync(self._open, abandon_on_cancel=True)
                self._transport, self._server = opened
            return self._transport, self._server

    def _open(self) -> tuple[Transport, ApiServer]:
        """Do everything that blocks; runs in a worker thread.

        :raises EngineError: if the client cannot be built, whatever the SDK raises.
        """
        try:
            return self._open_client()
        except EngineError:
            raise
        except Exception as error:
            raise self._error(
                ErrorKind.MODEL_NOT_LOADED,
                f"the client cannot be built: {type(error).__name__}: {error}",
                "Check the track's base_url, the proxy and certificate variables of the "
                "environment, and the installed packages openai and httpx.",
            ) from error

    def _open_client(self) -> tuple[Transport, ApiServer]:
        try:
            self._counter = TokenCounter(
                encoding_of(self.model, self._options.tiktoken_dir), model=self.model
            )
        except RanksNotFoundError as error:
            self._no_ranks = str(error)
        return open_transport(
            self._options, self.model, private=self._private, keyless=self._keyless
        )

    def _learn_from(self, error: EngineError, request: GenerationRequest) -> None:
        """Learn the prompt's tokens and the accepted roles from a server's refusal."""
        tokens = read_overflow(error.message).prompt
        if error.kind is ErrorKind.CONTEXT_OVERFLOW and tokens is not None:
            self._counter.note(request, tokens)
        rules = learn_roles(error.message, request.messages, self._rules)
        if self._options.roles == "auto" and error.kind in _REFUSALS and rules is not None:
            self._learnt_rules.set(rules)
            error.resend = True
        schema = request.sampling.json_schema
        if schema is not None and request.checked and error.kind in _REFUSALS:
            error.resend = error.resend or self._formats.learn_from(error.message, schema)

    @property
    def _rules(self) -> RoleRules:
        """What the server accepts: as configured, else as learnt from its refusals."""
        return ROLES.get(self._options.roles) or self._learnt_rules.value or AS_GIVEN

    def _body(self, request: GenerationRequest, server: ApiServer) -> dict[str, Any]:
        problem = request.tool_choice_problem
        if problem:
            suggestion = "Offer the tool, or change the choice."
            raise self._error(ErrorKind.BAD_REQUEST, problem, suggestion)
        if not self.capabilities.images and any(item.images for item in request.messages):
            raise self._error(
                ErrorKind.UNSUPPORTED,
                "the request has an image, and the model is not known to see",
                "Use another model, or set the option `images = true` if this one can.",
            )
        try:
            body = chat_body(
                request,
                self.model,
                self._options,
                is_openai=server.is_openai,
                rules=self._rules,
                formats=self._formats,
            )
            return well_formed_data(body)
        except UnsupportedFeatureError as error:
            failure = self._error(ErrorKind.UNSUPPORTED, error.problem, error.suggestion)
        raise failure

    def _error(self, kind: ErrorKind, message: str, suggestion: str) -> EngineError:
        return engine_error(kind, message, suggestion, model=self.model, server=self._server)


def _health_of(error: EngineError) -> Health:
    """Return the health after a failed check; a server without a list of models still answers."""
    if error.kind is ErrorKind.MODEL_NOT_FOUND:
        return Health(True, f"{error.server} answers, but lists no models")
    return Health(False, str(error))
