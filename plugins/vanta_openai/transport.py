"""The SDK's client for one server. Only this module, `stream` and `errors` import the SDK.

Invariant: importing this module and building a client may block (TLS certificates, a second of
imports), so both happen in a worker thread. The client never retries, and the only timeout of its
own is that of connecting.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import httpx2
import openai

from vanta import EngineError, EngineModel, ErrorKind, Message
from vanta_openai.errors import EXPECTED, UNSENDABLE, ErrorTranslator
from vanta_openai.protocol import ErrorChunkError, parse_embeddings, parse_models
from vanta_openai.server import ApiServer, ServerOptions
from vanta_openai.stream import OpenAIStream

if TYPE_CHECKING:
    from vanta.memory import Vectors

LIST_TIMEOUT_S = 5.0
"""Seconds in which a server must list its models."""

_NO_KEY = "none"
_UNREADABLE: tuple[type[Exception], ...] = (*EXPECTED, ValueError)
_CHECK_URL = (
    "Check that 'base_url' points at an OpenAI-compatible API {feature}: its path usually ends in "
    "/v1."
)
_NOT_A_STREAM = _CHECK_URL.format(feature="that can stream")
_NO_EMBEDDINGS = _CHECK_URL.format(feature="that has embeddings")


class Transport:
    """One pooled client. Every method raises EngineError and nothing else."""

    def __init__(self, options: ServerOptions, model: str, server: ApiServer) -> None:
        self._errors = ErrorTranslator(model, server)
        timeout = httpx2.Timeout(None, connect=options.connect_timeout_s)
        self._client = openai.AsyncOpenAI(
            api_key=server.key or _NO_KEY,
            base_url=server.base_url,
            organization=options.organization,
            max_retries=0,
            timeout=timeout,
            http_client=openai.DefaultAsyncHttpxClient(timeout=timeout, params=server.query),
        )
        # The SDK imports its resources on first use; this moves that into the worker thread.
        self._completions = self._client.chat.completions

    async def open(self, body: dict[str, Any], messages: Sequence[Message]) -> OpenAIStream:
        """Send the request; return as soon as the headers of a stream have arrived."""
        sent_at = time.monotonic()
        try:
            answer = await self._completions.create(**body)
        except (*EXPECTED, *UNSENDABLE) as cause:
            failure = self._errors.translate(cause)
        else:
            response: httpx2.Response = answer.response
            if _is_stream(response):
                return OpenAIStream(response, messages, self._errors, sent_at)
            failure = await self._not_a_stream(response)
        raise failure

    async def models(self) -> list[EngineModel]:
        """Return the models that the server lists."""
        try:
            response = await self._client.get(
                "/models", cast_to=httpx2.Response, options={"timeout": LIST_TIMEOUT_S}
            )
            return parse_models(response.json())
        except ValueError:
            failure = self._errors.build(
                ErrorKind.SERVER, "the answer is not a list of models", _NOT_A_STREAM
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
        except ValueError as error:
            failure = self._not_vectors(content, error)
        raise failure

    def _not_vectors(self, content: bytes, problem: ValueError) -> EngineError:
        """Return the error for HTTP 200 without vectors: an error object, a web page."""
        try:
            body = json.loads(content)
        except ValueError:
            body = None
        if isinstance(body, dict) and body.get("error"):
            return self._errors.translate(ErrorChunkError(body["error"]))
        return self._errors.build(
            ErrorKind.SERVER, f"the answer is not a list of embeddings: {problem}", _NO_EMBEDDINGS
        )

    async def _not_a_stream(self, response: httpx2.Response) -> EngineError:
        """Return the error for HTTP 200 without a stream: an error object, a page, a completion."""
        content_type = response.headers.get("content-type") or "no content"
        try:
            body = json.loads(await response.aread())
        except _UNREADABLE:
            body = None
        if isinstance(body, dict) and body.get("error"):
            return self._errors.translate(ErrorChunkError(body["error"]))
        return self._errors.build(
            ErrorKind.SERVER,
            f"the answer is not an event stream but {content_type!r}",
            _NOT_A_STREAM,
        )


def _is_stream(response: httpx2.Response) -> bool:
    content_type: str = response.headers.get("content-type", "")
    return content_type.partition(";")[0].strip().lower() == "text/event-stream"
