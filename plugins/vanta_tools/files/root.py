"""A folder that nothing leaves: every path is opened step by step, below an open descriptor.

Each part of a path is opened relative to the descriptor of the part before it, with `O_NOFOLLOW`,
so a link that takes the place of a folder between a check and its use is an error and not a way
out. What is checked is always the open descriptor (`fstat`), never a name. Links are not followed,
not even inside the folder, and `..` does not exist: a path that a permission rule has matched is
the path that is opened. Needs `openat` and its siblings (Linux, macOS, BSD).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vanta_tools.actions import CorrectableError

MAX_PATH_CHARACTERS = 4096
MAX_PARTS = 64

_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)  # a pipe in a file's place must not block
_NOCTTY = getattr(os, "O_NOCTTY", 0)
FOLDER_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _NOFOLLOW | _CLOEXEC
FILE_FLAGS = os.O_RDONLY | _NOFOLLOW | _NONBLOCK | _NOCTTY | _CLOEXEC

_CONTROL = {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"}
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_LINK = "it is, or leads through, a symbolic link, and links are not followed"
_REASONS = {
    errno.ELOOP: _LINK,
    errno.EMLINK: _LINK,  # FreeBSD's word for it
    errno.ENOENT: "there is no such file or folder",
    errno.ENOTDIR: "a part of it is not a folder, or is a symbolic link, which is not followed",
    errno.EISDIR: "it is a folder",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENAMETOOLONG: "a name in it is too long",
    errno.ENXIO: "it is a pipe, a socket or a device, not a regular file",
    errno.ENOSPC: "no space is left on the device",
    errno.EROFS: "the file system is read-only",
    errno.EEXIST: "it exists already",
}


@dataclass(frozen=True, slots=True)
class RootRules:
    """What may be opened below a root.

    :param hidden: whether names that begin with a dot may be used.
    :param hard_links: whether files with several names may be used. One of them may be outside.
    """

    hidden: bool = False
    hard_links: bool = False


def is_supported() -> bool:
    """Return whether this system opens files relative to a folder's descriptor."""
    needed = {os.open, os.stat, os.mkdir, os.unlink, os.link, os.rename}
    return bool(_NOFOLLOW) and needed <= os.supports_dir_fd and os.listdir in os.supports_fd


def path_parts(path: str, rules: RootRules) -> tuple[str, ...]:
    """Return the names that a relative path consists of; none for the root itself.

    :param path: the path as the model wrote it, with `/` between names.
    :param rules: what may be opened.
    :raises CorrectableError: if it is absolute, contains `..`, or is not a path of plain names.
    """
    if len(path) > MAX_PATH_CHARACTERS:
        raise _refused(path[:80], f"it is longer than {MAX_PATH_CHARACTERS} characters")
    if path.startswith(("/", "~")) or "\\" in path or path[1:2] == ":":
        raise _refused(path, "it must be relative to the folder, with '/' between names")
    if any(unicodedata.category(character) in _CONTROL for character in path):
        raise _refused(path, "it contains a control character")
    parts = tuple(part for part in path.split("/") if part not in {"", "."})
    if len(parts) > MAX_PARTS:
        raise _refused(path, f"it has more than {MAX_PARTS} parts")
    for part in parts:
        if part.strip(". ") == "":
            raise _refused(path, "'..' is not allowed")
        if part.startswith(".") and not rules.hidden:
            raise _refused(path, "names that begin with a dot are off (option 'hidden')")
    return parts


class RootFolder:
    """A folder below which files are opened.

    :param path: the folder; links on the way to it are followed, once.
    :param rules: what may be opened.
    """

    def __init__(self, path: Path, rules: RootRules | None = None) -> None:
        self.path = path
        self.rules = rules or RootRules()

    def parts(self, path: str) -> tuple[str, ...]:
        """Return the names of a path. See `path_parts`."""
        return path_parts(path, self.rules)

    @contextlib.contextmanager
    def folder(self, path: str, *, create: bool = False) -> Iterator[int]:
        """Open a folder below the root. Blocking.

        :param path: the folder's path; "." for the root.
        :param create: whether missing folders are made.
        :returns: its descriptor, until the context ends.
        :raises CorrectableError: if it cannot be opened, or a part of the path is a link.
        """
        with self._opened(path, self.parts(path), create=create) as descriptor:
            yield descriptor

    @contextlib.contextmanager
    def parent(self, path: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
        """Open the folder of a file. Blocking.

        :param path: the file's path.
        :param create: whether missing folders are made.
        :returns: the folder's descriptor and the file's name in it, until the context ends.
        :raises CorrectableError: as `folder` does.
        """
        parts = self.parts(path)
        if not parts:
            raise _refused(path, "it is the folder itself")
        if path.endswith(("/", "/.")):
            raise _refused(path, "it names a folder")
        with self._opened(path, parts[:-1], create=create) as descriptor:
            yield descriptor, parts[-1]

    @contextlib.contextmanager
    def file(self, path: str, most_bytes: int) -> Iterator[tuple[int, os.stat_result]]:
        """Open a regular file to read. Blocking.

        :param path: the file's path.
        :param most_bytes: the size up to which it is opened.
        :returns: its descriptor and status, until the context ends.
        :raises CorrectableError: if it is not a regular file, has other names, or is too large.
        """
        with self.parent(path) as (folder, name), readable(path):
            descriptor = self.open_in(folder, name, path)
            try:
                status = os.fstat(descriptor)
                if status.st_size > most_bytes:
                    raise _refused(path, f"it is larger than {most_bytes:,} bytes")
                yield descriptor, status
            finally:
                os.close(descriptor)

    def open_in(self, folder: int, name: str, path: str) -> int:
        """Open a regular file of an open folder to read; the caller closes it. Blocking.

        :param folder: the folder's descriptor.
        :param name: the file's name.
        :param path: its path, for messages.
        :raises CorrectableError: if it is not a regular file, or has other names.
        :raises OSError: if it cannot be opened.
        """
        # A device acts when it is opened: what is not a regular file is refused before, by name.
        self.require_regular(os.stat(name, dir_fd=folder, follow_symlinks=False), path)
        descriptor = os.open(name, FILE_FLAGS, dir_fd=folder)
        try:
            self.require_regular(os.fstat(descriptor), path)
            require_spelling(folder, name, path)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def require_regular(self, status: os.stat_result, path: str) -> None:
        """Check that a status is that of a regular file with no other names.

        :param status: the status.
        :param path: the file's path, for messages.
        :raises CorrectableError: if it is not.
        """
        if not stat.S_ISREG(status.st_mode):
            kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
            raise _refused(path, f"it is {kind}, not a regular file")
        if status.st_nlink > 1 and not self.rules.hard_links:
            raise _refused(
                path,
                f"it has {status.st_nlink} names (hard links), of which one may be outside the "
                "folder (option 'hard_links')",
            )

    @contextlib.contextmanager
    def _opened(self, path: str, parts: tuple[str, ...], *, create: bool) -> Iterator[int]:
        with readable(path):
            descriptor = self._walk(path, parts, create=create)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _walk(self, path: str, parts: tuple[str, ...], *, create: bool) -> int:
        # The root's own path is the user's word, so links on the way to it are followed.
        descriptor = os.open(self.path, FOLDER_FLAGS & ~_NOFOLLOW)
        try:
            for part in parts:
                if create:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, dir_fd=descriptor)
                inner = os.open(part, FOLDER_FLAGS, dir_fd=descriptor)
                outer, descriptor = descriptor, inner
                try:
                    require_spelling(outer, part, path)
                finally:
                    os.close(outer)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def require_spelling(folder: int, name: str, path: str) -> None:
    """Check that a name is the one in the folder, where names are compared without case.

    A rule that denies `keys/` must not be passed by `KEYS/`, which some file systems open all the
    same, or by another Unicode form of a name.

    :param folder: the descriptor of the folder that the name was opened in.
    :param name: the name.
    :param path: its path, for messages.
    :raises CorrectableError: if the folder spells it differently.
    """
    variants = {name.swapcase(), name.lower(), name.upper()}
    variants |= {unicodedata.normalize(form, name) for form in ("NFC", "NFD")}
    if not any(_exists(folder, variant) for variant in variants - {name}):
        return
    if name not in os.listdir(folder):
        raise _refused(path, f"the folder spells {name!r} differently: use the name as it lists it")


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def readable(path: str) -> Iterator[None]:
    """Turn the operating system's errors of the body into errors that the model can read.

    :param path: the path as the model wrote it.
    :raises CorrectableError: instead of an OSError, or of a ValueError for a name that is none.
    """
    try:
        yield
    except OSError as error:
        number = error.errno or 0
        raise _refused(path, _REASONS.get(number, os.strerror(number))) from error
    except UnicodeError as error:
        raise _refused(path, "it is not a valid name") from error


def _refused(path: str, why: str) -> CorrectableError:
    return CorrectableError(f"The path {path!r} cannot be used: {why}.")
