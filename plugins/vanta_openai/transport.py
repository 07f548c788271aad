"""The SDK's client for one server. Only this module, `stream` and `errors` import the SDK.

Invariant: importing this module and building a client may block (TLS certificates, a second of
imports), so both happen in a worker thread. The client never retries, and the only timeout of its
own is that of connecting.
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import httpcore2
import httpx2
import openai

from vanta import EngineError, EngineModel, ErrorKind, GenerationRequest
from vanta.normalising import ReasoningFilter
from vanta.text import RedactingFilter, secrets_of
from vanta_openai.errors import (
    CHECK_URL,
    EXPECTED,
    NOT_A_STREAM,
    UNSENDABLE,
    ErrorTranslator,
)
from vanta_openai.http_client import build_client
from vanta_openai.protocol import ErrorChunkError, parse_embeddings, parse_models
from vanta_openai.server import ApiServer, ServerOptions
from vanta_openai.stream import OpenAIStream

if TYPE_CHECKING:
    from vanta.memory import Vectors

_LOGGERS = (
    *("httpx2", "openai", "openai._base_client", "openai._response", "openai._legacy_response"),
    *(f"httpcore2.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")),
)
_REDACTING = RedactingFilter()

LIST_TIMEOUT_S = 5.0
"""Seconds in which a server must list its models."""

_NO_KEY = "none"
_NO_EMBEDDINGS = CHECK_URL.format(feature="that has embeddings")


def _redact_logs(server: ApiServer) -> None:
    """Keep the server's secrets out of the log lines of the libraries."""
    _REDACTING.secrets.update(filter(None, (server.key, *secrets_of(server.url))))
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_REDACTING)  # no second time, if it is there


class Transport:
    """One pooled client. Every method raises EngineError and nothing else."""

    def __init__(
        self, options: ServerOptions, model: str, server: ApiServer, *, private: bool = False
    ) -> None:
        """private: whether the text must reach the server directly. Raises ClientSetupError."""
        timeout = httpx2.Timeout(None, connect=options.connect_timeout_s)
        client, proxy, self._open_early = build_client(
            server.url,
            private=private,
            timeout=timeout,
            query=server.query,
            most_bytes=options.most_answer_bytes,
        )
        _redact_logs(server)
        self._connect_timeout_s = options.connect_timeout_s
        self._errors = ErrorTranslator(model, server, proxy)
        self._client = openai.AsyncOpenAI(
            api_key=server.key or _NO_KEY,
            base_url=server.base_url,
            max_retries=0,
            timeout=timeout,
            http_client=client,
        )
        # The SDK takes both from the environment, also for servers of others.
        if not server.is_openai or options.organization:
            self._client.organization = options.organization
        if not server.is_openai:
            self._client.project = None
        # The SDK imports its resources on first use; this moves that into the worker thread.
        self._completions = self._client.chat.completions

    async def connect(self) -> None:
        """Open a connection for the next request, if none is idle. A failure is left to the request
        to report."""
        with suppress(*EXPECTED, httpcore2.NetworkError, httpcore2.TimeoutException, OSError):
            await self._open_early(self._connect_timeout_s)

    async def open(
        self,
        body: dict[str, Any],
        request: GenerationRequest,
        window: int | None,
        reasoning: ReasoningFilter,
    ) -> OpenAIStream:
        """Send the request; return as soon as the headers have arrived.

        request: what `body` was made from. window: the model's window in tokens, if it is known.
        reasoning: moves reasoning out of the answer's text.
        """
        sent_at = time.monotonic()
        try:
            answer = await self._completions.create(**body)
        except (*EXPECTED, *UNSENDABLE) as cause:
            failure = self._errors.translate(cause)
        else:
            return OpenAIStream(answer.response, request, self._errors, sent_at, window, reasoning)
        raise failure

    async def models(self) -> list[EngineModel]:
        """Return the models that the server lists."""
        try:
            with anyio.fail_after(LIST_TIMEOUT_S):
                response = await self._client.get("/models", cast_to=httpx2.Response)
            return parse_models(response.json())
        except TimeoutError:
            message = f"no list of models within {LIST_TIMEOUT_S:g} seconds"
            failure = self._errors.build(ErrorKind.TIMEOUT, message)
        except (ValueError, RecursionError):
            failure = self._errors.build(
                ErrorKind.SERVER, "the answer is not a list of models", NOT_A_STREAM
            )
        except EXPECTED as cause:
            failure = self._errors.translate(cause)
        raise failure

    async def embeddings(self, body: dict[str, Any], timeout_s: float) -> Vectors:
        """Return the vectors of `body["input"]`. timeout_s: limit for the whole answer."""
        try:
            with anyio.fail_after(timeout_s):
                response = await self._client.post(
                    "/embeddings", body=body, cast_to=httpx2.Response
                )
        except TimeoutError:
            message = f"no answer within {timeout_s} seconds"
            failure = self._errors.build(ErrorKind.TIMEOUT, message, "Raise 'timeout_s'.")
        except (*EXPECTED, *UNSENDABLE) as cause:
            failure = self._errors.translate(cause)
        else:
            return await self._vectors(response.content, len(body["input"]))
        raise failure

    async def aclose(self) -> None:
        """Close the pool with all its connections."""
        await self._client.close()

    async def _vectors(self, content: bytes, count: int) -> Vectors:
        try:
            return await anyio.to_thread.run_sync(parse_embeddings, content, count)
        except (ValueError, RecursionError) as error:
            failure = self._not_vectors(content, error)
        raise failure

    def _not_vectors(self, content: bytes, problem: Exception) -> EngineError:
        """Return the error for HTTP 200 without vectors: an error object, a web page."""
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            body = None
        if isinstance(body, dict) and body.get("error"):
            return self._errors.translate(ErrorChunkError(body["error"]))
        return self._errors.build(
            ErrorKind.SERVER, f"the answer is not a list of embeddings: {problem}", _NO_EMBEDDINGS
        )
