"""The VectorIndex contract: nearest neighbours among the vectors that the store owns.

An index is a copy that can always be rebuilt: the store is the truth, and its outbox lists what the
index has not applied yet. A partition holds one user's vectors of one embedder, public and private
apart, so a search cannot reach vectors outside its scope. An index raises only `VectorIndexError`;
memory then continues without it and rebuilds it in the background.
"""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from vanta.errors import VectorIndexError, describe, errors_as
from vanta.memory.embedder import Vectors


@dataclass(frozen=True, slots=True)
class Partition:
    """Vectors that may be searched together.

    :param user: the user who owns the items.
    :param private: whether it holds the user's private or public items.
    :param embedder: fingerprint of the embedder.
    :param dimension: components of a vector.
    """

    user: str
    private: bool
    embedder: str
    dimension: int

    @property
    def key(self) -> str:
        """A name for files and collections: 40 hexadecimal digits that do not reveal the user."""
        identity = f"{self.user}\0{int(self.private)}\0{self.embedder}"
        return hashlib.sha256(identity.encode()).hexdigest()[:40]


class VectorIndex(abc.ABC):
    """Vectors by item id, in partitions. Vectors have length 1; similarity is the cosine.

    :ivar name: the name used in the configuration.
    """

    name: str

    @abc.abstractmethod
    async def load(self) -> None:
        """Prepare the index. Idempotent.

        :raises VectorIndexError: the index cannot be used.
        """

    @abc.abstractmethod
    async def upsert(self, partition: Partition, ids: Sequence[int], vectors: Vectors) -> None:
        """Insert vectors or replace those of the same ids. Durable when it returns.

        :param partition: where to put them; created if it does not exist.
        :param ids: item ids.
        :param vectors: one row for each id, shape (len(ids), dimension).
        :raises VectorIndexError: the vectors cannot be stored.
        """

    @abc.abstractmethod
    async def delete(self, partition: Partition, ids: Sequence[int]) -> None:
        """Delete ids; unknown ids are ignored.

        :param partition: where they are.
        :param ids: item ids.
        :raises VectorIndexError: the ids cannot be deleted.
        """

    @abc.abstractmethod
    async def search(
        self, partition: Partition, vectors: Vectors, limit: int
    ) -> list[list[tuple[int, float]]]:
        """Return the nearest neighbours of each row of `vectors`.

        :param partition: where to search.
        :param vectors: query vectors, shape (queries, dimension).
        :param limit: maximum number of neighbours for each query.
        :returns: for each query, pairs (id, cosine), nearest first; empty lists if the partition
            does not exist.
        :raises VectorIndexError: the partition cannot be searched.
        """

    @abc.abstractmethod
    async def ids(self, partition: Partition) -> frozenset[int]:
        """Return all ids of a partition, to compare the index with the store.

        :param partition: the partition.
        :raises VectorIndexError: the partition cannot be read.
        """

    @abc.abstractmethod
    async def wipe(self, partition: Partition) -> bool:
        """Remove a partition, even a broken one, with every byte of its vectors.

        :param partition: the partition.
        :returns: True if no byte is left in any file of this index; False if a server keeps the
            files, so that this cannot be guaranteed.
        :raises VectorIndexError: the partition cannot be removed now.
        """

    @abc.abstractmethod
    async def aclose(self) -> None:
        """Release processes, locks and sockets. Idempotent; `load` need not have been called."""


@dataclass(frozen=True, slots=True)
class IndexContext:
    """What an index factory receives beside its options.

    :param folder: the folder of the index; it may not exist yet.
    """

    folder: Path


@dataclass(frozen=True, slots=True)
class IndexFactory:
    """How a plugin offers a vector index. See `EmbedderFactory` for the fields that both share.

    :param name: the value of `memory.index` that selects it.
    :param summary: one line for listings.
    :param options: the model that validates `memory.index_options`.
    :param create: makes the index from validated options and the context.
    :param off: returns why the index cannot be used, or None.
    :param rank: `memory.index = "auto"` selects the available index of the highest rank; one of
        rank 0 is never selected automatically.
    :param requires: import name of the heavy library that it needs, or None.
    :param extra: the extra that installs that library, or None.
    """

    name: str
    summary: str
    options: type[BaseModel]
    create: Callable[[Any, IndexContext], VectorIndex]
    off: Callable[[Any], str | None] = lambda _options: None
    rank: int = 0
    requires: str | None = None
    extra: str | None = None


def index_errors() -> AbstractContextManager[None]:
    """Turn every exception of an index's plugin into a VectorIndexError: `with index_errors()`."""
    return errors_as(
        lambda error: VectorIndexError(
            f"the vector index failed: {describe(error)}. Reinstall its plugin, or set "
            "memory.index to 'none'."
        )
    )
