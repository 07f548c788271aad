"""The built-in index `scan`: every vector is looked at, so it is exact, and there are no files.

It is fed again from the store in every process. Good for up to some ten thousand vectors, and the
measure for what an approximate index misses. Invariant: nothing of it is ever on a disk; a search
sees a partition as it was at one moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from vanta.errors import VectorIndexError
from vanta.memory.index import Partition, VectorIndex

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from vanta.memory.index import Vectors

_SMALLEST = 256
_CHUNK = 16_384
"""Rows that are looked at between two looks at whether the caller still wants to know."""


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
        if len(ids):
            rows = self._rooms.setdefault(partition, _Rows(partition.dimension))
            rows.upsert(ids, vectors)

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
