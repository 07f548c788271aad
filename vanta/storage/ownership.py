"""Which SQLite files belong to vanta.

A database of vanta carries its application id. Invariant: a file of another program, of any format,
is refused before a byte of it or beside it is written; one that vanta wrote before it had the id is
recognised by its schema. What vanta creates, only its owner can read.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from vanta.errors import StoreError
from vanta.files import restrict

APPLICATION_ID = 0x76616E74
"""The letters `vant`, in the header of each database of vanta."""

_MAGIC = b"SQLite format 3\0"
_ID_AT = 68
_HEADER_BYTES = 100
_LOGS = ("", "-wal", "-shm", "-journal")


def prepare_file(path: Path, shown: str) -> None:
    """Create the file of a database for its owner alone, or check that an existing one is vanta's.

    :param path: the file.
    :param shown: the store's URL for messages.
    :raises StoreError: if the file belongs to another program, or is not a file.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        _create(path)
        return
    except OSError:
        return  # opening it reports the problem
    if not stat.S_ISREG(status.st_mode):
        raise _foreign(shown, "it is not a regular file")
    if status.st_size and not _is_own(path):
        raise _foreign(shown, "it is damaged, or belongs to another program: move it away")
    target = os.path.realpath(path)
    for suffix in _LOGS:
        restrict(Path(f"{target}{suffix}"))


def _create(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        if error.errno != errno.ENOENT:
            return  # opening it reports the problem


def _is_own(path: Path) -> bool:
    """Return whether a file that is not empty is a database of vanta. It is only read."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError:
        return True  # opening it reports the problem
    if not header.startswith(_MAGIC):
        return False
    application = int.from_bytes(header[_ID_AT : _ID_AT + 4], "big")
    if application == APPLICATION_ID:
        return True
    return application == 0 and _has_own_schema(path)


def _has_own_schema(path: Path) -> bool:
    """Return whether a database without an id was written by vanta, or has no table yet."""
    # Without a log nothing can be pending, and an immutable database gets no files beside it.
    mode = "mode=ro" if Path(f"{path}-wal").exists() else "mode=ro&immutable=1"
    url = f"file:{quote(str(path.absolute()))}?{mode}"
    try:
        with closing(sqlite3.connect(url, uri=True, timeout=5.0)) as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            if application:
                return bool(application == APPLICATION_ID)
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            return not tables or bool(
                {"about", "turns", "messages"} <= tables
                and connection.execute("SELECT schema_version FROM about").fetchone()
            )
    except sqlite3.Error:
        return False


def _foreign(shown: str, why: str) -> StoreError:
    return StoreError(
        f"the store {shown!r} is not a database of vanta: {why}. Nothing was written to it. Name "
        "another file with store_url, or another folder with data_dir."
    )
