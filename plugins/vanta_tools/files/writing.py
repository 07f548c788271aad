"""Writing below a root: a whole file, or one passage of it.

Invariant: a file is never half there. The new content is a file of its own in the same open folder,
which then takes the name: nothing is written through a link or a second name, and readers see the
old content or the new. All functions block.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator

from vanta_tools.actions import CorrectableError
from vanta_tools.files.reading import read_bytes
from vanta_tools.files.root import RootFolder, readable, require_spelling

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK}
"""What file systems without hard links report."""

_MODE = 0o666  # less the process's umask, as for any new file


def write_text(root: RootFolder, path: str, text: str, *, overwrite: bool, most_bytes: int) -> bool:
    """Write a file, and make the folders that are missing.

    :param root: the root.
    :param path: the file.
    :param text: its content.
    :param overwrite: whether it may replace a file; otherwise one that exists is an error.
    :param most_bytes: its greatest size in UTF-8.
    :returns: whether it replaced a file.
    :raises CorrectableError: if it cannot be written, or exists.
    """
    data = _encoded(path, text, most_bytes)
    with root.parent(path, create=True) as (folder, name), readable(path):
        before = _status(folder, name)
        if before is not None:
            _require_replaceable(root, folder, name, path, before)
            if not overwrite:
                raise CorrectableError(
                    f"{path!r} exists already. Edit it, or write it with 'overwrite'."
                )
        with _part(folder, data, before) as part:
            if before is None:
                _take_name(folder, part, name)
            else:
                _require_unchanged(folder, name, path, before)
                os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
    return before is not None


def edit_text(
    root: RootFolder, path: str, old: str, new: str, *, every: bool, most_bytes: int
) -> int:
    """Replace a passage of a text file.

    :param root: the root.
    :param path: the file.
    :param old: the passage, exactly as the file has it.
    :param new: what replaces it.
    :param every: whether all places are replaced; otherwise there must be one.
    :param most_bytes: the greatest size of the file, before and after.
    :returns: how many places were replaced.
    :raises CorrectableError: if the passage is not there, is there more than once, or the file
        changed meanwhile.
    """
    content, before = read_bytes(root, path, most_bytes)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorrectableError(f"{path!r} is not UTF-8 text and cannot be edited.") from error
    places = text.count(old)
    if places == 0:
        raise CorrectableError(f"{path!r} does not contain 'old': read the file and copy it.")
    if places > 1 and not every:
        raise CorrectableError(
            f"{path!r} contains 'old' {places} times: quote more of it, or set 'every'."
        )
    data = _encoded(path, text.replace(old, new), most_bytes)
    with root.parent(path) as (folder, name), readable(path), _part(folder, data, before) as part:
        require_spelling(folder, name, path)
        _require_unchanged(folder, name, path, before)
        os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
    return places


def _take_name(folder: int, part: str, name: str) -> None:
    """Give a new file a name that nothing has; FileExistsError if the name was taken meanwhile."""
    try:
        os.link(part, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(name, _NEW, _MODE, dir_fd=folder))  # the name is ours from here on
        os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)


def _encoded(path: str, text: str, most_bytes: int) -> bytes:
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise CorrectableError(f"the text for {path!r} contains half a character.") from error
    if len(data) > most_bytes:
        raise CorrectableError(f"{path!r} would be larger than {most_bytes:,} bytes.")
    return data


def _require_replaceable(
    root: RootFolder, folder: int, name: str, path: str, status: os.stat_result
) -> None:
    root.require_regular(status, path)
    require_spelling(folder, name, path)
    if not os.access(name, os.W_OK, dir_fd=folder, effective_ids=_EFFECTIVE):
        raise CorrectableError(f"{path!r} is read-only.")


_EFFECTIVE = os.access in os.supports_effective_ids


def _require_unchanged(folder: int, name: str, path: str, before: os.stat_result) -> None:
    """Check that the name still leads to the file that was examined, with the same content."""
    now = _status(folder, name)
    if now is None or _version(now) != _version(before):
        raise CorrectableError(f"{path!r} was changed by another program meanwhile: read it again.")


def _version(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns)


def _status(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _part(folder: int, data: bytes, replaced: os.stat_result | None) -> Iterator[str]:
    """Write a new file into the folder; it is removed if it has not got another name."""
    name = f".vanta-{secrets.token_hex(8)}.part"
    descriptor = os.open(name, _NEW, _MODE, dir_fd=folder)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            if replaced is not None:
                os.fchmod(descriptor, stat.S_IMODE(replaced.st_mode) & 0o777)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        yield name
    finally:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=folder)
