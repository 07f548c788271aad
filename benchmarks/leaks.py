"""What is left behind: tasks, threads and sockets, counted before and after.

Invariant: a count is of this process alone; None where the system does not tell (sockets without
`/proc`).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import anyio

_DESCRIPTORS = Path("/proc/self/fd")


@dataclass(slots=True)
class Left:
    """How many more there are than before; sockets None where they cannot be counted."""

    tasks: int = 0
    threads: int = 0
    sockets: int | None = 0


def tasks() -> int:
    """Tasks of the running event loop."""
    return len(anyio.get_running_tasks())


def threads() -> int:
    """Threads of this process that Python knows."""
    return len(threading.enumerate())


def sockets() -> int | None:
    """Open sockets of this process."""
    if not _DESCRIPTORS.is_dir():
        return None
    return sum(_is_socket(entry) for entry in _DESCRIPTORS.iterdir())


def _is_socket(descriptor: Path) -> bool:
    try:
        return str(descriptor.readlink()).startswith("socket:")
    except OSError:  # the one that listed the folder is gone by now
        return False
