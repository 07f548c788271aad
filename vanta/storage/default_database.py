"""Where the database of a data directory lies.

Invariant: each data directory has a database of its own, whatever characters its name has: the path
never passes through the text of a URL. Earlier versions pasted the path into one, so a `?` in it
cut the file's name and `%20` became a space. A database under such a name is moved to its place if
only this data directory can have written it, and is reported otherwise.
"""

from __future__ import annotations

import logging
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from vanta.errors import StoreError
from vanta.files import private_folder

FILE_NAME = "vanta.db"
_log = logging.getLogger("vanta.storage")


def sqlite_url(folder: Path) -> sa.URL:
    """Return the URL of the default database in a data directory. Blocking.

    :param folder: the data directory, which is created if it does not exist.
    :returns: a SQLAlchemy URL of the file `vanta.db` in it.
    :raises StoreError: if the folder cannot be written.
    """
    folder = folder.absolute()
    _require_writable(folder)
    file = folder / FILE_NAME
    if not file.exists():
        _look_for_earlier(folder, file)
    return sa.URL.create("sqlite", database=str(file))


def _require_writable(folder: Path) -> None:
    try:
        private_folder(folder)
        with tempfile.TemporaryFile(prefix=".vanta-", dir=folder):
            pass
    except (OSError, ValueError) as error:  # a path with a null byte is a ValueError
        problem = getattr(error, "strerror", None) or error
        raise StoreError(
            f"the data directory {str(folder)!r} cannot be written: {problem}. "
            "Make it writable, or name another one with data_dir or VANTA_DATA_DIR."
        ) from error


def _look_for_earlier(folder: Path, file: Path) -> None:
    """Move the database that an earlier version wrote for `folder`, or log where it may be."""
    for earlier in _earlier_files(folder):
        if not earlier.is_file() or not _is_store(earlier):
            continue
        if _is_of_this_folder_alone(folder, earlier) and _move(earlier, file):
            _log.info("moved the database %r to %r", str(earlier), str(file))
            return
        _log.warning(
            "the data directory %r gets a new database. An earlier version of vanta stored its "
            "data in %r, which other data directories may share. If all of it belongs here, end "
            "all processes that use it and move that file to %r.",
            str(folder),
            str(earlier),
            str(file),
        )


def _earlier_files(folder: Path) -> list[Path]:
    """Return the files that earlier versions used: their URL without, and with, decoding of `%`."""
    path = str(folder / FILE_NAME)
    files = {Path(path.partition("?")[0])}
    with suppress(SQLAlchemyError):  # no URL at all: nothing was ever stored there
        files.add(Path(sa.make_url(f"sqlite:///{path}").database or path))
    return sorted(files - {folder / FILE_NAME})


def _is_store(file: Path) -> bool:
    try:
        with closing(_connect(file)) as connection:
            return bool(connection.execute("SELECT schema_version FROM about").fetchone())
    except sqlite3.Error:
        return False


def _is_of_this_folder_alone(folder: Path, earlier: Path) -> bool:
    """Return whether no other data directory's name was cut to the same file."""
    parent, name = folder.parent, folder.name.partition("?")[0]
    if earlier != parent / name or "?" in str(parent):
        return False
    return all(item == folder for item in parent.glob("*[?]*") if item.name.startswith(name + "?"))


def _move(earlier: Path, file: Path) -> bool:
    """Move a database that no process has open, with its log; return whether it was moved."""
    try:
        with closing(_connect(earlier)) as connection:
            # Needs exclusive access, and writes the log into the file that is moved.
            (mode,) = connection.execute("PRAGMA journal_mode=DELETE").fetchone()
        if mode != "delete":
            return False
        earlier.rename(file)
    except (sqlite3.Error, OSError):
        return file.exists()  # another process may have moved it at the same time
    return True


def _connect(file: Path) -> sqlite3.Connection:
    """Open an existing file; `as_uri` encodes its name, and mode=rw creates none."""
    return sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=5.0)
