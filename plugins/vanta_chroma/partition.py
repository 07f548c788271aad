"""One partition that is open: a folder with a Chroma of its own, checked before it is trusted.

Runs in the process that the index starts. Invariant: ids are decimal numbers, nothing else of an
item gets here: no text, no metadata. What `upsert` and `delete` return from is in Chroma's SQLite
file, committed.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vanta_chroma import integrity as seal

if TYPE_CHECKING:
    from vanta_chroma.frames import Ids, Vectors

BATCH = 100
"""Records that Chroma is given at once."""
NAME = "vectors"
GRAPH = {
    "space": "cosine",
    "max_neighbors": 16,
    "ef_construction": 100,
    "ef_search": 400,
    "sync_threshold": 1000,
}
"""How Chroma's graph is made and searched; benchmarks/memory_index.py measured what it costs."""
_SAMPLE = 16


class OpenPartition:
    """Chroma, open on one folder, for vectors of one dimension."""

    def __init__(self, folder: Path, dimension: int) -> None:
        """Open a partition, or begin one where there is no folder. Raises VectorIndexError for
        one that is damaged, and whatever Chroma raises."""
        import chromadb

        self._folder = folder
        self._dimension = dimension
        self._version = str(chromadb.__version__)
        if seal.only_begun(folder):
            shutil.rmtree(folder)
        if fresh := not folder.exists():
            folder.mkdir(mode=0o700)
            seal.begin(folder)
        else:
            seal.check(folder, dimension=dimension, chroma=self._version)
        self._stamps: tuple[seal.Stamp, ...] = ()
        self.ids: set[int] = set()
        self._client: Any = chromadb.PersistentClient(str(folder), settings=quiet_settings())
        try:
            self._open(fresh)
        except BaseException:
            self.close()
            raise

    def _open(self, fresh: bool) -> None:
        if fresh:
            self._collection = self._client.create_collection(
                NAME, embedding_function=None, configuration={"hnsw": dict(GRAPH)}
            )
            return
        self._stamps = seal.stamps(self._folder)
        self._collection = self._client.get_collection(NAME, embedding_function=None)
        self.ids = {int(one) for one in self._collection.get(include=[])["ids"]}
        if self._collection.count() != len(self.ids):
            raise seal.damaged(self._folder, "its count is not that of its ids")
        self._try_out()
        self._seal_if_written()  # opening may have written what had only been in the queue

    def _try_out(self) -> None:
        """A few records have vectors, and find themselves."""
        import numpy as np

        got = self._collection.get(limit=_SAMPLE, include=["embeddings"])
        vectors = np.asarray(got["embeddings"], dtype=np.float32)
        if not got["ids"]:
            return
        if vectors.shape != (len(got["ids"]), self._dimension):
            raise seal.damaged(self._folder, "records have lost their vectors")
        lengths = np.linalg.norm(vectors, axis=1)
        nearest = self.search(vectors, 1)
        for length, found in zip(lengths.tolist(), nearest, strict=True):
            if length > 0.5 and (not found or found[0][1] < 0.999):
                raise seal.damaged(self._folder, "records do not find themselves")

    def upsert(self, ids: Ids, vectors: Vectors) -> None:
        """Put vectors in. One that was there is taken out first: Chroma's update in place leaves
        records that do not find themselves any more."""
        self.delete(ids)
        for start in range(0, len(ids), BATCH):
            part = ids[start : start + BATCH].tolist()
            self._collection.upsert(
                ids=[str(one) for one in part], embeddings=vectors[start : start + BATCH]
            )
            self.ids.update(part)
            self._seal_if_written()

    def delete(self, ids: Ids) -> None:
        """Take out those that are there."""
        there = [one for one in ids.tolist() if one in self.ids]
        for start in range(0, len(there), BATCH):
            part = there[start : start + BATCH]
            self._collection.delete(ids=[str(one) for one in part])
            self.ids.difference_update(part)
            self._seal_if_written()

    def search(self, vectors: Vectors, limit: int) -> list[list[tuple[int, float]]]:
        """For each row up to `limit` pairs (id, cosine), nearest first."""
        if not self.ids:
            return [[] for _ in vectors]
        found = self._collection.query(
            query_embeddings=vectors, n_results=min(limit, len(self.ids)), include=["distances"]
        )
        return pairs(found)

    def close(self) -> None:
        """Release Chroma's files and threads."""
        self._client.close()

    def _seal_if_written(self) -> None:
        now = seal.stamps(self._folder)
        if now != self._stamps or not self._stamps:
            seal.write(self._folder, dimension=self._dimension, chroma=self._version)
            self._stamps = now


def pairs(found: Any) -> list[list[tuple[int, float]]]:
    """Chroma's answer to a query as pairs (id, cosine)."""
    return [
        [(int(one), min(1.0, 1.0 - far)) for one, far in zip(ids, distances, strict=True)]
        for ids, distances in zip(found["ids"], found["distances"] or (), strict=True)
    ]


def quiet_settings() -> Any:
    """Settings that no environment variable and no file changes: nothing is told to anyone."""
    from chromadb.config import Settings

    return Settings(
        anonymized_telemetry=False, chroma_otel_collection_endpoint="", allow_reset=False
    )
