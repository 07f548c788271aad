"""Write files that only their owner can read, and replace them whole.

Invariant: a file that is written here is never half there, and at no moment can others read it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_POLL_S = 0.02
_PRIVATE_FILE, _PRIVATE_FOLDER = 0o600, 0o700


def private_folder(folder: Path) -> Path:
    """Create a folder, and the folders above it that are missing, for their owner alone.

    An existing folder keeps its permissions.

    :param folder: the folder.
    :returns: the same folder.
    :raises OSError: if it cannot be created.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
    if not folder.is_dir():
        raise NotADirectoryError(20, "it is not a folder", str(folder))
    return folder


def write_private(path: Path, data: str | bytes) -> None:
    """Write a file for its owner alone; it replaces the old one at once. Blocking.

    A link is followed. What is not a regular file (a terminal, a pipe) is written to directly.

    :param path: the file.
    :param data: its content; text is written as UTF-8.
    :raises OSError: if it cannot be written.
    """
    content = data.encode("utf-8") if isinstance(data, str) else data
    target = Path(os.path.realpath(path))
    if path.exists() and not target.is_file():
        path.write_bytes(content)
        return
    part = target.with_name(f".{target.name[:100]}.{os.getpid()}-{secrets.token_hex(4)}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - it has its mode from the start
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def restrict(path: Path) -> None:
    """Take the permissions of others from a file of this user, if there is one.

    :param path: the file; a link or a file of another user stays as it is.
    """
    with contextlib.suppress(OSError):
        status = path.lstat()
        mine = sys.platform == "win32" or status.st_uid == os.geteuid()
        if mine and stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
            path.chmod(stat.S_IMODE(status.st_mode) & ~0o077)


@contextlib.contextmanager
def exclusive(path: Path, *, most_s: float = 10.0) -> Iterator[None]:
    """Hold a lock against other processes and threads. Blocking.

    The system releases it when the process ends.

    :param path: the lock file, which is created and stays.
    :param most_s: seconds after which waiting ends.
    :raises TimeoutError: if another process held it for that long.
    :raises OSError: if the file cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, _PRIVATE_FILE)
    try:
        until = time.monotonic() + most_s
        while not try_lock(descriptor):
            if time.monotonic() > until:
                raise TimeoutError(11, f"another process held it for {most_s:g} s", str(path))
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def try_lock(descriptor: int) -> bool:
        """Lock an open file if no other process holds it; return whether it did."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def try_lock(descriptor: int) -> bool:
        """Lock an open file if no other process holds it; return whether it did."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
