"""The embedder `openai`: vectors from any server with OpenAI's embeddings endpoint.

Invariant: it is used only if the configuration names it, and it is not private: no text of a
private turn reaches it. Nothing is retried, nothing blocks the event loop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from vanta import EmbedderError, EngineError, ErrorKind
from vanta.memory import Embedder, EmbedderContext
from vanta.text import well_formed
from vanta_openai.connection import open_transport
from vanta_openai.server import NAME, OpenAIEmbedderOptions

if TYPE_CHECKING:
    from vanta.memory import Vectors
    from vanta_openai.transport import Transport

DEFAULT_MODEL = "text-embedding-3-small"

_PROBE = "dimension"
"""`load` embeds this word: the answer proves key and model, and gives the vectors' length."""


class OpenAIEmbedder(Embedder):
    """One model on one server."""

    name = NAME
    private = False

    def __init__(self, options: OpenAIEmbedderOptions, context: EmbedderContext) -> None:
        self.revision = ""
        self._model = context.model or DEFAULT_MODEL
        self._options = options
        self._transport: Transport | None = None
        self._dimension = 0
        self._closed = False
        self._lock = anyio.Lock()

    @property
    def dimension(self) -> int:
        """The length of the server's vectors. Raises EmbedderError before `load`."""
        if not self._dimension:
            raise self._error("it is not loaded yet: await its load() first.")
        return self._dimension

    async def load(self) -> None:
        """Build the client and embed one word. See `Embedder.load`."""
        async with self._lock:
            if self._closed:
                raise self._error("it is closed. Create a new one.")
            if not self._dimension:
                await self._open()

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder.embed`. Blank texts are not sent; their rows are zeros."""
        await self.load()
        import numpy as np  # imported since `load`

        rows = np.zeros((len(texts), self._dimension), np.float32)
        truncated = [(row, self._truncated(text)) for row, text in enumerate(texts)]
        sendable = [(row, text) for row, text in truncated if text.strip()]
        for start in range(0, len(sendable), self._options.batch):
            batch = sendable[start : start + self._options.batch]
            vectors = await self._request([text for _, text in batch])
            if vectors.shape[1] != self._dimension:
                raise self._error(
                    f"the server returned vectors of {vectors.shape[1]} components where its first "
                    f"one had {self._dimension}. Check whether the server has changed its model."
                )
            rows[[row for row, _ in batch]] = vectors
        return rows

    async def aclose(self) -> None:
        """Close the connection pool; running requests end with an error."""
        self._closed = True
        if self._transport is not None:
            await self._transport.aclose()

    async def _open(self) -> None:
        build = partial(open_transport, self._options, self._model)
        try:
            # Abandoned if the caller is cancelled: all that is lost then is an import.
            transport, server = await anyio.to_thread.run_sync(build, abandon_on_cancel=True)
        except EngineError as error:
            raise self._error(str(error)) from error
        if self._transport is not None:  # from a `load` that was cancelled or failed
            await self._transport.aclose()
        self._transport = transport
        (vector,) = await self._request([_PROBE])
        digest = hashlib.sha256(f"{server.label} {self._model}".encode()).hexdigest()
        self.revision = f"{self._model.rpartition('/')[2]}-{digest[:8]}"
        self._dimension = len(vector)

    async def _request(self, texts: Sequence[str]) -> Vectors:
        if self._transport is None or self._closed:
            raise self._error("it is closed. Create a new one.")
        body: dict[str, Any] = {"model": self._model, "input": texts, "encoding_format": "float"}
        if self._options.dimensions is not None:
            body["dimensions"] = self._options.dimensions
        try:
            return await self._transport.embeddings(body, self._options.timeout_s)
        except EngineError as error:
            if error.kind is ErrorKind.CONTEXT_OVERFLOW:
                error.suggestion = "Lower the option 'most_bytes'."
            raise self._error(str(error)) from error

    def _truncated(self, text: str) -> str:
        """Return the beginning of a text; no part of a character remains at its end."""
        limit = self._options.most_bytes
        return well_formed(text[:limit]).encode()[:limit].decode("utf-8", "ignore")

    def _error(self, problem: str) -> EmbedderError:
        return EmbedderError(f"embedder {self.name!r}: {problem}")
