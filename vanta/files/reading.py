"""Read a file whole: a regular one, of a limited size.

Invariant: a path never blocks the reader, and never fills the memory. A device, a pipe, a socket
and a link to one of them are refused before they are opened.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)  # a pipe that took the file's place must not block
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


class FileRefused(OSError):  # noqa: N818 - the name states the error
    """A path is not a regular file, or its file is too large; `strerror` is the reason."""


def read_file(path: str | Path, most_bytes: int) -> bytes:
    """Return the content of a regular file. Blocking.

    :param path: the file; links are followed.
    :param most_bytes: the size up to which it is read.
    :returns: its bytes.
    :raises FileRefused: if it is not a regular file, or is larger.
    :raises OSError: if it does not exist or cannot be read.
    """
    with open_file(path, most_bytes) as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:  # it grows, or does not have the size that it reports
        raise _too_large(path, most_bytes)
    return data


def open_file(path: str | Path, most_bytes: int) -> BinaryIO:
    """Open a regular file to read it piece by piece. Blocking.

    :param path: the file; links are followed.
    :param most_bytes: the size up to which it is opened.
    :returns: the open file, in binary mode; the caller closes it.
    :raises OSError: as `read_file` does.
    """
    try:
        _require_regular(Path(path).stat(), path)
        descriptor = os.open(path, _FLAGS)
    except ValueError as error:  # a null byte, or half a surrogate pair
        raise FileRefused(errno.EINVAL, f"its name is not valid ({error})", repr(path)) from None
    try:
        # The file may have been replaced since.
        status = os.fstat(descriptor)
        _require_regular(status, path)
        if status.st_size > most_bytes:
            raise _too_large(path, most_bytes)
        return open(descriptor, "rb")  # noqa: PTH123 - a descriptor
    except BaseException:
        os.close(descriptor)
        raise


def read_text(path: str | Path, most_bytes: int, encoding: str = "utf-8-sig") -> str:
    """Return the text of a regular file. Blocking.

    :param path: the file; links are followed.
    :param most_bytes: the size up to which it is read.
    :param encoding: its encoding; by default UTF-8, with or without a byte order mark.
    :raises OSError: as `read_file` does.
    :raises UnicodeDecodeError: if it is not text in this encoding.
    """
    return read_file(path, most_bytes).decode(encoding)


def _require_regular(status: os.stat_result, path: str | Path) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder, not a file", str(path))
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise FileRefused(errno.EINVAL, f"it is {kind}, not a regular file", str(path))


def _too_large(path: str | Path, most_bytes: int) -> FileRefused:
    return FileRefused(errno.EFBIG, f"it is larger than {most_bytes:,} bytes", str(path))
