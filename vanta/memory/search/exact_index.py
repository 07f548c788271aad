"""The built-in index `scan`: every vector is looked at, so it is exact, and there are no files.

It is fed again from the store in every process. Good for up to some ten thousand vectors, and the
measure for what an approximate index misses. Invariant: nothing of it is ever on a disk; a search
sees a partition as it was at one moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import anyio.lowlevel
import anyio.to_thread

from vanta.errors import VectorIndexError
from vanta.memory.index import Partition, VectorIndex

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from vanta.memory.index import Vectors

    _Ids = npt.NDArray[np.int64]
    _Part = tuple[Vectors, _Ids, npt.NDArray[np.bool_]]

_BLOCK = 16_384
"""Rows that are kept together."""
_STEP = 256
"""Rows that are put in before the event loop goes on."""


class ScanIndex(VectorIndex):
    """A matrix for each partition, in memory."""

    name = "scan"

    def __init__(self) -> None:
        self._rooms: dict[Partition, _Rows] = {}
        self._closed = False

    async def load(self) -> None:
        """Import numpy, which takes a while."""
        self._require_open()
        await anyio.to_thread.run_sync(_import_numpy)

    async def upsert(self, partition: Partition, ids: Sequence[int], vectors: Vectors) -> None:
        """Put vectors in; of an id that comes twice the last one counts."""
        self._require_open()
        _require_shape(partition, vectors, len(ids))
        for start in range(0, len(ids), _STEP):
            rows = self._rooms.setdefault(partition, _Rows(partition.dimension))
            rows.upsert(ids[start : start + _STEP], vectors[start : start + _STEP])
            await anyio.lowlevel.checkpoint()

    async def delete(self, partition: Partition, ids: Sequence[int]) -> None:
        """Take ids out."""
        self._require_open()
        if partition in self._rooms:
            self._rooms[partition].delete(ids)

    async def search(
        self, partition: Partition, vectors: Vectors, limit: int
    ) -> list[list[tuple[int, float]]]:
        """The nearest, exactly."""
        self._require_open()
        _require_shape(partition, vectors, len(vectors))
        rows = self._rooms.get(partition)
        if rows is None or not rows.ids or limit < 1:
            return [[] for _ in vectors]
        return await anyio.to_thread.run_sync(rows.snapshot().nearest, vectors, limit)

    async def ids(self, partition: Partition) -> frozenset[int]:
        """All ids of a partition."""
        self._require_open()
        rows = self._rooms.get(partition)
        return frozenset() if rows is None else frozenset(rows.ids)

    async def wipe(self, partition: Partition) -> bool:
        """Let go of a partition; no file ever had it."""
        self._require_open()
        self._rooms.pop(partition, None)
        return True

    async def aclose(self) -> None:
        """Let go of everything."""
        self._closed = True
        self._rooms.clear()

    def _require_open(self) -> None:
        if self._closed:
            raise VectorIndexError("the index is closed. Open memory again.")


class _Block:
    """Some rows. A row is written once; one that is taken out is only marked, so whoever looks
    at the rows meanwhile sees them whole."""

    __slots__ = ("alive", "ids", "used", "vectors")

    def __init__(self, dimension: int) -> None:
        import numpy as np

        self.vectors: Vectors = np.empty((_BLOCK, dimension), np.float32)
        self.ids: _Ids = np.zeros(_BLOCK, np.int64)
        self.alive: npt.NDArray[np.bool_] = np.zeros(_BLOCK, np.bool_)
        self.used = 0

    def now(self) -> _Part:
        """Vectors, ids and who is alive, for somebody who looks at them later."""
        end = self.used
        return self.vectors[:end], self.ids[:end], self.alive[:end].copy()


class _Rows:
    """The rows of one partition, in blocks, so that growing copies nothing."""

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._blocks: list[_Block] = []
        self.ids: dict[int, tuple[_Block, int]] = {}

    def upsert(self, ids: Sequence[int], vectors: Vectors) -> None:
        self.delete(ids)
        for one, vector in zip(ids, vectors, strict=True):
            self._append(one, vector)

    def delete(self, ids: Iterable[int]) -> None:
        for one in ids:
            if (place := self.ids.pop(one, None)) is not None:
                place[0].alive[place[1]] = False
        for block in [block for block in self._blocks if _wasteful(block)]:
            self._blocks.remove(block)
            for row in block.alive.nonzero()[0].tolist():
                self._append(int(block.ids[row]), block.vectors[row])

    def _append(self, one: int, vector: Vectors) -> None:
        if (place := self.ids.get(one)) is not None:
            place[0].alive[place[1]] = False
        if not self._blocks or self._blocks[-1].used == _BLOCK:
            self._blocks.append(_Block(self._dimension))
        block = self._blocks[-1]
        block.vectors[block.used], block.ids[block.used] = vector, one
        block.alive[block.used] = True
        self.ids[one] = block, block.used
        block.used += 1

    def snapshot(self) -> _Snapshot:
        """The rows as they are now, whatever is done to them later."""
        return _Snapshot([block.now() for block in self._blocks])


class _Snapshot:
    """Rows that do not change any more; for a worker thread."""

    def __init__(self, blocks: list[_Part]) -> None:
        self._blocks = blocks

    def nearest(self, vectors: Vectors, limit: int) -> list[list[tuple[int, float]]]:
        """The rows with the highest cosines for each of `vectors`."""
        import numpy as np

        parts = [_best(block, vectors, limit) for block in self._blocks]
        ids = np.concatenate([ids for ids, _ in parts], axis=1)
        cosines = np.concatenate([cosines for _, cosines in parts], axis=1)
        found = []
        for row_ids, row in zip(ids, cosines, strict=True):
            order = np.lexsort((row_ids, -row))[:limit]
            pairs = zip(row_ids[order].tolist(), row[order].tolist(), strict=True)
            found.append([(one, cosine) for one, cosine in pairs if cosine != -np.inf])
        return found


def _best(part: _Part, vectors: Vectors, limit: int) -> tuple[_Ids, Vectors]:
    """Ids and cosines of up to `limit` rows of a block, for each of `vectors`, in any order."""
    import numpy as np

    rows, ids, alive = part
    cosines = vectors @ rows.T
    cosines[:, ~alive] = -np.inf
    if len(ids) <= limit:
        return np.broadcast_to(ids, cosines.shape), cosines
    best = np.argpartition(-cosines, limit - 1, axis=1)[:, :limit]
    return ids[best], np.take_along_axis(cosines, best, axis=1)


def _wasteful(block: _Block) -> bool:
    """A full block more than half of which is dead."""
    return block.used == _BLOCK and 2 * int(block.alive.sum()) < _BLOCK


def _require_shape(partition: Partition, vectors: Vectors, count: int) -> None:
    if vectors.shape != (count, partition.dimension):
        raise VectorIndexError(
            f"{count} vectors of {partition.dimension} were expected and an array of shape "
            f"{vectors.shape} came. Rebuild the index with the embedder that is configured."
        )


def _import_numpy() -> None:
    import numpy as np

    np.zeros(1)
