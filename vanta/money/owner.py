"""Who holds a reservation: a process, told apart from every other that ever had its number.

Invariant: a process that may still run is never called gone. Only processes of this host, boot and
PID namespace can be looked at; of all others nothing is known, and their leases run out instead.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Owner:
    """host: where PIDs mean the same as here. process: PID and start time."""

    host: str
    process: str

    @property
    def gone(self) -> bool:
        """True if the process is surely over; only for one of this host."""
        if self.host != this_process().host:
            return False
        pid = int(self.process.partition(":")[0])
        return not _exists(pid) or _started(pid) not in ("", self.process.partition(":")[2])


def this_process() -> Owner:
    """The process that asks; a fork is another one."""
    return _owner(os.getpid())


@lru_cache(maxsize=2)
def _owner(pid: int) -> Owner:
    return Owner(_host(), f"{pid}:{_started(pid)}")


def _host() -> str:
    boot = _read(_PROC / "sys/kernel/random/boot_id").strip()
    try:
        space = str((_PROC / "self/ns/pid").readlink())
    except OSError:
        space = ""
    return f"{socket.gethostname()} {boot} {space}".strip()[:200]


def _started(pid: int) -> str:
    """When the process started, in ticks since boot; "" where the system does not say."""
    fields = _read(_PROC / str(pid) / "stat").rpartition(")")[2].split()
    # A zombie holds its number and nothing else: its start time reads as never.
    if fields and fields[0] == "Z":
        return "over"
    return fields[19] if len(fields) > 19 else ""


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it exists, and is somebody else's
    return True


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""
