"""The VectorIndex contract: nearest neighbours among the vectors that the store owns.

An index is a copy that can always be made again: the store is the truth, an outbox in it says what
the index has not seen yet. A partition is one user's vectors of one embedder, public and private
apart, so that a search cannot reach what it must not see. An index raises nothing but
`VectorIndexError`; any makes memory go on without it and rebuild it behind.
"""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Partition:
    """The vectors that may be searched together. embedder: a fingerprint."""

    user: str
    private: bool
    embedder: str
    dimension: int

    @property
    def key(self) -> str:
        """A name for files and collections: 40 hexadecimal digits, nothing of the user in it."""
        told = f"{self.user}\0{int(self.private)}\0{self.embedder}"
        return hashlib.sha256(told.encode()).hexdigest()[:40]


class VectorIndex(abc.ABC):
    """Vectors by item id, in partitions. Vectors have length 1; similarity is the cosine."""

    name: str

    @abc.abstractmethod
    async def load(self) -> None:
        """Get ready; may be called again. Raises VectorIndexError."""

    @abc.abstractmethod
    async def upsert(self, partition: Partition, ids: Sequence[int], vectors: Vectors) -> None:
        """Put vectors (shape (len(ids), dimension)) in, in place of what the ids had. Durable when
        it returns: a killed process loses nothing of it. Raises VectorIndexError."""

    @abc.abstractmethod
    async def delete(self, partition: Partition, ids: Sequence[int]) -> None:
        """Take ids out; those that are not there are passed over. Raises VectorIndexError."""

    @abc.abstractmethod
    async def search(
        self, partition: Partition, vectors: Vectors, limit: int
    ) -> list[list[tuple[int, float]]]:
        """For each row of `vectors`, up to `limit` pairs (id, cosine), nearest first; empty lists
        for a partition that does not exist. Raises VectorIndexError."""

    @abc.abstractmethod
    async def ids(self, partition: Partition) -> frozenset[int]:
        """All ids of a partition, to find out whether it is in step. Raises VectorIndexError."""

    @abc.abstractmethod
    async def wipe(self, partition: Partition) -> bool:
        """Remove a partition so that no byte of its vectors is left in any file that this index
        owns; True if that is certain, False where a server keeps the files. Works on a broken one,
        too. Raises VectorIndexError."""

    @abc.abstractmethod
    async def aclose(self) -> None:
        """Release processes, locks and sockets. May be called twice, and without `load`."""


@dataclass(frozen=True, slots=True)
class IndexContext:
    """What memory gives to the factory of its index. folder: its own, need not exist yet."""

    folder: Path


@dataclass(frozen=True, slots=True)
class IndexFactory:
    """What a plugin gives for each vector index that it brings; the fields mean what those of
    `vanta.engine.EngineFactory` mean. rank: which one `memory.index = "auto"` takes among those
    that are not off: the highest."""

    name: str
    summary: str
    options: type[BaseModel]
    create: Callable[[Any, IndexContext], VectorIndex]
    off: Callable[[Any], str | None] = lambda _options: None
    rank: int = 0
    requires: str | None = None
    extra: str | None = None
