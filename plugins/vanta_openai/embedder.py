"""The embedder `openai`: vectors from any server that speaks OpenAI's embeddings endpoint.

Invariant: it is never taken unless the configuration names it, and it is not private: no text of a
private turn reaches it. Nothing is retried, nothing blocks the event loop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from vanta.errors import EmbedderError, EngineError, ErrorKind
from vanta.memory.embedder import Embedder, EmbedderContext
from vanta_openai.opening import NAME, open_transport
from vanta_openai.options import EmbedderOptions

if TYPE_CHECKING:
    from vanta.memory.embedder import Vectors
    from vanta_openai.transport import Transport

MODEL = "text-embedding-3-small"

_TRIAL = "dimension"
"""A word, embedded by `load`: it tells that key and model are right, and how long a vector is."""


class OpenAIEmbedder(Embedder):
    """One model on one server."""

    name = NAME
    private = False

    def __init__(self, options: EmbedderOptions, context: EmbedderContext) -> None:
        self.revision = ""
        self._model = context.model or MODEL
        self._options = options
        self._transport: Transport | None = None
        self._dimension = 0
        self._closed = False
        self._lock = anyio.Lock()

    @property
    def dimension(self) -> int:
        """As the server's vectors have it; raises EmbedderError before `load`."""
        if not self._dimension:
            raise self._failed("it is not loaded yet: await its load() first.")
        return self._dimension

    async def load(self) -> None:
        """Build the client and embed one word. See `Embedder.load`."""
        async with self._lock:
            if self._closed:
                raise self._failed("it is closed. Make a new one.")
            if not self._dimension:
                await self._open()

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder.embed`; texts without a word are not sent."""
        await self.load()
        import numpy as np  # in memory since `load`

        rows = np.zeros((len(texts), self._dimension), np.float32)
        sendable = [(row, self._cut(text)) for row, text in enumerate(texts)]
        wanted = [(row, text) for row, text in sendable if text.strip()]
        for start in range(0, len(wanted), self._options.batch):
            part = wanted[start : start + self._options.batch]
            vectors = await self._asked([text for _, text in part])
            if vectors.shape[1] != self._dimension:
                raise self._failed(
                    f"vectors of {vectors.shape[1]} components came where the first had "
                    f"{self._dimension}. Look whether the server has changed its model."
                )
            rows[[row for row, _ in part]] = vectors
        return rows

    async def aclose(self) -> None:
        """Close the pool; requests that run end with an error."""
        self._closed = True
        if self._transport is not None:
            await self._transport.aclose()

    async def _open(self) -> None:
        build = partial(open_transport, self._options, self._model)
        try:
            # Abandoned where the caller is cancelled: all that is lost then is an import.
            transport, server = await anyio.to_thread.run_sync(build, abandon_on_cancel=True)
        except EngineError as error:
            raise self._failed(str(error)) from error
        if self._transport is not None:  # of a `load` that was cancelled, or did not get an answer
            await self._transport.aclose()
        self._transport = transport
        (vector,) = await self._asked([_TRIAL])
        where = hashlib.sha256(f"{server.label} {self._model}".encode()).hexdigest()
        self.revision = f"{self._model.rpartition('/')[2]}-{where[:8]}"
        self._dimension = len(vector)

    async def _asked(self, texts: Sequence[str]) -> Vectors:
        if self._transport is None or self._closed:
            raise self._failed("it is closed. Make a new one.")
        body: dict[str, Any] = {"model": self._model, "input": texts, "encoding_format": "float"}
        if self._options.dimensions is not None:
            body["dimensions"] = self._options.dimensions
        try:
            return await self._transport.embeddings(body, self._options.timeout_s)
        except EngineError as error:
            if error.kind is ErrorKind.CONTEXT_OVERFLOW:
                error.suggestion = "Lower the option 'most_bytes'."
            raise self._failed(str(error)) from error

    def _cut(self, text: str) -> str:
        """The beginning of a text; no half of a character is left at the end."""
        most = self._options.most_bytes
        return text[:most].encode("utf-8", "replace")[:most].decode("utf-8", "ignore")

    def _failed(self, why: str) -> EmbedderError:
        return EmbedderError(f"embedder {self.name!r}: {why}")
