"""`vanta memory add`: documents into memory.

Invariants: a file that cannot be read is reported and does not affect the others. A file that was
added before replaces its earlier content, and stays private if that was. A folder or a pattern adds
only what lies inside it: links that lead out of it are reported and not followed.
"""

from __future__ import annotations

import dataclasses
import glob
import itertools
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vanta.cli import output
from vanta.cli.memory import options
from vanta.cli.memory.opening import progress_bar, waiting_for, with_memory
from vanta.cli.options import ConfigOption, JsonOption
from vanta.errors import UnreadableDocument

if TYPE_CHECKING:
    from vanta.memory import Memory, NewItem

SUFFIXES = frozenset({".txt", ".text", ".md", ".markdown", ".rst", ".html", ".htm", ".pdf"})
"""The suffixes that are added from a folder; a file given by name may have any."""


KEPT_PRIVATE = "it stays private, as it was added before; --public shows it to all tracks"


@dataclass(frozen=True, slots=True)
class AddedFile:
    """The result for one file.

    :param chunks: the number of its chunks.
    :param replaced: the number of chunks that it had before.
    :param unchanged: whether memory already had the file in this form.
    :param error: why it was not added, or "".
    """

    file: str
    chunks: int = 0
    replaced: int = 0
    unchanged: bool = False
    notes: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class _Label:
    """The properties that all chunks of one command share."""

    user: str
    private: bool
    publish: bool
    tags: tuple[str, ...]


def add(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Text, Markdown, HTML, PDF; or folders of them."),
    ],
    user: options.UserOption = "default",
    private: Annotated[
        bool | None,
        typer.Option(
            "--private/--public",
            help="Hide it from tracks that leave this machine; --public shows them even what was "
            "private before. Neither: as before, and public if it is new.",
        ),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="TAG", help="A tag to search by.")
    ] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Add documents, in chunks; a file that was added before replaces its earlier content.

    The exit code is 1 if a file could not be added; the others are. --json: an object with files
    (objects with file, chunks, replaced, unchanged, notes and error), chunks, and skipped: why the
    chunks cannot be found by meaning, or "".
    """
    paths, outside = _find_files(files)
    for path in outside:
        output.print_status(f"not followed: {output.printable(str(path))} leads out of its folder")
    label = _Label(user, private is True, private is False, tuple(tag or ()))
    added, skipped = with_memory(config, lambda memory: _add(memory, paths, label, quiet=json))
    if json:
        items = [dataclasses.asdict(file) for file in added]
        chunks = sum(file.chunks for file in added)
        output.print_json({"files": items, "chunks": chunks, "skipped": skipped})
    else:
        _show(added, skipped)
    if not added or any(file.error for file in added):
        raise typer.Exit(output.ExitCode.FAILED)


def file_tag(path: Path) -> str:
    """Return the tag that marks the chunks of a file; bytes that are not UTF-8 are escaped."""
    return f"file:{path.resolve()}".encode("utf-8", "backslashreplace").decode("utf-8")


async def _add(
    memory: Memory, paths: Sequence[Path], label: _Label, *, quiet: bool
) -> tuple[list[AddedFile], str]:
    """Read, store, then embed; after Ctrl-C the stored chunks stay and are embedded later."""
    import anyio

    from vanta.cli.memory.tables import count_of

    added: list[AddedFile] = []
    try:
        with progress_bar("reading", "reading", quiet=True) as report:
            for path in paths:
                report(len(added), len(paths))
                added.append(await _add_file(memory, path, label))
        if not any(map(_succeeded, added)):
            return added, ""
        return added, await _embed(memory, label, quiet=quiet)
    except anyio.get_cancelled_exc_class():
        output.print_status(
            f"stopped: memory has {sum(map(_succeeded, added))} of {count_of(len(paths), 'file')}; "
            "`vanta memory reindex` embeds the rest of their chunks"
        )
        raise


async def _embed(memory: Memory, label: _Label, *, quiet: bool) -> str:
    """Wait until the new chunks can be found by meaning; return why they cannot."""
    from vanta.memory import Scope

    with progress_bar(waiting_for(memory), "embedding", quiet=quiet) as report:
        return await memory.ready(Scope(label.user, private=True), report)


def _succeeded(file: AddedFile) -> bool:
    return not file.error


def _show(files: Sequence[AddedFile], skipped: str) -> None:
    from vanta.cli.memory.tables import count_of

    if not files:
        output.print_status("No document was found: text, Markdown, HTML and PDF files are added.")
        return
    for file in files:
        if file.error:
            output.print_status(f"not added: {file.error}", "red")
            continue
        output.print_line(f"{output.printable(file.file)}: {_outcome(file)}")
        for note in file.notes:
            output.print_status(f"  {note}")
    added = [file for file in files if not file.error]
    if len(files) > 1:
        chunks = count_of(sum(file.chunks for file in files), "chunk")
        output.print_line(f"{len(added)} of {count_of(len(files), 'file')}, {chunks}")
    if added and skipped:
        output.print_status(f"found by words alone: {skipped}")


def _outcome(file: AddedFile) -> str:
    from vanta.cli.memory.tables import count_of

    chunks = count_of(file.chunks, "chunk")
    if file.unchanged:
        return f"{chunks}, unchanged"
    return f"{chunks} in place of {file.replaced}" if file.replaced else chunks


def _find_files(names: Sequence[str]) -> tuple[list[Path], list[Path]]:
    """Return the named files, those in the named folders and those that match a pattern, each once;
    and the links among the latter two that lead out of their folder."""
    paths: dict[Path, Path] = {}
    outside: dict[Path, None] = {}
    for name in names:
        root, candidates = _expand(name)
        for path in candidates:
            real = path.resolve()
            if root is None or real.is_relative_to(root):
                paths.setdefault(real, path)
            else:
                outside[path] = None
    return list(paths.values()), list(outside)


def _expand(name: str) -> tuple[Path | None, Iterable[Path]]:
    """Return the files that `name` stands for, and the folder that they must lie in, if any."""
    path = Path(name).expanduser()
    if path.is_dir():
        return path.resolve(), _documents_in(path)
    if not path.exists() and glob.has_magic(name):  # the shell leaves such a pattern unexpanded
        matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
        files = [match for match in matches if match.is_file()]
        return (_fixed_part(path).resolve(), files) if files else (None, [path])
    return None, [path]


def _fixed_part(pattern: Path) -> Path:
    """Return the folder before the first part of a pattern that has wildcards."""
    fixed = itertools.takewhile(lambda part: not glob.has_magic(part), pattern.parts)
    return Path(*fixed)


def _documents_in(folder: Path) -> Iterator[Path]:
    """Yield the documents in a folder and its sub-folders, without hidden ones."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield Path(place) / name


async def _add_file(memory: Memory, path: Path, label: _Label) -> AddedFile:
    """Read one file and store its chunks. Raises StoreError."""
    import anyio.to_thread

    try:
        items, notes = await anyio.to_thread.run_sync(_read, path, label)
    except UnreadableDocument as error:
        return AddedFile(str(path), error=str(error))
    result = await memory.replace(label.user, file_tag(path), items, publish=label.publish)
    if result.kept_private:
        notes = (*notes, KEPT_PRIVATE)
    if result.unchanged:
        return AddedFile(str(path), result.unchanged, unchanged=True, notes=notes)
    return AddedFile(str(path), result.added, result.removed, notes=notes)


def _read(path: Path, label: _Label) -> tuple[list[NewItem], tuple[str, ...]]:
    from vanta.memory import NewItem, chunk_document, read_document

    document = read_document(path)
    now = time.time()
    tags = (*label.tags, file_tag(path))
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
        for chunk in chunk_document(document)
    ]
    return items, document.notes
