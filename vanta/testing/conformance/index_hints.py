"""What the conformance suite of indexes has to be told of one, and the vectors that it uses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

import anyio

from vanta.memory.index import Partition, VectorIndex

if TYPE_CHECKING:
    from vanta.memory.index import Vectors

OpenIndex = Callable[[], VectorIndex]

DIMENSION = 16
ADA = Partition("ada", private=False, embedder="hash/16/1", dimension=DIMENSION)
OTHERS = (
    Partition("bob", private=False, embedder="hash/16/1", dimension=DIMENSION),
    Partition("ada", private=True, embedder="hash/16/1", dimension=DIMENSION),
    Partition("ada", private=False, embedder="hash/16/2", dimension=DIMENSION),
)
"""Partitions that differ from `ADA` in one thing each."""


class IndexHints:
    """What a subclass may set.

    lasting: what was put in is there when the index is opened again. patience_s: what no step of
    the suite may take.
    """

    lasting: ClassVar[bool] = True
    patience_s: ClassVar[float] = 60.0

    @asynccontextmanager
    async def opened(self, open_index: OpenIndex) -> AsyncIterator[VectorIndex]:
        """An index, loaded, closed at the end."""
        index = open_index()
        try:
            with anyio.fail_after(self.patience_s):
                await index.load()
                yield index
        finally:
            with anyio.CancelScope(shield=True):
                await index.aclose()


def vectors(count: int, *, seed: int = 0) -> Vectors:
    """Rows of length 1, the same ones each time."""
    import numpy as np

    rows = np.random.default_rng(seed).standard_normal((count, DIMENSION))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)
