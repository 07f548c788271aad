"""The embedder `llamacpp`: vectors from any embedding model in GGUF, computed by this engine.

Invariant: the memory's model has an engine of its own, beside those of the tracks, so neither waits
in the other's queue. Vectors are identified by the content of the file, wherever it lies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from vanta import EmbedderError, EngineContext, EngineError, ModelFile, VantaError
from vanta.files import open_file
from vanta.memory import Embedder, EmbedderContext
from vanta_llamacpp.engine import LlamaCppEngine
from vanta_llamacpp.errors import ENGINE
from vanta_llamacpp.model import LlamaModel
from vanta_llamacpp.options import LlamaCppEmbedderOptions, LlamaCppOptions
from vanta_llamacpp.worker import BATCH_TOKENS

if TYPE_CHECKING:
    from vanta.memory import Vectors

TEXTS_PER_CALL = 64
"""Texts that are embedded in one call; a cancellation takes effect between two calls at the latest.
"""

_CHARACTERS_PER_TOKEN = 16  # longer texts are cut before they are tokenized; about 4 are usual
_SAMPLES, _SAMPLE_BYTES = 64, 1 << 16
_PROBE_TEXT = "dimension"


class LlamaCppEmbedder(Embedder):
    """One embedding model in this process.

    :param options: how to run the model.
    :param context: the configured model, and where to find its file.
    """

    name = ENGINE

    def __init__(self, options: LlamaCppEmbedderOptions, context: EmbedderContext) -> None:
        self.revision = ""
        self._context = context
        self._engine = _TruncatingEngine(
            LlamaCppOptions(
                threads=options.threads,
                gpu_layers=options.gpu_layers,
                parallel=1,
                reuse_prefix=False,
            ),
            EngineContext("memory", context.model, None, context.find_model),
        )
        self._dimension = 0
        self._closed = False
        self._lock = anyio.Lock()

    @property
    def dimension(self) -> int:
        """Return the length of a vector. Raises EmbedderError before `load`."""
        if not self._dimension:
            raise self._error("it is not loaded yet: await its load() first.")
        return self._dimension

    async def load(self) -> None:
        """Load the model, and embed one word to learn the dimension. See `Embedder.load`."""
        async with self._lock:
            if self._closed:
                raise self._error("it is closed. Make a new one.")
            if self._dimension:
                return
            try:
                self.revision = await anyio.to_thread.run_sync(self._digest)
                (vector,) = await self._engine.embed([_PROBE_TEXT])
            except (VantaError, OSError) as error:
                raise self._error(str(error)) from error
            self._dimension = len(vector)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Compute vectors. See `Embedder.embed`; blank texts are rows of zeros."""
        await self.load()
        import numpy as np  # in memory since `load`

        rows = np.zeros((len(texts), self._dimension), np.float32)
        filled = [row for row, text in enumerate(texts) if text.strip()]
        for start in range(0, len(filled), TEXTS_PER_CALL):
            part = filled[start : start + TEXTS_PER_CALL]
            try:
                rows[part] = await self._engine.embed([texts[row] for row in part])
            except EngineError as error:
                raise self._error(str(error)) from error
        return rows

    async def aclose(self) -> None:
        """Release the model and its thread."""
        self._closed = True
        await self._engine.aclose()

    def _digest(self) -> str:
        return digest_of(self._context.find_model(self._context.model))

    def _error(self, reason: str) -> EmbedderError:
        return EmbedderError(f"embedder {self.name!r}: {reason}")


class _TruncatingEngine(LlamaCppEngine):
    """An engine that embeds only the beginning of texts that are too long."""

    def _tokenize_texts(self, model: LlamaModel, texts: Sequence[str]) -> list[list[int]]:
        limit = min(BATCH_TOKENS, model.window)
        empty = model.vocabulary.tokenize_whole("")
        cut = [text[: limit * _CHARACTERS_PER_TOKEN] for text in texts]
        return [truncate(model.vocabulary.tokenize_whole(text), limit, empty) for text in cut]


def truncate(tokens: list[int], limit: int, empty: Sequence[int]) -> list[int]:
    """Return the first `limit` tokens, with the model's end token if it uses one.

    :param empty: the tokens of an empty text: the start and end tokens of the model.
    """
    if len(tokens) <= limit:
        return tokens
    has_end = empty[-1:] == tokens[-1:] and (len(empty) > 1 or empty[0] != tokens[0])
    return [*tokens[: limit - 1], tokens[-1]] if has_end else tokens[:limit]


def digest_of(file: ModelFile) -> str:
    """Return 12 hexadecimal digits that identify the model's content.

    They come from the SHA-256 in the registry, or else from the size and samples of the file, which
    may have gigabytes. Raises OSError.
    """
    known = file.details.get("sha256")
    return str(known)[:12] if known else _sampled_digest(file.path)[:12]


def _sampled_digest(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256(size.to_bytes(8, "little"))
    with open_file(path, 1 << 42) as file:
        for number in range(_SAMPLES):
            file.seek(max(0, size - _SAMPLE_BYTES) * number // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()
