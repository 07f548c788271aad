"""Reservations, the money that one leg may spend, and the processes that hold them.

Invariant: a process that may still run is never reported as gone. Only processes of this host, boot
and PID namespace can be inspected; the reservations of all others end with their leases.
"""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from vanta.money.amounts import usd

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Money set aside for one leg.

    :param user: the user who pays.
    :param session: the session that pays.
    :param turn: the turn that pays.
    :param track: the track of the leg.
    :param amount: the amount in nano-USD.
    :param day: the UTC day that pays, as 2026-01-31.
    :param expires_at: seconds since the epoch after which the money of an unreachable process is
        settled at the reservation.
    :param held: False if no cap is set, so that nothing is set aside and the leg is only recorded.
    :param id: the leg's unique id.
    """

    user: str
    session: str
    turn: str
    track: str
    amount: int
    day: str
    expires_at: float
    held: bool = True
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def usd(self) -> float:
        """The amount in US dollars."""
        return usd(self.amount)


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that holds a reservation, distinct from every other that had its PID.

    :param host: host, boot and PID namespace, within which PIDs are comparable.
    :param process: PID and start time.
    """

    host: str
    process: str

    @property
    def gone(self) -> bool:
        """True if the process has certainly ended; only known for processes of this host."""
        if self.host != this_process().host:
            return False
        pid = int(self.process.partition(":")[0])
        return not _exists(pid) or _started(pid) not in ("", self.process.partition(":")[2])


def this_process() -> Owner:
    """Return the calling process as an owner.

    :returns: the same owner at each call, but another one after a fork.
    """
    return _owner(os.getpid())


@lru_cache(maxsize=2)
def _owner(pid: int) -> Owner:
    return Owner(_host(), f"{pid}:{_started(pid)}")


def _host() -> str:
    boot = _read(_PROC / "sys/kernel/random/boot_id").strip()
    try:
        namespace = str((_PROC / "self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return f"{socket.gethostname()} {boot} {namespace}".strip()[:200]


def _started(pid: int) -> str:
    """Return when the process started, in ticks since boot, or "" if the system does not say."""
    fields = _read(_PROC / str(pid) / "stat").rpartition(")")[2].split()
    # A zombie holds its PID and nothing else: its start time reads as never.
    if fields and fields[0] == "Z":
        return "over"
    return fields[19] if len(fields) > 19 else ""


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it exists and belongs to another user
    return True


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""
