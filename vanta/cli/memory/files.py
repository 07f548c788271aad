"""Documents into memory: which files are meant, reading them, putting them in place.

Invariant: a file that cannot be read is said and spoils no other; a file that was added before
takes the place of what it was then.
"""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vanta.errors import UnreadableDocument

if TYPE_CHECKING:
    from vanta.memory.memory import Memory
    from vanta.memory.store.repository import NewItem

SUFFIXES = frozenset({".txt", ".text", ".md", ".markdown", ".rst", ".html", ".htm", ".pdf"})
"""What a folder is searched for; a file that is named may be called anything."""


@dataclass(frozen=True, slots=True)
class Added:
    """What became of a file. chunks: how many it has; replaced: how many it had before; unchanged:
    it was there already, as it is. error: why it was not added, "" if it was."""

    file: str
    chunks: int = 0
    replaced: int = 0
    unchanged: bool = False
    notes: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Label:
    """What all chunks of an `add` have in common."""

    user: str
    private: bool
    tags: tuple[str, ...]


def files_of(named: Sequence[str]) -> list[Path]:
    """The files that are meant: those named, those of the named folders, those of patterns that
    the shell left alone; each once."""
    found: dict[Path, Path] = {}
    for path in (path for name in named for path in _expanded(name)):
        found.setdefault(path.resolve(), path)
    return list(found.values())


def _expanded(name: str) -> Iterable[Path]:
    path = Path(name).expanduser()
    if path.is_dir():
        return _inside(path)
    if not path.exists() and glob.has_magic(name):
        matches = [Path(found) for found in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
        return [found for found in matches if found.is_file()] or [path]
    return [path]


def _inside(folder: Path) -> Iterator[Path]:
    """The documents of a folder and those below it, without what is hidden."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield Path(place) / name


async def add_file(memory: Memory, path: Path, label: Label) -> Added:
    """Read one file and put its chunks into memory. Raises StoreError."""
    import anyio.to_thread

    try:
        items, notes = await anyio.to_thread.run_sync(_read, path, label)
    except UnreadableDocument as error:
        return Added(str(path), error=str(error))
    done = await memory.replace(label.user, mark(path), items)
    if done.unchanged:
        return Added(str(path), done.unchanged, unchanged=True, notes=notes)
    return Added(str(path), done.added, done.removed, notes=notes)


def _read(path: Path, label: Label) -> tuple[list[NewItem], tuple[str, ...]]:
    from vanta.memory.documents import chunks, read
    from vanta.memory.store.repository import NewItem

    document = read(path)
    now = time.time()
    tags = (*label.tags, mark(path))
    items = [
        NewItem(
            label.user,
            "document",
            chunk.text,
            now,
            private=label.private,
            tags=tags,
            source=chunk.source,
            dates={},  # "last year" in a document is not the year before it was added
        )
        for chunk in chunks(document)
    ]
    return items, document.notes


def mark(path: Path) -> str:
    """The tag by which a file's chunks are known."""
    return f"file:{path.resolve()}"
