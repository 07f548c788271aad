"""Catches calls that block the event loop, by what they do and not by how long they take.

Python runs audit hooks before it connects, opens a file and so on (PEP 578). While a guard is
active, such a call by a task of an event loop is recorded with the line that made it. Calls without
an audit event in every Python (sleeping, SQLite statements) are wrapped.

It does not see reads and writes on blocking sockets and files that were open before, locks,
functions imported from their module before the guard (`from time import sleep`), or computation.

Invariant: it only records; the program behaves the same.
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
    """One call that blocked the event loop.

    :param event: name of the audit event.
    :param detail: argument of the call: a path, an address...
    :param where: file, line and function that made it.
    """

    event: str
    detail: str
    where: str

    def __str__(self) -> str:
        return f"{self.event} {self.detail} at {self.where}"


class LoopGuard:
    """Records blocking calls in `calls` while its context is open.

    :param events: names of audit events to record.
    :param ignore: files whose own calls are ignored; calls of the code that they call are not.
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
            sys.addaudithook(_audit)  # permanent: Python cannot remove an audit hook
        if not LoopGuard._active:
            _wrap()
        LoopGuard._active.append(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        LoopGuard._active.remove(self)
        if not LoopGuard._active:
            _unwrap()

    def note(self, event: str, detail: str, caller: FrameType | None) -> None:
        """Record a call if it is one to record; for this module.

        :param event: name of the audit event.
        :param detail: argument of the call.
        :param caller: frame that made the call, None for an import.
        """
        if event not in self.events or caller is None:
            return
        if caller.f_code.co_filename not in self.ignore:
            where = f"{caller.f_code.co_filename}:{caller.f_lineno} in {caller.f_code.co_name}"
            self.calls.append(BlockingCall(event, detail, where))

    @classmethod
    def active(cls) -> tuple[LoopGuard, ...]:
        """Return the guards whose context is open."""
        return tuple(cls._active)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if event in BLOCKING and LoopGuard.active() and _blocks(event, args) and _on_a_loop():
        _note(event, str(args[1] if event == "socket.connect" else args[0] if args else ""))


def _note(event: str, detail: str) -> None:
    caller = _caller(sys._getframe(2))  # noqa: SLF001 - the only way to find the caller
    for guard in LoopGuard.active():
        guard.note(event, detail, caller)


def _wrap() -> None:
    sqlite3.connect = sqlite3.dbapi2.connect = _connect  # type: ignore[assignment]
    if sys.version_info < (3, 13):  # later versions have an audit event
        time.sleep = _sleep


def _unwrap() -> None:
    sqlite3.connect = sqlite3.dbapi2.connect = _real_connect
    time.sleep = _real_sleep


def _sleep(seconds: float | SupportsIndex) -> None:
    _audit("time.sleep", (seconds,))
    _real_sleep(seconds)


def _connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
    """Return a connection whose statements are recorded: they block their task."""

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
    """Return whether resolving `host` needs no server: it is an address, or empty."""
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
    """Return the nearest frame outside the standard library; None during an import."""
    caller: FrameType | None = None
    while frame is not None:
        filename = frame.f_code.co_filename
        if filename.startswith("<frozen importlib"):
            return None
        if caller is None and _is_ours(filename):
            caller = frame
        frame = frame.f_back
    return caller


def _is_ours(filename: str) -> bool:
    return filename != __file__ and (filename.startswith(_SITE) or not filename.startswith(_STDLIB))
