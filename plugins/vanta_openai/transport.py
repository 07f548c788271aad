"""The SDK's client for one server: the only module, with its streams and faults, that imports it.

Invariant: importing and building it may block (TLS certificates, a second of imports), so that both
happen in a worker thread; it never retries, and no timeout but that of connecting is its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import anyio
import anyio.to_thread
import httpx2
import openai

from vanta.engine import EngineModel
from vanta.errors import EngineError, ErrorKind
from vanta.messages import Message
from vanta_openai.chunks import ErrorFrame
from vanta_openai.faults import EXPECTED, UNSENDABLE, Faults
from vanta_openai.listing import models_of
from vanta_openai.options import ServerOptions
from vanta_openai.server import Server
from vanta_openai.stream import OpenAIStream
from vanta_openai.vectors import Vectors, vectors_of

LIST_TIMEOUT_S = 5.0
"""How long a server may take to list its models."""

_NO_KEY = "none"
_UNREADABLE: tuple[type[Exception], ...] = (*EXPECTED, ValueError)
_NOT_A_STREAM = (
    "Check that 'base_url' points at an OpenAI-compatible API that can stream: its path mostly "
    "ends in /v1."
)
_NO_EMBEDDINGS = (
    "Check that 'base_url' points at an OpenAI-compatible API that has embeddings: its path mostly "
    "ends in /v1."
)


class Transport:
    """One pooled client. Every method raises EngineError and nothing else."""

    def __init__(self, options: ServerOptions, model: str, server: Server) -> None:
        self._faults = Faults(model, server)
        timeout = httpx2.Timeout(None, connect=options.connect_timeout_s)
        self._client = openai.AsyncOpenAI(
            api_key=server.key or _NO_KEY,
            base_url=server.url,
            organization=options.organization,
            max_retries=0,
            timeout=timeout,
            http_client=openai.DefaultAsyncHttpxClient(timeout=timeout),
        )
        # The SDK imports its resources on first use: let that, too, happen in this thread.
        self._completions = self._client.chat.completions

    async def open(self, body: dict[str, Any], messages: Sequence[Message]) -> OpenAIStream:
        """Send the request and return when the headers of a stream are there."""
        asked_at = time.monotonic()
        try:
            sent = await self._completions.create(**body)
        except (*EXPECTED, *UNSENDABLE) as cause:
            fault = self._faults.of(cause)
        else:
            response: httpx2.Response = sent.response
            if _is_stream(response):
                return OpenAIStream(response, messages, self._faults, asked_at)
            fault = await self._not_a_stream(response)
        raise fault

    async def models(self) -> list[EngineModel]:
        """What the server lists."""
        try:
            response = await self._client.get(
                "/models", cast_to=httpx2.Response, options={"timeout": LIST_TIMEOUT_S}
            )
            return models_of(response.json())
        except ValueError:
            fault = self._faults.make(
                ErrorKind.SERVER, "what came as a list of models is none", _NOT_A_STREAM
            )
        except EXPECTED as cause:
            fault = self._faults.of(cause)
        raise fault

    async def embeddings(self, body: dict[str, Any], timeout_s: float) -> Vectors:
        """The vectors of `body["input"]`; see `vectors_of`. timeout_s: for the whole answer."""
        try:
            with anyio.fail_after(timeout_s):
                response = await self._client.post(
                    "/embeddings", body=body, cast_to=httpx2.Response
                )
        except TimeoutError:
            late = f"no answer within {timeout_s} seconds"
            fault = self._faults.make(ErrorKind.TIMEOUT, late, "Raise 'timeout_s'.")
        except (*EXPECTED, *UNSENDABLE) as cause:
            fault = self._faults.of(cause)
        else:
            return await self._vectors(response.content, len(body["input"]))
        raise fault

    async def _vectors(self, answer: bytes, count: int) -> Vectors:
        try:
            return await anyio.to_thread.run_sync(vectors_of, answer, count)
        except ValueError as error:
            fault = self._not_vectors(answer, error)
        raise fault

    def _not_vectors(self, answer: bytes, why: ValueError) -> EngineError:
        """HTTP 200 and something else than vectors: an error, a page."""
        try:
            said = json.loads(answer)
        except ValueError:
            said = None
        if isinstance(said, dict) and said.get("error"):
            return self._faults.of(ErrorFrame(said["error"]))
        return self._faults.make(
            ErrorKind.SERVER, f"what came as embeddings is none: {why}", _NO_EMBEDDINGS
        )

    async def _not_a_stream(self, response: httpx2.Response) -> EngineError:
        """An answer with HTTP 200 and something else than a stream: an error, a page, a whole
        completion."""
        said = response.headers.get("content-type") or "nothing"
        try:
            body = json.loads(await response.aread())
        except _UNREADABLE:
            body = None
        if isinstance(body, dict) and body.get("error"):
            return self._faults.of(ErrorFrame(body["error"]))
        return self._faults.make(
            ErrorKind.SERVER, f"the answer is no event stream but {said!r}", _NOT_A_STREAM
        )

    async def aclose(self) -> None:
        """Close the pool with all its connections."""
        await self._client.close()


def _is_stream(response: httpx2.Response) -> bool:
    kind: str = response.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower() == "text/event-stream"
