"""The toolset `files`: read, list, search, write and edit files below one folder.

Invariant: blocking work runs in threads; what changes a file runs one call at a time and is not
interrupted, so that a cancelled call has either changed a file or not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from pydantic import Field

from vanta import ToolContext, ToolResult, ToolsetContext
from vanta_tools.actions import (
    Action,
    ActionToolset,
    ToolArguments,
    ToolOptions,
    action,
    seconds_left,
)
from vanta_tools.files import reading, writing
from vanta_tools.files.root import RootFolder, RootRules, is_supported

T = TypeVar("T")

CALL_S = 20.0
"""Seconds that a call may take; a search returns what it has by then."""


class FilesOptions(ToolOptions):
    """Options of the toolset `files`."""

    root: str = Field(
        default="", description='The folder; "" for the one that the program started in.'
    )
    write: bool = Field(default=False, description="Whether files may be written and edited.")
    hidden: bool = Field(
        default=False, description="Whether names that begin with a dot may be used."
    )
    hard_links: bool = Field(
        default=False,
        description="Whether files with several names may be used; one may be outside.",
    )
    private: bool = Field(
        default=False, description="Whether what is read must not leave this machine."
    )
    max_file_bytes: int = Field(default=4_000_000, ge=1, le=256_000_000)


class ReadArguments(ToolArguments):
    """Arguments of `read`."""

    path: str = Field(description="The file, relative to the folder, such as docs/guide.md.")
    first_line: int = Field(default=1, ge=1, description="Number of the first line to return.")
    lines: int = Field(
        default=1000, ge=1, le=20_000, description="How many lines to return at most."
    )


class ListArguments(ToolArguments):
    """Arguments of `list`."""

    path: str = Field(default=".", description="The folder to list.")
    pattern: str = Field(
        default="", max_length=500, description="Only entries that match, such as *.py."
    )
    depth: int = Field(default=1, ge=1, le=reading.MAX_DEPTH, description="How many folders deep.")


class FileSearchArguments(ToolArguments):
    """Arguments of `search`."""

    path: str = Field(description='The folder to search, with those inside it; "." for all.')
    text: str = Field(min_length=1, max_length=1000, description="The text, literally.")
    pattern: str = Field(
        default="", max_length=500, description="Only files that match, such as *.py."
    )
    match_case: bool = Field(default=False, description="Whether letters must have the same case.")


class WriteArguments(ToolArguments):
    """Arguments of `write`."""

    path: str = Field(description="The file; missing folders are made.")
    text: str = Field(description="The whole content.")
    overwrite: bool = Field(default=False, description="Whether a file that exists is replaced.")


class EditArguments(ToolArguments):
    """Arguments of `edit`."""

    path: str = Field(description="The file.")
    old: str = Field(min_length=1, description="The passage to replace, exactly as it is.")
    new: str = Field(description="What replaces it.")
    every: bool = Field(default=False, description="Replace all places, not just one.")


class FilesToolset(ActionToolset):
    """Reads and writes files below one folder.

    :param options: the toolset's options.
    :param project: the folder that a relative `root` starts from.
    """

    def __init__(self, options: FilesOptions, project: Path) -> None:
        self._options = options
        rules = RootRules(options.hidden, options.hard_links)
        self._root = RootFolder(project / Path(options.root).expanduser(), rules)
        self._writing = anyio.Lock()
        super().__init__("files", self._actions_of(options))

    def _actions_of(self, options: FilesOptions) -> list[Action]:
        read = partial(action, effect="read", private=True, untrusted=True, timeout_s=CALL_S)
        actions = [
            read("read", "Read lines of a text file.", ReadArguments, self._read),
            read("list", "List the entries of a folder.", ListArguments, self._list),
            read("search", "Find lines that contain a text.", FileSearchArguments, self._search),
        ]
        if options.write:
            write = partial(action, effect="write", private=True, timeout_s=CALL_S)
            actions += [
                write("write", "Write a text file.", WriteArguments, self._write),
                write("edit", "Replace a passage of a text file.", EditArguments, self._edit),
            ]
        return actions

    async def _read(self, arguments: ReadArguments, _context: ToolContext) -> ToolResult:
        file = await _in_thread(
            partial(
                reading.read_lines,
                self._root,
                arguments.path,
                arguments.first_line,
                arguments.lines,
                self._options.max_file_bytes,
            )
        )
        notes = list(file.notes)
        last = file.first + len(file.lines) - 1
        if file.lines and len(file.lines) < file.total:
            notes.append(f"lines {file.first} to {last} of {file.total}")
        elif not file.lines and file.total:
            notes.append(f"the file has {file.total} lines")
        text = "\n".join(file.lines) or "(nothing)"
        return self._result(_with_notes(text, notes), source=arguments.path)

    async def _list(self, arguments: ListArguments, context: ToolContext) -> ToolResult:
        limits = reading.WalkLimits(time.monotonic() + seconds_left(context, CALL_S))
        entries = await _walking(
            partial(
                reading.list_entries,
                self._root,
                arguments.path,
                arguments.pattern,
                arguments.depth,
                limits,
            ),
            limits,
        )
        lines = [_line_of(entry) for entry in entries]
        text = _with_notes("\n".join(lines) or "(empty)", _early(limits))
        return self._result(text, source=arguments.path)

    async def _search(self, arguments: FileSearchArguments, context: ToolContext) -> ToolResult:
        limits = reading.WalkLimits(time.monotonic() + seconds_left(context, CALL_S))
        matches = await _walking(
            partial(
                reading.search_lines,
                self._root,
                arguments.path,
                arguments.text,
                arguments.pattern,
                match_case=arguments.match_case,
                most_bytes=self._options.max_file_bytes,
                limits=limits,
            ),
            limits,
        )
        lines = [f"{match.path}:{match.line}: {match.text}" for match in matches]
        text = _with_notes("\n".join(lines) or "(no line contains it)", _early(limits))
        return self._result(text, source=arguments.path)

    async def _write(self, arguments: WriteArguments, _context: ToolContext) -> ToolResult:
        async with self._writing:
            replaced = await anyio.to_thread.run_sync(
                partial(
                    writing.write_text,
                    self._root,
                    arguments.path,
                    arguments.text,
                    overwrite=arguments.overwrite,
                    most_bytes=self._options.max_file_bytes,
                )
            )
        what = "Replaced" if replaced else "Created"
        size = len(arguments.text.encode())
        return ToolResult(f"{what} {arguments.path!r} ({size} bytes).", source=arguments.path)

    async def _edit(self, arguments: EditArguments, _context: ToolContext) -> ToolResult:
        async with self._writing:
            places = await anyio.to_thread.run_sync(
                partial(
                    writing.edit_text,
                    self._root,
                    arguments.path,
                    arguments.old,
                    arguments.new,
                    every=arguments.every,
                    most_bytes=self._options.max_file_bytes,
                )
            )
        return ToolResult(f"Replaced {places} place(s) in {arguments.path!r}.")

    def _result(self, text: str, source: str) -> ToolResult:
        return ToolResult(text, source=source, private=self._options.private)


def create_files(options: FilesOptions, context: ToolsetContext) -> FilesToolset:
    """Return the toolset for a runtime."""
    return FilesToolset(options, context.project)


def why_files_off(options: FilesOptions) -> str | None:
    """Return why the toolset cannot be used, or None."""
    if not is_supported():
        return "this system cannot open files relative to a folder; it needs Linux, macOS or BSD."
    if options.root and not Path(options.root).expanduser().is_absolute():
        return None  # relative to the folder that the program is started in
    if options.root and not Path(options.root).expanduser().is_dir():
        return f"tools.options.files.root is {options.root!r}, which is not a folder."
    return None


async def _in_thread(work: Callable[[], T]) -> T:
    return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)


async def _walking(work: Callable[[], T], limits: reading.WalkLimits) -> T:
    """Run a walk in a thread; it ends soon after a cancellation."""
    try:
        return await _in_thread(work)
    finally:
        limits.cancelled.set()


def _line_of(entry: reading.FolderEntry) -> str:
    if entry.kind == "file":
        return f"{entry.path} ({entry.size_bytes} bytes)"
    return f"{entry.path}/" if entry.kind == "folder" else f"{entry.path} ({entry.kind})"


def _early(limits: reading.WalkLimits) -> list[str]:
    return [f"not complete: {limits.reason}"] if limits.reason else []


def _with_notes(text: str, notes: list[Any]) -> str:
    return "\n".join([text, *(f"[{note}]" for note in notes)])
