"""The partitions in a folder of this machine: a Chroma database each, and one lock for all.

Runs in the child process. Invariant: nothing under the folder is touched without its lock. Each
partition has a folder of its own, so a broken one harms no other, and is verified before it is
opened. Ids are decimal numbers, and nothing else of an item is stored: no text, no metadata. When
`upsert` or `delete` returns, the change is committed to Chroma's SQLite file.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vanta import VectorIndexError
from vanta.files import read_text
from vanta.models import locked
from vanta_chroma import integrity

if TYPE_CHECKING:
    from vanta.memory import Vectors
    from vanta_chroma.frames import Ids

LOCK = "lock"
MAX_OPEN = 8
"""Partitions held open at once: each has threads, files and its vectors in memory."""

PATIENCE_S = 2.0
"""Seconds to wait for the lock at first: its owner may be about to close."""

ENDING_S = 20.0
"""Seconds to wait if the owner is dead: the child process that ran Chroma for it is ending."""

BATCH = 100
"""Maximum number of records in one call of Chroma."""

COLLECTION = "vectors"
GRAPH = {
    "space": "cosine",
    "max_neighbors": 16,
    "ef_construction": 100,
    "ef_search": 400,
    "sync_threshold": 1000,
}
"""How Chroma builds and searches its graph; benchmarks/memory/index.py measures the cost."""

_SAMPLE = 16
_MIN_LENGTH = 0.5
_MIN_SELF_SIMILARITY = 0.999


class FolderBackend:
    """All partitions in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: OrderedDict[str, OpenPartition] = OrderedDict()
        self._lock: ExitStack | None = None
        self._patience_s = PATIENCE_S
        self.has_failed = False
        """Whether Chroma has failed in this process. It keeps partial state then, and fails again
        over the same folder, however new that is."""

    def load(self) -> None:
        """Lock the folder and import Chroma. Raises VectorIndexError."""
        self._acquire_lock()
        import chromadb  # noqa: F401 - so that the first request need not wait for it

    def upsert(self, key: str, dimension: int, ids: Ids, vectors: Vectors) -> None:
        """Put vectors into a partition, which is created if it does not exist."""
        with self._using(key, dimension) as partition:
            partition.upsert(ids, vectors)

    def delete(self, key: str, dimension: int, ids: Ids) -> None:
        """Remove ids from a partition."""
        if self._exists(key):
            with self._using(key, dimension) as partition:
                partition.delete(ids)

    def search(
        self, key: str, dimension: int, vectors: Vectors, limit: int
    ) -> list[list[tuple[int, float]]]:
        """Return the nearest neighbours of each row."""
        if not self._exists(key):
            return [[] for _ in vectors]
        with self._using(key, dimension) as partition:
            return partition.search(vectors, limit)

    def ids(self, key: str, dimension: int) -> list[int]:
        """Return all ids of a partition."""
        if not self._exists(key):
            return []
        with self._using(key, dimension) as partition:
            return list(partition.ids)

    def wipe(self, key: str) -> bool:
        """Remove a partition's files without opening them. Returns True: nothing is left."""
        self._acquire_lock()
        self._close(key)
        path = self._folder / key
        try:
            if path.is_symlink() or path.is_file():
                path.unlink()
            elif path.exists():
                shutil.rmtree(path)
        except OSError as error:
            raise VectorIndexError(
                f"the vectors in {str(path)!r} could not be removed: {error}. Remove the folder "
                "by hand."
            ) from error
        return True

    def close(self) -> None:
        """Close all partitions and release the lock."""
        for key in list(self._open):
            self._close(key)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _acquire_lock(self) -> None:
        """Lock the folder, unless that is done. Raises VectorIndexError."""
        if self._lock is not None:
            return
        started, patience_s = time.monotonic(), self._patience_s
        self._patience_s = 0.0

        def check_patience() -> None:
            waited_s = time.monotonic() - started
            owner = _owner_of(self._folder)
            if waited_s >= (ENDING_S if _is_dead(owner) else patience_s):
                raise _owned_error(self._folder, owner)

        stack = ExitStack()
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = stack.enter_context(locked(self._folder / LOCK, check_patience))
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getppid()}\n".encode())
        except OSError as error:
            stack.close()
            raise VectorIndexError(
                f"the folder {str(self._folder)!r} cannot be used for vectors: {error}. Make it "
                "writable, or configure another one; recall works without vectors meanwhile."
            ) from error
        self._lock = stack

    def _exists(self, key: str) -> bool:
        self._acquire_lock()
        return key in self._open or os.path.lexists(self._folder / key)

    @contextmanager
    def _using(self, key: str, dimension: int) -> Iterator[OpenPartition]:
        """Yield an open partition. Any error closes it; one from Chroma counts as damage."""
        self._acquire_lock()
        try:
            yield self._opened(key, dimension)
        except VectorIndexError:
            self._close(key)
            raise
        except BaseException as error:  # a panic in Rust is not an Exception
            self._close(key)
            self.has_failed = True
            problem = f"Chroma raised {type(error).__name__}: {error}"
            raise integrity.damage_error(self._folder / key, problem) from error

    def _opened(self, key: str, dimension: int) -> OpenPartition:
        """Return the open partition; opening one may close the least recently used."""
        if key not in self._open:
            while len(self._open) >= MAX_OPEN:
                self._close(next(iter(self._open)))
            self._open[key] = OpenPartition(self._folder / key, dimension)
        self._open.move_to_end(key)
        return self._open[key]

    def _close(self, key: str) -> None:
        partition = self._open.pop(key, None)
        if partition is not None:
            with suppress(Exception):
                partition.close()


class OpenPartition:
    """Chroma, open on one folder, for vectors of one dimension."""

    def __init__(self, folder: Path, dimension: int) -> None:
        """Open a partition, or create it if its folder does not exist.

        Raises VectorIndexError for a damaged one, and whatever Chroma raises.
        """
        import chromadb

        self._folder = folder
        self._dimension = dimension
        self._version = str(chromadb.__version__)
        if integrity.is_only_started(folder):
            shutil.rmtree(folder)
        if is_new := not folder.exists():
            folder.mkdir(mode=0o700)
            integrity.mark_started(folder)
        else:
            integrity.verify(folder, dimension=dimension, chroma_version=self._version)
        self._stamps: tuple[integrity.FileStamp, ...] = ()
        self.ids: set[int] = set()
        self._client: Any = chromadb.PersistentClient(str(folder), settings=quiet_settings())
        try:
            if is_new:
                self._create_collection()
            else:
                self._open_collection()
        except BaseException:
            self.close()
            raise

    def upsert(self, ids: Ids, vectors: Vectors) -> None:
        """Put vectors in. Existing ids are removed first.

        Chroma's update in place leaves records that are no longer their own nearest neighbour.
        """
        self.delete(ids)
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH].tolist()
            self._collection.upsert(
                ids=[str(item_id) for item_id in batch], embeddings=vectors[start : start + BATCH]
            )
            self.ids.update(batch)
            self._update_manifest()

    def delete(self, ids: Ids) -> None:
        """Remove ids; unknown ones are ignored."""
        present = [item_id for item_id in ids.tolist() if item_id in self.ids]
        for start in range(0, len(present), BATCH):
            batch = present[start : start + BATCH]
            self._collection.delete(ids=[str(item_id) for item_id in batch])
            self.ids.difference_update(batch)
            self._update_manifest()

    def search(self, vectors: Vectors, limit: int) -> list[list[tuple[int, float]]]:
        """Return up to `limit` pairs (id, cosine) for each row, nearest first."""
        if not self.ids:
            return [[] for _ in vectors]
        result = self._collection.query(
            query_embeddings=vectors, n_results=min(limit, len(self.ids)), include=["distances"]
        )
        return neighbours(result)

    def close(self) -> None:
        """Release Chroma's files and threads."""
        self._client.close()

    def _create_collection(self) -> None:
        self._collection = self._client.create_collection(
            COLLECTION, embedding_function=None, configuration={"hnsw": dict(GRAPH)}
        )

    def _open_collection(self) -> None:
        self._stamps = integrity.file_stamps(self._folder)
        self._collection = self._client.get_collection(COLLECTION, embedding_function=None)
        self.ids = {int(item_id) for item_id in self._collection.get(include=[])["ids"]}
        if self._collection.count() != len(self.ids):
            raise integrity.damage_error(self._folder, "the count differs from the number of ids")
        self._check_sample()
        self._update_manifest()  # opening may have written records that were only queued

    def _check_sample(self) -> None:
        """Check that a few records have vectors and are their own nearest neighbours."""
        import numpy as np

        records = self._collection.get(limit=_SAMPLE, include=["embeddings"])
        vectors = np.asarray(records["embeddings"], dtype=np.float32)
        if not records["ids"]:
            return
        if vectors.shape != (len(records["ids"]), self._dimension):
            raise integrity.damage_error(self._folder, "records have lost their vectors")
        lengths = np.linalg.norm(vectors, axis=1)
        nearest = self.search(vectors, 1)
        for length, pairs in zip(lengths.tolist(), nearest, strict=True):
            is_found = bool(pairs) and pairs[0][1] >= _MIN_SELF_SIMILARITY
            if length > _MIN_LENGTH and not is_found:
                raise integrity.damage_error(
                    self._folder, "records are not their own nearest neighbours"
                )

    def _update_manifest(self) -> None:
        """Write the manifest if a graph file has changed."""
        stamps = integrity.file_stamps(self._folder)
        if stamps != self._stamps or not self._stamps:
            integrity.write_manifest(
                self._folder, dimension=self._dimension, chroma_version=self._version
            )
            self._stamps = stamps


def neighbours(result: Any) -> list[list[tuple[int, float]]]:
    """Convert Chroma's answer to a query to pairs (id, cosine)."""
    return [
        [
            (int(item_id), min(1.0, 1.0 - distance))
            for item_id, distance in zip(ids, distances, strict=True)
        ]
        for ids, distances in zip(result["ids"], result["distances"] or (), strict=True)
    ]


def quiet_settings() -> Any:
    """Return settings without telemetry that no environment variable and no file can change."""
    from chromadb.config import Settings

    return Settings(
        anonymized_telemetry=False, chroma_otel_collection_endpoint="", allow_reset=False
    )


def _owner_of(folder: Path) -> str:
    """Return the pid of the process that owns a folder, "" if unknown."""
    try:
        return read_text(folder / LOCK, 100, "ascii").strip()
    except (OSError, ValueError):
        return ""


def _is_dead(owner: str) -> bool:
    """Return whether a process has certainly ended."""
    if sys.platform == "win32" or not owner.isdecimal():
        return False
    try:
        os.kill(int(owner), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False  # it exists and belongs to another user
    return False


def _owned_error(folder: Path, owner: str) -> VectorIndexError:
    who = f"process {owner}" if owner else "another process"
    return VectorIndexError(
        f"the vectors in {str(folder)!r} belong to {who}. Recall works without them here; to share "
        "them, start a server (`chroma run --path FOLDER`) and set memory.index_options.url in all "
        "processes.",
        owned=True,
    )
