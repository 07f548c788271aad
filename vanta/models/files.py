"""Files that are complete or absent: locks, hashes, atomic writes, and errors of disks.

Invariant: a path written by `write_whole` never holds anything but a complete, checked file, no
matter when the process is killed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vanta.errors import ModelStoreError
from vanta.files import open_file
from vanta.files.writing import try_lock

Progress = Callable[[int, int | None, str], None]
"""Called with (bytes done, bytes in all or None, phase); raising from it stops the work.

Phases: "waiting" (for another process), "download", "check" (hashing), "extract".
"""

_CHUNK = 1 << 20
MOST_BYTES = 1 << 42
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Error numbers of a full disk."""
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR}
_POLL_S = 0.1


def quiet(_done: int, _total: int | None, _phase: str) -> None:
    """Ignore progress."""


def chunks_of(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file, a megabyte at a time."""
    with open_file(path, MOST_BYTES) as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def sha256_of(path: Path, progress: Progress = quiet) -> str:
    """Return the SHA-256 of a file, as 64 hex digits. Blocking.

    :param path: the file.
    :param progress: called as the work proceeds.
    :raises OSError: if it cannot be read.
    """
    total, done, digest = path.stat().st_size, 0, hashlib.sha256()
    for chunk in chunks_of(path):
        digest.update(chunk)
        done += len(chunk)
        progress(done, total, "check")
    return digest.hexdigest()


def write_whole(
    target: Path,
    chunks: Iterable[bytes],
    *,
    partial: Path,
    size: int | None = None,
    sha256: str | None = None,
    progress: Progress = quiet,
) -> None:
    """Write `chunks` to `partial`, check size and hash, and rename it to `target`, durably.

    :param target: the file to write.
    :param chunks: its bytes.
    :param partial: a path on the same file system; it is removed in any case.
    :param size: the expected size in bytes; None: any.
    :param sha256: the expected hash as 64 hex digits; None: any.
    :param progress: called as the work proceeds.
    :raises ModelStoreError: if size or hash are wrong.
    :raises OSError: if the disk fails.
    """
    try:
        written, digest = _write(partial, chunks, size, progress)
        if size is not None and written != size:
            raise ModelStoreError(
                f"{target.name!r} has {written} bytes or more where {size} were expected; nothing "
                "was kept. Try again; if the problem persists, the registry's entry is outdated."
            )
        require_hash(target.name, expected=sha256, actual=digest)
        partial.replace(target)
        _sync_folder(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def require_hash(name: str, *, expected: str | None, actual: str) -> None:
    """Raise ModelStoreError unless `actual` is the expected hash (None: any)."""
    if expected is not None and actual != expected:
        raise ModelStoreError(
            f"{name!r} has the sha256 {actual} where {expected} was expected: it is damaged or not "
            "the file of the registry. It was removed. Try again; if the problem persists, do not "
            "use it."
        )


def require_space(folder: Path, needed: int) -> None:
    """Raise ModelStoreError unless `needed` bytes are free where `folder` is."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ModelStoreError(
            f"{needed / 1e6:,.1f} MB are needed in {str(folder)!r} and {free / 1e6:,.1f} MB are "
            "free. Free some space, or set VANTA_DATA_DIR to a folder on another disk."
        )


@contextmanager
def disk_errors(folder: Path, doing: str) -> Iterator[None]:
    """Turn an OSError into a ModelStoreError with the next step."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        advice = (
            "Try again; if the problem persists, set VANTA_DATA_DIR to a folder on another disk."
        )
        if error.errno in FULL:
            why = "the disk is full (or a limit on file sizes was reached)"
            advice = "Free some space, or set VANTA_DATA_DIR to a folder on another disk."
        elif error.errno in _REFUSED:
            advice = f"Make {str(folder)!r} a folder that you can use, or set VANTA_DATA_DIR."
        raise ModelStoreError(f"{doing} failed in {str(folder)!r}: {why}. {advice}") from error


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[int]:
    """Hold a lock against every other process; yields its file descriptor. Blocking.

    The system releases it when the process, and any child with the descriptor, has ended.

    :param path: the lock file.
    :param waiting: called repeatedly while another process holds the lock; raising gives up.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        while not try_lock(descriptor):
            waiting()
            time.sleep(_POLL_S)
        yield descriptor
    finally:
        os.close(descriptor)


def _write(
    partial: Path, chunks: Iterable[bytes], size: int | None, progress: Progress
) -> tuple[int, str]:
    """Write and sync; stop at the first byte too many, so that nothing can fill the disk."""
    written, digest = 0, hashlib.sha256()
    with partial.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk)
            written += len(chunk)
            progress(written, size, "extract")
            if size is not None and written > size:
                break
        file.flush()
        os.fsync(file.fileno())
    return written, digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make a rename durable. Windows does so by itself and cannot open folders."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
