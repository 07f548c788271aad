"""The embedder `llamacpp`: vectors from any embedding model in GGUF, by the engine of this plugin.

Invariant: memory's model is an engine of its own, beside those of the tracks: neither waits in the
other's queue. The vectors are known by what is in the file, wherever it lies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from vanta.engine import EngineContext, ModelFile
from vanta.errors import EmbedderError, EngineError, VantaError
from vanta.memory import Embedder, EmbedderContext
from vanta_llamacpp.embedding.vectors import LONGEST
from vanta_llamacpp.engine import LlamaCppEngine
from vanta_llamacpp.errors import ENGINE
from vanta_llamacpp.model.model import LlamaModel
from vanta_llamacpp.options import EmbedderOptions, LlamaCppOptions

if TYPE_CHECKING:
    from vanta.memory import Vectors

AT_ONCE = 64
"""Texts that are handed over together; between them a cancellation is seen at the latest."""

_CHARACTERS_A_TOKEN = 16  # more are cut off before they are tokenized; real texts have about 4
_SAMPLES, _SAMPLE = 64, 1 << 16
_TRIAL = "dimension"


class LlamaCppEmbedder(Embedder):
    """One embedding model in this process."""

    name = ENGINE

    def __init__(self, options: EmbedderOptions, context: EmbedderContext) -> None:
        self.revision = ""
        self._context = context
        self._engine = _Lenient(
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
        """As the model has it; raises EmbedderError before `load`."""
        if not self._dimension:
            raise self._failed("it is not loaded yet: await its load() first.")
        return self._dimension

    async def load(self) -> None:
        """Load the model and embed one word: it tells how long a vector is, and that there are
        any. See `Embedder.load`."""
        async with self._lock:
            if self._closed:
                raise self._failed("it is closed. Make a new one.")
            if self._dimension:
                return
            try:
                self.revision = await anyio.to_thread.run_sync(self._digest)
                (vector,) = await self._engine.embed([_TRIAL])
            except (VantaError, OSError) as error:
                raise self._failed(str(error)) from error
            self._dimension = len(vector)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder.embed`; texts without a word stay rows of zeros."""
        await self.load()
        import numpy as np  # in memory since `load`

        rows = np.zeros((len(texts), self._dimension), np.float32)
        wanted = [row for row, text in enumerate(texts) if text.strip()]
        for start in range(0, len(wanted), AT_ONCE):
            part = wanted[start : start + AT_ONCE]
            try:
                rows[part] = await self._engine.embed([texts[row] for row in part])
            except EngineError as error:
                raise self._failed(str(error)) from error
        return rows

    async def aclose(self) -> None:
        """Release the model and its thread."""
        self._closed = True
        await self._engine.aclose()

    def _digest(self) -> str:
        return digest_of(self._context.find_model(self._context.model))

    def _failed(self, why: str) -> EmbedderError:
        return EmbedderError(f"embedder {self.name!r}: {why}")


class _Lenient(LlamaCppEngine):
    """An engine for which a text that is too long counts by its beginning."""

    def _documents(self, model: LlamaModel, texts: Sequence[str]) -> list[list[int]]:
        most = min(LONGEST, model.window)
        around = model.vocabulary.tokenize_whole("")
        cut = [text[: most * _CHARACTERS_A_TOKEN] for text in texts]
        return [beginning(model.vocabulary.tokenize_whole(text), most, around) for text in cut]


def beginning(tokens: list[int], most: int, around: Sequence[int]) -> list[int]:
    """The first `most` tokens, and still the one that the model wants at the end of a text.

    around: the tokens of an empty text, which are what the model wants before and after one.
    """
    if len(tokens) <= most:
        return tokens
    closed = around[-1:] == tokens[-1:] and (len(around) > 1 or around[0] != tokens[0])
    return [*tokens[: most - 1], tokens[-1]] if closed else tokens[:most]


def digest_of(file: ModelFile) -> str:
    """What tells a model from others: its SHA-256 where the registry knows it, else one of its
    size and of samples all over the file, which may be gigabytes. Raises OSError."""
    known = file.details.get("sha256")
    return str(known)[:12] if known else _sampled(file.path)[:12]


def _sampled(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256(size.to_bytes(8, "little"))
    with path.open("rb") as file:
        for number in range(_SAMPLES):
            file.seek(max(0, size - _SAMPLE) * number // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE))
    return digest.hexdigest()
