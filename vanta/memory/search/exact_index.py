"""The built-in index `scan`: it compares every vector, so it is exact and needs no files.

Every process fills it again from the store. It is fast enough for some ten thousand vectors, and
the reference for what an approximate index misses. Invariant: nothing of it is ever on disk; a
search sees a partition as it was at one moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import anyio.lowlevel
import anyio.to_thread

from vanta.errors import VectorIndexError
from vanta.memory.embedder import Vectors
from vanta.memory.index import Partition, VectorIndex

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    _Ids = npt.NDArray[np.int64]
    _Part = tuple[Vectors, _Ids, npt.NDArray[np.bool_]]

COMPARED_AT_ONCE = 2_048
"""Comparisons that are made on the event loop: they take less time than a change of threads."""

_BLOCK = 16_384
"""Rows of a block."""
_STEP = 256
"""Rows that are inserted before other tasks may run."""


class ExactIndex(VectorIndex):
    """A matrix for each partition, in memory."""

    name = "scan"

    def __init__(self) -> None:
        self._partitions: dict[Partition, _Rows] = {}
        self._closed = False

    async def load(self) -> None:
        """Import numpy, which takes a while."""
        self._require_open()
        await anyio.to_thread.run_sync(_import_numpy)

    async def upsert(self, partition: Partition, ids: Sequence[int], vectors: Vectors) -> None:
        """Insert or replace vectors; the last one wins if an id is repeated."""
        self._require_open()
        _require_shape(partition, vectors, len(ids))
        for start in range(0, len(ids), _STEP):
            rows = self._partitions.setdefault(partition, _Rows(partition.dimension))
            rows.upsert(ids[start : start + _STEP], vectors[start : start + _STEP])
            await anyio.lowlevel.checkpoint()

    async def delete(self, partition: Partition, ids: Sequence[int]) -> None:
        """Delete ids."""
        self._require_open()
        if partition in self._partitions:
            self._partitions[partition].delete(ids)

    async def search(
        self, partition: Partition, vectors: Vectors, limit: int
    ) -> list[list[tuple[int, float]]]:
        """Return the nearest neighbours, exactly."""
        self._require_open()
        _require_shape(partition, vectors, len(vectors))
        rows = self._partitions.get(partition)
        if rows is None or not rows.places or limit < 1:
            return [[] for _ in vectors]
        if len(vectors) * len(rows.places) <= COMPARED_AT_ONCE:
            await anyio.lowlevel.checkpoint()
            return rows.snapshot().nearest(vectors, limit)
        return await anyio.to_thread.run_sync(rows.snapshot().nearest, vectors, limit)

    async def ids(self, partition: Partition) -> frozenset[int]:
        """Return all ids of a partition."""
        self._require_open()
        rows = self._partitions.get(partition)
        return frozenset() if rows is None else frozenset(rows.places)

    async def wipe(self, partition: Partition) -> bool:
        """Drop a partition; always certain, since there are no files."""
        self._require_open()
        self._partitions.pop(partition, None)
        return True

    async def aclose(self) -> None:
        """Drop everything."""
        self._closed = True
        self._partitions.clear()

    def _require_open(self) -> None:
        if self._closed:
            raise VectorIndexError("the vector index is closed. Open memory again.")


class _Block:
    """A fixed number of rows. A row is written once; deletion only marks it, so a concurrent search
    sees complete rows."""

    __slots__ = ("alive", "ids", "used", "vectors")

    def __init__(self, dimension: int) -> None:
        import numpy as np

        self.vectors: Vectors = np.empty((_BLOCK, dimension), np.float32)
        self.ids: _Ids = np.zeros(_BLOCK, np.int64)
        self.alive: npt.NDArray[np.bool_] = np.zeros(_BLOCK, np.bool_)
        self.used = 0

    def snapshot(self) -> _Part:
        """Return the vectors, their ids, and a copy of the mask of rows that are not deleted."""
        end = self.used
        return self.vectors[:end], self.ids[:end], self.alive[:end].copy()

    @property
    def wasteful(self) -> bool:
        """Whether the block is full and more than half of its rows are deleted."""
        return self.used == _BLOCK and 2 * int(self.alive.sum()) < _BLOCK


class _Rows:
    """The rows of one partition, in blocks, so that growing copies nothing."""

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._blocks: list[_Block] = []
        self.places: dict[int, tuple[_Block, int]] = {}

    def upsert(self, ids: Sequence[int], vectors: Vectors) -> None:
        self.delete(ids)
        for item_id, vector in zip(ids, vectors, strict=True):
            self._append(item_id, vector)

    def delete(self, ids: Iterable[int]) -> None:
        for item_id in ids:
            if (place := self.places.pop(item_id, None)) is not None:
                place[0].alive[place[1]] = False
        for block in [block for block in self._blocks if block.wasteful]:
            self._blocks.remove(block)
            for row in block.alive.nonzero()[0].tolist():
                self._append(int(block.ids[row]), block.vectors[row])

    def _append(self, item_id: int, vector: Vectors) -> None:
        if (place := self.places.get(item_id)) is not None:
            place[0].alive[place[1]] = False
        if not self._blocks or self._blocks[-1].used == _BLOCK:
            self._blocks.append(_Block(self._dimension))
        block = self._blocks[-1]
        block.vectors[block.used], block.ids[block.used] = vector, item_id
        block.alive[block.used] = True
        self.places[item_id] = block, block.used
        block.used += 1

    def snapshot(self) -> _Snapshot:
        """Return the rows as they are now, unaffected by later changes."""
        return _Snapshot([block.snapshot() for block in self._blocks])


class _Snapshot:
    """Immutable rows, to be searched in a worker thread."""

    def __init__(self, blocks: list[_Part]) -> None:
        self._blocks = blocks

    def nearest(self, vectors: Vectors, limit: int) -> list[list[tuple[int, float]]]:
        """Return the rows with the highest cosines for each of `vectors`."""
        import numpy as np

        parts = [_best(block, vectors, limit) for block in self._blocks]
        ids = np.concatenate([ids for ids, _ in parts], axis=1)
        cosines = np.concatenate([cosines for _, cosines in parts], axis=1)
        results = []
        for row_ids, row in zip(ids, cosines, strict=True):
            order = np.lexsort((row_ids, -row))[:limit]
            pairs = zip(row_ids[order].tolist(), row[order].tolist(), strict=True)
            results.append([(item_id, cosine) for item_id, cosine in pairs if cosine != -np.inf])
        return results


def _best(part: _Part, vectors: Vectors, limit: int) -> tuple[_Ids, Vectors]:
    """Return ids and cosines of up to `limit` rows of a block for each of `vectors`, unordered."""
    import numpy as np

    rows, ids, alive = part
    cosines = vectors @ rows.T
    cosines[:, ~alive] = -np.inf
    if len(ids) <= limit:
        return np.broadcast_to(ids, cosines.shape), cosines
    best = np.argpartition(-cosines, limit - 1, axis=1)[:, :limit]
    return ids[best], np.take_along_axis(cosines, best, axis=1)


def _require_shape(partition: Partition, vectors: Vectors, count: int) -> None:
    if vectors.shape != (count, partition.dimension):
        raise VectorIndexError(
            f"expected {count} vectors of dimension {partition.dimension} but got an array of "
            f"shape {vectors.shape}. Rebuild the index with the configured embedder: "
            "vanta memory reindex --anew"
        )


def _import_numpy() -> None:
    import numpy as np

    np.zeros(1)
