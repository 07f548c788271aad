"""What was typed into `vanta chat` is in its history file, too: forgetting reaches there.

Invariant: the file has all its other lines as they were, and is there whole at any moment.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path


def forget_recent(texts: Iterable[str]) -> None:
    """Take them out of what this process would write into its history file at its end."""
    readline = sys.modules.get("readline")
    if readline is None:
        return
    whole = set(texts)
    for place in range(readline.get_current_history_length(), 0, -1):
        said = readline.get_history_item(place) or ""
        if said in whole or said.removeprefix("/") in whole:
            readline.remove_history_item(place - 1)


def forget_typed(history: Path, texts: Iterable[str]) -> int:
    """Take the lines of `texts` out of a history file; returns how many there were. Blocking.

    Raises OSError where the file cannot be changed.
    """
    try:
        lines = history.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return 0
    typed = {line.strip() for text in texts for line in text.splitlines()} - {""}
    kept = [line for line in lines if not _was_typed(line, typed)]
    if len(kept) < len(lines):
        _replace(history, b"".join(kept))
    return len(lines) - len(kept)


def _was_typed(line: bytes, typed: set[str]) -> bool:
    # A message that begins with a slash is typed with two.
    said = line.decode("utf-8", "replace").strip()
    return said in typed or said.removeprefix("/") in typed


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(f"{path.name}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - only so it has its mode from the start
            file.write(data)
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
