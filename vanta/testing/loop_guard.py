"""Catches calls that block the event loop, by what they do and not by how long they take.

Python tells audit hooks of connecting, opening and the like before it happens (PEP 578). While a
guard is active, such a call made by a task of an event loop is written down, with the line that
made it. What has no audit event in every Python (sleeping, SQLite's statements) is watched by
wrapping it. Invariant: it changes nothing that the program does; it only notes.

What it cannot see: reads and writes on blocking sockets and files that were open before, locks,
functions taken out of their module before the guard (`from time import sleep`), plain computation.
"""

from __future__ import annotations

import ipaddress
import sqlite3
import sqlite3.dbapi2
import sys
import sysconfig
import time
from dataclasses import dataclass
from types import FrameType
from typing import Any, ClassVar, Self, SupportsIndex

import anyio

BLOCKING = frozenset(
    {
        "open",
        "os.system",
        "socket.connect",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "sqlite3.connect",
        "subprocess.Popen",
        "time.sleep",
        "urllib.Request",
    }
)
_real_sleep = time.sleep
_real_connect = sqlite3.connect
_STDLIB = (sysconfig.get_path("stdlib"), "<frozen", "<string>")
_SITE = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))


@dataclass(frozen=True, slots=True)
class BlockingCall:
    """One call that blocked: the audit event's name, what it was about, and who made it."""

    event: str
    detail: str
    where: str

    def __str__(self) -> str:
        return f"{self.event} {self.detail} at {self.where}"


class LoopGuard:
    """Notes blocking calls while its context is open, in `calls`.

    events: audit events to look for. ignore: files whose own calls do not count (what they call
    into does).
    """

    _active: ClassVar[list[LoopGuard]] = []
    _hooked: ClassVar[bool] = False

    def __init__(self, *, events: frozenset[str] = BLOCKING, ignore: tuple[str, ...] = ()) -> None:
        self.events = events
        self.ignore = ignore
        self.calls: list[BlockingCall] = []

    def __enter__(self) -> Self:
        if not LoopGuard._hooked:
            LoopGuard._hooked = True
            sys.addaudithook(_audit)  # for good: Python has no way to take one off
        if not LoopGuard._active:
            _wrap()
        LoopGuard._active.append(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        LoopGuard._active.remove(self)
        if not LoopGuard._active:
            _unwrap()

    def note(self, event: str, detail: str, caller: FrameType | None) -> None:
        """Write a call down, unless it is not looked for."""
        if event not in self.events or caller is None:
            return
        if caller.f_code.co_filename not in self.ignore:
            where = f"{caller.f_code.co_filename}:{caller.f_lineno} in {caller.f_code.co_name}"
            self.calls.append(BlockingCall(event, detail, where))

    @classmethod
    def active(cls) -> tuple[LoopGuard, ...]:
        """The guards whose context is open."""
        return tuple(cls._active)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if event in BLOCKING and LoopGuard.active() and _blocks(event, args) and _on_a_loop():
        _note(event, str(args[1] if event == "socket.connect" else args[0] if args else ""))


def _note(event: str, detail: str) -> None:
    caller = _caller(sys._getframe(2))  # noqa: SLF001 - the only way to say who it was
    for guard in LoopGuard.active():
        guard.note(event, detail, caller)


def _wrap() -> None:
    sqlite3.connect = sqlite3.dbapi2.connect = _connect  # type: ignore[assignment]
    if sys.version_info < (3, 13):  # from then on there is an audit event
        time.sleep = _sleep


def _unwrap() -> None:
    sqlite3.connect = sqlite3.dbapi2.connect = _real_connect
    time.sleep = _real_sleep


def _sleep(seconds: float | SupportsIndex) -> None:
    _audit("time.sleep", (seconds,))
    _real_sleep(seconds)


def _connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
    """A connection whose statements are watched: they block whoever runs them."""

    def on_statement(statement: str) -> None:
        if _on_a_loop():
            _note("sqlite3.connect", statement.partition("\n")[0][:60])

    connection: sqlite3.Connection = _real_connect(*args, **kwargs)
    connection.set_trace_callback(on_statement)
    return connection


def _blocks(event: str, args: tuple[Any, ...]) -> bool:
    if event == "socket.connect":
        return bool(args[0].gettimeout() != 0)
    if event == "socket.getaddrinfo":
        return not _is_address(args[0])
    return event != "time.sleep" or bool(args[0] > 0)


def _is_address(host: Any) -> bool:
    """Whether looking up `host` asks no server: it is an address, or none at all."""
    try:
        ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host or "::")
    except ValueError:
        return False
    return True


def _on_a_loop() -> bool:
    try:
        anyio.get_current_task()
    except (RuntimeError, LookupError):
        return False
    return True


def _caller(frame: FrameType | None) -> FrameType | None:
    """The nearest frame outside the standard library; None where a module is being imported."""
    found: FrameType | None = None
    while frame is not None:
        filename = frame.f_code.co_filename
        if filename.startswith("<frozen importlib"):
            return None
        if found is None and _is_ours(filename):
            found = frame
        frame = frame.f_back
    return found


def _is_ours(filename: str) -> bool:
    return filename != __file__ and (filename.startswith(_SITE) or not filename.startswith(_STDLIB))
