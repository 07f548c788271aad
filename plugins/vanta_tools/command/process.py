"""One run of a program: its own process group, bounded output, gone when the run ends.

Invariant: when `run_program` returns or is cancelled, no process of the group is left, and on Linux
none of the session, which a job of a shell does not leave. A process that makes a session of its
own (`setsid`) is out of reach.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import anyio
import anyio.to_thread
from anyio.abc import ByteReceiveStream, Process

from vanta.files import read_file

GRACE_S = 0.5
"""Seconds between the request to end (SIGTERM) and the end (SIGKILL)."""

MAX_TOTAL_BYTES = 64_000_000
"""Output after which a program is stopped, even if it is not shown."""

_CHUNK = 65_536
_SESSION_ROUNDS = 20  # a process may fork while the others are killed
_F_GETPATH = 50  # of macOS, whose kernel has no /proc


@dataclass(slots=True)
class BoundedOutput:
    """The beginning and the end of an output.

    :param most_bytes: bytes that are kept.
    """

    most_bytes: int
    head: bytearray = field(default_factory=bytearray)
    tail: bytearray = field(default_factory=bytearray)
    size: int = 0

    def add(self, data: bytes) -> None:
        """Keep what belongs to the beginning or, so far, to the end."""
        self.size += len(data)
        half = self.most_bytes // 2
        room = half - len(self.head)
        self.head += data[:room] if room > 0 else b""
        rest = data[room:] if room > 0 else data
        self.tail += rest
        if len(self.tail) > 2 * half + _CHUNK:
            del self.tail[:-half]

    @property
    def text(self) -> str:
        """The output, with a mark in place of its middle if it was cut."""
        half = self.most_bytes // 2
        tail = bytes(self.tail[-half:])
        cut = self.size - len(self.head) - len(tail)
        if cut <= 0:
            return (bytes(self.head) + tail).decode("utf-8", "replace")
        middle = f"\n[{cut} bytes are left out]\n"
        return f"{self.head.decode('utf-8', 'ignore')}{middle}{tail.decode('utf-8', 'ignore')}"


@dataclass(frozen=True, slots=True)
class ProgramRun:
    """What a program did.

    :param exit_code: its exit code; minus the signal's number if a signal ended it.
    :param output: what it wrote to its standard output.
    :param errors: what it wrote to its standard error.
    :param stopped: why it was stopped; "" if it ended by itself.
    """

    exit_code: int | None
    output: str
    errors: str
    stopped: str = ""


async def run_program(
    path: str,
    argv: Sequence[str],
    *,
    folder: int,
    environ: Mapping[str, str],
    stdin: bytes,
    timeout_s: float,
    most_bytes: int,
) -> ProgramRun:
    """Run a program to its end, or to the end of its time.

    :param path: its file.
    :param argv: its name and its arguments.
    :param folder: descriptor of the folder that it runs in.
    :param environ: its environment.
    :param stdin: its standard input.
    :param timeout_s: seconds after which it is stopped.
    :param most_bytes: bytes that are kept of each output.
    :raises OSError: if it cannot be started.
    """
    process = await anyio.open_process(
        [path, *argv[1:]],
        cwd=_folder_path(folder),
        env=dict(environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    output, errors = BoundedOutput(most_bytes), BoundedOutput(most_bytes)
    exit_code, stopped = None, ""
    try:
        with anyio.move_on_after(timeout_s) as scope:
            exit_code = await _follow(process, stdin, output, errors)
        if scope.cancelled_caught:
            stopped = f"it was stopped after {timeout_s:.3g} seconds"
        elif exit_code is None:
            stopped = f"it was stopped after {MAX_TOTAL_BYTES:,} bytes of output"
    finally:
        await _end_group(process)
    return ProgramRun(exit_code, output.text, errors.text, stopped)


async def _follow(
    process: Process, stdin: bytes, output: BoundedOutput, errors: BoundedOutput
) -> int | None:
    """Serve the streams until the program has ended; None if it wrote too much.

    A process that it left behind may hold the streams open: they are not waited for.
    """
    exit_code: int | None = None
    async with anyio.create_task_group() as tasks:

        async def drain(stream: ByteReceiveStream | None, into: BoundedOutput) -> None:
            if stream is None:
                return
            with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
                async for data in stream:
                    into.add(data)
                    if into.size > MAX_TOTAL_BYTES:
                        tasks.cancel_scope.cancel()

        async def feed() -> None:
            if process.stdin is None:
                return
            with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
                if stdin:
                    await process.stdin.send(stdin)
                await process.stdin.aclose()

        async with anyio.create_task_group() as readers:
            tasks.start_soon(feed)
            readers.start_soon(drain, process.stdout, output)
            readers.start_soon(drain, process.stderr, errors)
            exit_code = await process.wait()
            _signal_group(process, signal.SIGKILL)
            # What is in the pipes is read; a process outside the group may keep them open.
            readers.cancel_scope.deadline = anyio.current_time() + GRACE_S
        tasks.cancel_scope.cancel()
    return exit_code


async def _end_group(process: Process) -> None:
    """End the process group: at once if the program has ended, otherwise after a short grace."""
    with anyio.CancelScope(shield=True):
        if process.returncode is None:
            _signal_group(process, signal.SIGTERM)
            with anyio.move_on_after(GRACE_S):
                await process.wait()
        _signal_group(process, signal.SIGKILL)
        await process.wait()
        await process.aclose()
        await anyio.to_thread.run_sync(_end_session, process.pid)


def _signal_group(process: Process, number: signal.Signals) -> None:
    """Send a signal to every process of the group. Its leader's id is the group's."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _end_session(session: int) -> None:
    """Kill the processes that left the group but not the session; nothing without /proc."""
    for _ in range(_SESSION_ROUNDS):
        members = list(_session_members(session))
        if not members:
            return
        for pid in members:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _session_members(session: int) -> Iterator[int]:
    """Yield the processes of a session that are alive."""
    try:
        names = os.listdir("/proc")  # noqa: PTH208 - names of the kernel
    except OSError:
        return
    for name in names:
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                status = read_file(f"/proc/{name}/stat", 4096).rpartition(b")")[2].split()
                if int(status[3]) == session and status[0] not in {b"Z", b"X"}:
                    yield int(name)


def _folder_path(descriptor: int) -> str:
    """Return a path that leads to an open folder, whatever takes the place of its name."""
    path = f"/proc/self/fd/{descriptor}"
    if os.path.isdir(path):  # noqa: PTH112 - of the kernel
        return path
    import fcntl

    return os.fsdecode(fcntl.fcntl(descriptor, _F_GETPATH, bytes(1024)).rstrip(b"\0"))
