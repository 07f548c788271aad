"""The partitions in a folder of this machine, and the lock that keeps them to one process.

Runs in the process that the index starts. Invariant: nothing under the folder is touched without
its lock, and a partition is only ever reached by its own folder, so a broken one harms no other.
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
from typing import TYPE_CHECKING

from vanta.errors import VectorIndexError
from vanta.models.files import locked
from vanta_chroma import integrity as seal
from vanta_chroma.partition import OpenPartition

if TYPE_CHECKING:
    from vanta_chroma.frames import Ids, Vectors

LOCK = "lock"
OPEN = 8
"""Partitions held open at once: each has threads, files and its vectors in memory."""
PATIENCE_S = 2.0
"""How long a lock is waited for at first: who has it may be about to close."""
ENDING_S = 20.0
"""How long for one whose owner is dead: the process that ran Chroma for it is ending."""


class Shelf:
    """All partitions in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: OrderedDict[str, OpenPartition] = OrderedDict()
        self._lock: ExitStack | None = None
        self._patience_s = PATIENCE_S
        self.spoilt = False
        """Whether Chroma has failed in this process: it keeps what it began, and fails again over
        the same folder however new that is."""

    def load(self) -> None:
        """Own the folder and have Chroma ready. Raises VectorIndexError."""
        self._own()
        import chromadb  # noqa: F401 - so that the first request need not wait for it

    def upsert(self, key: str, dimension: int, ids: Ids, vectors: Vectors) -> None:
        """Put vectors into a partition, which is begun where there is none."""
        with self._within(key, dimension) as partition:
            partition.upsert(ids, vectors)

    def delete(self, key: str, dimension: int, ids: Ids) -> None:
        """Take ids out of a partition."""
        if self._exists(key):
            with self._within(key, dimension) as partition:
                partition.delete(ids)

    def search(
        self, key: str, dimension: int, vectors: Vectors, limit: int
    ) -> list[list[tuple[int, float]]]:
        """The nearest of a partition for each row."""
        if not self._exists(key):
            return [[] for _ in vectors]
        with self._within(key, dimension) as partition:
            return partition.search(vectors, limit)

    def ids(self, key: str, dimension: int) -> list[int]:
        """All ids of a partition."""
        if not self._exists(key):
            return []
        with self._within(key, dimension) as partition:
            return list(partition.ids)

    def wipe(self, key: str) -> bool:
        """Remove a partition's files, without opening them."""
        self._own()
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
        """Close all partitions and give the lock back."""
        for key in list(self._open):
            self._close(key)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _own(self) -> None:
        """Take the lock of the folder, unless it is ours. Raises VectorIndexError."""
        if self._lock is not None:
            return
        since, patience_s = time.monotonic(), self._patience_s
        self._patience_s = 0.0

        def waiting() -> None:
            waited_s = time.monotonic() - since
            owner = _owner(self._folder)
            if waited_s >= (ENDING_S if _is_dead(owner) else patience_s):
                raise _owned(self._folder, owner)

        stack = ExitStack()
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = stack.enter_context(locked(self._folder / LOCK, waiting))
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getppid()}\n".encode())
        except OSError as error:
            stack.close()
            raise VectorIndexError(
                f"the folder {str(self._folder)!r} cannot be used for vectors: {error}. Make it a "
                "folder that you can write to; recall works without vectors meanwhile."
            ) from error
        self._lock = stack

    def _exists(self, key: str) -> bool:
        self._own()
        return key in self._open or os.path.lexists(self._folder / key)

    @contextmanager
    def _within(self, key: str, dimension: int) -> Iterator[OpenPartition]:
        """While a partition is worked with: what Chroma raises closes it, and means damage."""
        self._own()
        try:
            yield self._opened(key, dimension)
        except VectorIndexError:
            self._close(key)
            raise
        except BaseException as error:  # panics of Rust are no Exceptions
            self._close(key)
            self.spoilt = True
            why = f"Chroma says {type(error).__name__}: {error}"
            raise seal.damaged(self._folder / key, why) from error

    def _opened(self, key: str, dimension: int) -> OpenPartition:
        """The partition, out of the open ones if it is there; the one used longest ago is closed
        for it."""
        if key not in self._open:
            while len(self._open) >= OPEN:
                self._close(next(iter(self._open)))
            self._open[key] = OpenPartition(self._folder / key, dimension)
        self._open.move_to_end(key)
        return self._open[key]

    def _close(self, key: str) -> None:
        partition = self._open.pop(key, None)
        if partition is not None:
            with suppress(Exception):
                partition.close()


def _owner(folder: Path) -> str:
    """The number of the process that has a folder, "" where nobody can say."""
    try:
        return (folder / LOCK).read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


def _is_dead(owner: str) -> bool:
    """Whether a process is surely over."""
    if sys.platform == "win32" or not owner.isdecimal():
        return False
    try:
        os.kill(int(owner), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False  # it exists, and is somebody else's
    return False


def _owned(folder: Path, owner: str) -> VectorIndexError:
    who = f"process {owner}" if owner else "another process"
    return VectorIndexError(
        f"the vectors in {str(folder)!r} belong to {who}. Recall works here without them; for many "
        "processes start a server (`chroma run --path FOLDER`) and set memory.index_options.url "
        "in all of them.",
        owned=True,
    )
