"""Whether a partition's files are what Chroma had finished writing.

Chroma 1.5 overwrites the files of its graph in place, now and then, in the middle of a write; a
process that dies then leaves files that crash it later, or that load and find the wrong things.
So their sizes and checksums are written down whenever they have changed, after the write.
Invariant: what `check` passes is, byte for byte, what Chroma left behind by itself; anything else
is damaged, and is built again from the store. Chroma's SQLite file looks after itself: it is
checked by SQLite.
"""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

from vanta.errors import VectorIndexError

SEAL = "vanta.json"
DATABASE = "chroma.sqlite3"
_FORMAT = 1
_CHUNK = 1 << 20
Stamp = tuple[str, int, int, int]


def stamps(folder: Path) -> tuple[Stamp, ...]:
    """Name, size, time and number of each file of the graph; differs once one was written to."""
    found = []
    for path in _graph(folder):
        stat = path.stat()
        name = path.relative_to(folder).as_posix()
        found.append((name, stat.st_size, stat.st_mtime_ns, stat.st_ino))
    return tuple(found)


def begin(folder: Path) -> None:
    """Write down that nothing was put in yet, so that nothing is lost with the files."""
    _write(folder, {"format": _FORMAT, "begun": True})


def only_begun(folder: Path) -> bool:
    """Whether the process that began a partition ended before anything was in it."""
    try:
        return "begun" in _read(folder)
    except VectorIndexError:
        return False


def write(folder: Path, *, dimension: int, chroma: str) -> None:
    """Write down what the files of the graph are now, in one step."""
    files = {path.relative_to(folder).as_posix(): _sums(path) for path in _graph(folder)}
    told = {"format": _FORMAT, "chroma": chroma, "dimension": dimension, "files": files}
    _write(folder, told)


def _write(folder: Path, told: dict[str, Any]) -> None:
    partial = folder / f"{SEAL}.new"
    partial.write_text(json.dumps(told), "utf-8")
    partial.replace(folder / SEAL)


def check(folder: Path, *, dimension: int, chroma: str) -> None:
    """Raise VectorIndexError unless the files are sound and of a Chroma that this one can read."""
    told = _read(folder)
    if told.get("format") != _FORMAT or told.get("dimension") != dimension:
        raise damaged(folder, "it was made in another format, or for vectors of another length")
    if _version(told.get("chroma")) > _version(chroma):
        raise damaged(folder, f"it was made by Chroma {told['chroma']}, and this is {chroma}")
    files = {path.relative_to(folder).as_posix(): _sums(path) for path in _graph(folder)}
    if files != told.get("files"):
        raise damaged(folder, "its files are not what Chroma had finished writing")
    _check_database(folder)


def damaged(folder: Path, why: str) -> VectorIndexError:
    """The error for a partition that is to be built again."""
    return VectorIndexError(
        f"the vectors in {str(folder)!r} cannot be used: {why}. They are built again from the "
        "store; recall goes on without them meanwhile."
    )


def _read(folder: Path) -> dict[str, Any]:
    try:
        told = json.loads((folder / SEAL).read_text("utf-8"))
    except FileNotFoundError:
        raise damaged(folder, "writing it never ended, or files are missing") from None
    except (OSError, ValueError) as error:
        raise damaged(folder, f"{SEAL} cannot be read ({error})") from error
    return told if isinstance(told, dict) else {}


def _check_database(folder: Path) -> None:
    """SQLite mends what a killed process left half done; all else is damage."""
    path = folder / DATABASE
    if not path.is_file():
        raise damaged(folder, f"{DATABASE} is missing")
    try:
        with closing(sqlite3.connect(path, timeout=5.0)) as database:
            verdict = database.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        raise damaged(folder, f"{DATABASE} cannot be read ({error})") from error
    if verdict != ("ok",):
        raise damaged(folder, f"{DATABASE} is damaged ({verdict})")


def _graph(folder: Path) -> list[Path]:
    """The files of Chroma's segments, each in a folder of its segment."""
    found = []
    for segment in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if segment.is_dir(follow_symlinks=False):
            found += sorted(Path(segment.path).iterdir())
    return found


def _sums(path: Path) -> list[int]:
    size = total = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            size += len(chunk)
            total = zlib.crc32(chunk, total)
    return [size, total]


def _version(told: object) -> tuple[int, ...]:
    """1.5.9 as (1, 5, 9); what is no version is newer than any."""
    parts = str(told).split(".")[:3]
    return tuple(int(part) for part in parts) if all(map(str.isdecimal, parts)) else (1 << 30,)
