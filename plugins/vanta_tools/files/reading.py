"""Reading below a root: lines of a file, entries of a folder, lines that contain a text.

Invariant: everything is bounded in bytes, entries, depth and time, and ends at a `threading.Event`
that the caller sets when the call is cancelled. Only regular files are opened, without following a
link. All functions block.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import stat
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

from vanta import UnreadableDocument
from vanta.text import printable
from vanta_tools.actions import CorrectableError
from vanta_tools.extraction import extract_text
from vanta_tools.files.root import FOLDER_FLAGS, RootFolder, readable

MAX_ENTRIES = 1000
MAX_DEPTH = 12
MAX_MATCHES = 200
MAX_FOLDER_NAMES = 100_000
LINE_CHARACTERS = 2000
"""Characters of a line that are shown; the rest is cut, with a mark."""

MAX_DOCUMENT_CHARACTERS = 4_000_000


@dataclass(frozen=True, slots=True)
class FileText:
    """Lines of a file.

    :param lines: the lines, without their ends.
    :param first: number of the first of them, from 1.
    :param total: how many lines the file has.
    :param notes: remarks, such as that it is the text of a PDF.
    """

    lines: tuple[str, ...]
    first: int
    total: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FolderEntry:
    """One entry of a folder.

    :param path: its path below the root.
    :param kind: "file", "folder", "link" or "other".
    :param size_bytes: its size, 0 for what is not a file.
    """

    path: str
    kind: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class TextMatch:
    """A line that contains the text.

    :param path: the file.
    :param line: the line's number, from 1.
    :param text: the line.
    """

    path: str
    line: int
    text: str


@dataclass(slots=True)
class WalkLimits:
    """When a walk over folders ends.

    :param ends_at: time of `time.monotonic` at which it ends.
    :param cancelled: set when the call is cancelled.
    :param reason: why it ended early; "" if it did not.
    """

    ends_at: float
    cancelled: threading.Event = field(default_factory=threading.Event)
    reason: str = ""

    def is_over(self) -> bool:
        """Return whether the walk must end, and keep the reason."""
        if self.cancelled.is_set() or time.monotonic() >= self.ends_at:
            self.reason = "the time was up"
        return bool(self.reason)


def read_bytes(root: RootFolder, path: str, most_bytes: int) -> tuple[bytes, os.stat_result]:
    """Return the content of a file and its status.

    :param root: the root.
    :param path: the file.
    :param most_bytes: its greatest size.
    :raises CorrectableError: if it cannot be read, or is larger.
    """
    with root.file(path, most_bytes) as (descriptor, status):
        pieces, length = [], 0
        while piece := os.read(descriptor, 1 << 20):
            length += len(piece)
            if length > most_bytes:  # it grows, or does not have the size that it reports
                raise CorrectableError(f"{path!r} is larger than {most_bytes:,} bytes.")
            pieces.append(piece)
    return b"".join(pieces), status


def read_lines(root: RootFolder, path: str, first: int, most: int, most_bytes: int) -> FileText:
    """Return lines of a text file, or of the text of a PDF.

    :param root: the root.
    :param path: the file.
    :param first: number of the first line, from 1.
    :param most: the most lines to return.
    :param most_bytes: the greatest size of the file.
    :raises CorrectableError: if it cannot be read, or is not text.
    """
    data, _ = read_bytes(root, path, most_bytes)
    text, notes = _decoded(path, data)
    lines = _lines(text)
    shown = tuple(_cut(line) for line in lines[first - 1 : first - 1 + most])
    return FileText(shown, first, len(lines), notes)


def list_entries(
    root: RootFolder, path: str, pattern: str, depth: int, limits: WalkLimits
) -> list[FolderEntry]:
    """Return the entries of a folder and of those inside it, sorted by path.

    :param root: the root.
    :param path: the folder.
    :param pattern: a glob that an entry's path or name must match; "" for all.
    :param depth: how many folders deep; 1 is the folder alone.
    :param limits: when to end.
    """
    entries: list[FolderEntry] = []
    with contextlib.closing(_walk(root, path, depth, limits)) as walk:
        for entry, _, _ in walk:
            if _matches(entry.path, pattern):
                if len(entries) == MAX_ENTRIES:
                    limits.reason = f"there are more than {MAX_ENTRIES} entries"
                    break
                entries.append(entry)
    return sorted(entries, key=lambda entry: entry.path)


def search_lines(
    root: RootFolder,
    path: str,
    text: str,
    pattern: str,
    *,
    match_case: bool,
    most_bytes: int,
    limits: WalkLimits,
) -> list[TextMatch]:
    """Return lines that contain a text. Files that are too large or not text are left out.

    :param root: the root.
    :param path: the folder.
    :param text: the text, literally.
    :param pattern: a glob that a file's path or name must match; "" for all.
    :param match_case: whether letters must have the same case.
    :param most_bytes: the greatest size of a file.
    :param limits: when to end.
    """
    matches: list[TextMatch] = []
    with contextlib.closing(_walk(root, path, MAX_DEPTH, limits)) as walk:
        for entry, folder, name in walk:
            if entry.kind != "file" or not _matches(entry.path, pattern):
                continue
            lines = _text_lines(root, folder, name, entry.path, most_bytes)
            for number, line in _containing(lines, text, match_case, limits):
                if len(matches) == MAX_MATCHES:
                    limits.reason = f"there are more than {MAX_MATCHES} matches"
                    return matches
                matches.append(TextMatch(entry.path, number, _cut(line.strip())))
    return matches


def _containing(
    lines: Iterator[tuple[int, str]], text: str, match_case: bool, limits: WalkLimits
) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines that contain a text."""
    needle = text if match_case else text.casefold()
    for number, line in lines:
        if limits.is_over():
            return
        if needle in (line if match_case else line.casefold()):
            yield number, line


def _walk(
    root: RootFolder, path: str, depth: int, limits: WalkLimits
) -> Generator[tuple[FolderEntry, int, str], None, None]:
    """Yield each entry with the descriptor of its folder, which is open meanwhile, and its name."""
    parts = root.parts(path)
    with root.folder(path) as descriptor:
        yield from _walk_in(root, descriptor, parts, depth, limits)


def _walk_in(
    root: RootFolder, folder: int, parts: tuple[str, ...], depth: int, limits: WalkLimits
) -> Generator[tuple[FolderEntry, int, str], None, None]:
    for name in _names(root, folder, limits):
        if limits.is_over():
            return
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:  # it was removed meanwhile
            continue
        inner = (*parts, name)
        yield _entry(inner, status), folder, name
        if depth > 1 and stat.S_ISDIR(status.st_mode):
            with contextlib.suppress(OSError), _subfolder(folder, name) as descriptor:
                yield from _walk_in(root, descriptor, inner, depth - 1, limits)


@contextlib.contextmanager
def _subfolder(folder: int, name: str) -> Iterator[int]:
    descriptor = os.open(name, FOLDER_FLAGS, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _names(root: RootFolder, folder: int, limits: WalkLimits) -> list[str]:
    """Return the usable names of a folder: those that a path can have."""
    with os.scandir(folder) as entries:
        names: list[str] = []
        for entry in entries:
            if len(names) >= MAX_FOLDER_NAMES or limits.is_over():
                limits.reason = limits.reason or "a folder has too many entries"
                break
            with contextlib.suppress(CorrectableError):
                names += root.parts(entry.name)
    return sorted(names)


def _entry(parts: tuple[str, ...], status: os.stat_result) -> FolderEntry:
    kinds = ((stat.S_ISREG, "file"), (stat.S_ISDIR, "folder"), (stat.S_ISLNK, "link"))
    kind = next((name for test, name in kinds if test(status.st_mode)), "other")
    return FolderEntry("/".join(parts), kind, status.st_size if kind == "file" else 0)


def _text_lines(
    root: RootFolder, folder: int, name: str, path: str, most_bytes: int
) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines of a text file; nothing for any other file."""
    try:
        with readable(path):
            descriptor = root.open_in(folder, name, path)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
            data = file.read(most_bytes + 1)
        text = data.decode("utf-8-sig")
    except (CorrectableError, OSError, UnicodeDecodeError):
        return
    if "\0" not in text and len(data) <= most_bytes:
        yield from enumerate(_lines(text), 1)


def _matches(path: str, pattern: str) -> bool:
    name = path.rpartition("/")[2]
    # `**/` matches no folder, too.
    patterns = {pattern, pattern.replace("**/", "")}
    return not pattern or any(
        fnmatch.fnmatchcase(path, item) or ("/" not in item and fnmatch.fnmatchcase(name, item))
        for item in patterns
    )


def _decoded(path: str, data: bytes) -> tuple[str, tuple[str, ...]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" not in text:
        return text, ()
    try:
        document = extract_text(data, ".txt")
    except UnreadableDocument as error:
        raise CorrectableError(f"{path!r} is not text: {error}") from error
    if data.startswith(b"%PDF-"):
        return document.text, ("this is the text of a PDF", *document.notes)
    return document.text, document.notes


def _lines(text: str) -> list[str]:
    """Return the lines as editors number them; form feeds and the like do not end one."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if lines[-1] == "" else lines


def _cut(line: str) -> str:
    shown = printable(line)
    return shown if len(shown) <= LINE_CHARACTERS else f"{shown[:LINE_CHARACTERS]} [line cut]"
