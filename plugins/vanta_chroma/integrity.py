"""Checks that a partition's files are exactly what Chroma had finished writing.

Chroma 1.5 overwrites the files of its graph in place, now and then, in the middle of a write. A
process that dies at that moment leaves files that crash Chroma later, or that load and return wrong
neighbours. A manifest therefore records their sizes and checksums after each write that changed
them. Invariant: files that pass `verify` are byte for byte what Chroma left by itself; all others
are damaged, and the partition is rebuilt from the store. Chroma's SQLite file repairs itself, so
SQLite checks that one.
"""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

from vanta import VectorIndexError
from vanta.files import open_file, parse_json, read_file

_MOST_BYTES = 1 << 24

MANIFEST = "vanta.json"
DATABASE = "chroma.sqlite3"
_FORMAT = 1
_CHUNK = 1 << 20
_UNKNOWN_VERSION = (1 << 30,)
FileStamp = tuple[str, int, int, int]


def file_stamps(folder: Path) -> tuple[FileStamp, ...]:
    """Return name, size, time and inode of each graph file; any write changes the result."""
    stamps = []
    for path in _graph_files(folder):
        stat = path.stat()
        name = path.relative_to(folder).as_posix()
        stamps.append((name, stat.st_size, stat.st_mtime_ns, stat.st_ino))
    return tuple(stamps)


def mark_started(folder: Path) -> None:
    """Record that the partition is still empty, so nothing is lost if its files are removed."""
    _write(folder, {"format": _FORMAT, "begun": True})


def is_only_started(folder: Path) -> bool:
    """Return whether the process that started a partition ended before writing any vectors."""
    try:
        return "begun" in _read(folder)
    except VectorIndexError:
        return False


def write_manifest(folder: Path, *, dimension: int, chroma_version: str) -> None:
    """Record the current state of the graph files, atomically."""
    manifest = {
        "format": _FORMAT,
        "chroma": chroma_version,
        "dimension": dimension,
        "files": _checksums(folder),
    }
    _write(folder, manifest)


def verify(folder: Path, *, dimension: int, chroma_version: str) -> None:
    """Raise VectorIndexError unless the files are whole and readable by this Chroma version."""
    manifest = _read(folder)
    if manifest.get("format") != _FORMAT or manifest.get("dimension") != dimension:
        raise damage_error(folder, "they have another format, or vectors of another length")
    if _version(manifest.get("chroma")) > _version(chroma_version):
        raise damage_error(
            folder, f"Chroma {manifest['chroma']} wrote them, and {chroma_version} is installed"
        )
    if _checksums(folder) != manifest.get("files"):
        raise damage_error(folder, "the files differ from what Chroma had finished writing")
    _check_database(folder)


def damage_error(folder: Path, problem: str) -> VectorIndexError:
    """Return the error for a partition that has to be rebuilt."""
    return VectorIndexError(
        f"the vectors in {str(folder)!r} cannot be used: {problem}. They are rebuilt from the "
        "store; recall continues without them meanwhile."
    )


def _write(folder: Path, manifest: dict[str, Any]) -> None:
    partial = folder / f"{MANIFEST}.new"
    partial.write_text(json.dumps(manifest), "utf-8")
    partial.replace(folder / MANIFEST)


def _read(folder: Path) -> dict[str, Any]:
    try:
        manifest = parse_json(read_file(folder / MANIFEST, _MOST_BYTES))
    except FileNotFoundError:
        raise damage_error(folder, "they were never completed, or files are missing") from None
    except (OSError, ValueError) as error:
        raise damage_error(folder, f"{MANIFEST} cannot be read ({error})") from error
    return manifest if isinstance(manifest, dict) else {}


def _check_database(folder: Path) -> None:
    """SQLite repairs what a killed process left unfinished; anything else is damage."""
    path = folder / DATABASE
    if not path.is_file():
        raise damage_error(folder, f"{DATABASE} is missing")
    try:
        with closing(sqlite3.connect(path, timeout=5.0)) as database:
            verdict = database.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        raise damage_error(folder, f"{DATABASE} cannot be read ({error})") from error
    if verdict != ("ok",):
        raise damage_error(folder, f"{DATABASE} is damaged ({verdict})")


def _graph_files(folder: Path) -> list[Path]:
    """Return the files of Chroma's segments; each segment has its own folder."""
    files = []
    for segment in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if segment.is_dir(follow_symlinks=False):
            files += sorted(Path(segment.path).iterdir())
    return files


def _checksums(folder: Path) -> dict[str, list[int]]:
    return {path.relative_to(folder).as_posix(): _checksum(path) for path in _graph_files(folder)}


def _checksum(path: Path) -> list[int]:
    size = checksum = 0
    with open_file(path, 1 << 42) as file:
        while chunk := file.read(_CHUNK):
            size += len(chunk)
            checksum = zlib.crc32(chunk, checksum)
    return [size, checksum]


def _version(text: object) -> tuple[int, ...]:
    """Parse 1.5.9 as (1, 5, 9); anything else counts as newer than every version."""
    parts = str(text).split(".")[:3]
    return tuple(map(int, parts)) if all(map(str.isdecimal, parts)) else _UNKNOWN_VERSION
