"""An embedder without a model: a text's vector is the sum of its hashed words.

    embedder = HashEmbedder()
    plugin = hash_plugin(embedder)      # then memory.embedder = "hash"

Texts that share words are similar and others are not, which is enough for tests of code that uses
embedders. The method is the hashing trick (Weinberger et al. 2009,
https://arxiv.org/abs/0902.2206).

Invariant: a text has the same vector in every process, on every machine and beside any other texts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field

from vanta.errors import EmbedderError
from vanta.hookspecs import hookimpl
from vanta.language import terms
from vanta.memory import CosineScale, Embedder, EmbedderContext, EmbedderFactory

if TYPE_CHECKING:
    from vanta.memory import Vectors

__all__ = ["HashEmbedder", "hash_plugin"]

_BATCH = 256


class HashEmbedder(Embedder):
    """Embeds by hashed words.

    `texts` has every text that was embedded, in order; `loaded` and `closed` are True after `load`
    and `aclose`.

    :param dimension: components of a vector.
    :param name: the embedder's name.
    :param revision: the model's revision, part of the fingerprint.
    :param private: whether private texts may be embedded.
    :param before: awaited before every `embed`; it may wait for an event or raise EmbedderError.
    """

    unrelated = CosineScale(0.05, 0.1)

    def __init__(
        self,
        dimension: int = 256,
        *,
        name: str = "hash",
        revision: str = "1",
        private: bool = True,
        before: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.name = name
        self.revision = revision
        self.private = private
        self.before = before
        self.texts: list[str] = []
        self.loaded = False
        self.closed = False
        self._dimension = dimension

    @property
    def dimension(self) -> int:
        """The number of components, as configured."""
        return self._dimension

    async def load(self) -> None:
        """Import numpy."""
        self._require_open()
        await anyio.to_thread.run_sync(_hashed, (), self._dimension)
        self.loaded = True

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder.embed`."""
        self._require_open()
        self.texts += texts
        if self.before is not None:
            await self.before()
        rows = [await anyio.to_thread.run_sync(_hashed, (), self._dimension)]
        for start in range(0, len(texts), _BATCH):
            batch = texts[start : start + _BATCH]
            rows.append(await anyio.to_thread.run_sync(_hashed, batch, self._dimension))
        return await anyio.to_thread.run_sync(_joined, rows)

    async def aclose(self) -> None:
        """Refuse further texts."""
        self.closed = True

    def _require_open(self) -> None:
        if self.closed:
            raise EmbedderError(f"embedder {self.name!r} is closed. Open a new one.")


class HashOptions(BaseModel):
    """`memory.embedder_options` of the embedder `hash`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dimension: int = Field(default=256, ge=1, description="components of a vector")


class HashPlugin:
    """A plugin with one embedder; see `hash_plugin`."""

    name = "hash"

    def __init__(self, embedder: HashEmbedder | None, rank: int) -> None:
        self.embedder = embedder
        self.rank = rank

    @hookimpl
    def vanta_embedders(self) -> Iterable[EmbedderFactory]:
        """Return the factory, under the embedder's name."""
        name = self.embedder.name if self.embedder else "hash"
        return (EmbedderFactory(name, "hashed words", HashOptions, self._create, rank=self.rank),)

    def _create(self, options: HashOptions, _context: EmbedderContext) -> Embedder:
        return self.embedder or HashEmbedder(options.dimension)


def hash_plugin(embedder: HashEmbedder | None = None, *, rank: int = 0) -> HashPlugin:
    """Return a plugin for `vanta.open(..., plugins=[hash_plugin()])`.

    Select it with `memory.embedder = "hash"`.

    :param embedder: the embedder of every runtime; None creates one for each.
    :param rank: rank of the embedder for `memory.embedder = "auto"`.
    """
    return HashPlugin(embedder, rank)


def _hashed(texts: Sequence[str], dimension: int) -> Any:
    """Return a matrix with a row of length 1, or of zeros, for each text."""
    import numpy as np

    rows = np.zeros((len(texts), dimension), np.float32)
    for row, text in zip(rows, texts, strict=True):
        for word in terms(text):
            code = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
            row[(code >> 1) % dimension] += 1.0 if code & 1 else -1.0
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)


def _joined(rows: list[Any]) -> Any:
    import numpy as np

    return np.concatenate(rows)
