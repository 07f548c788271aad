"""The way to one process that runs Chroma, from start to end.

No task reads in the background: of the callers that wait for a reply, the one that waited longest
reads for all, and hands over when it has its own. Invariants: a caller that is cancelled leaves
whole frames behind it, in both directions, and its reply is passed over; a process that ended or
hangs is an error for each caller, never a wait without end.
"""

from __future__ import annotations

import math
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE
from typing import IO, Any

import anyio
import anyio.to_thread
from anyio.abc import Process

from vanta_chroma.frames import Cutter, Frame

_CHUNK = 1 << 18
_TAIL = 1 << 16
_LINE = 300
_LEAST_S = 0.5
GRACE_S = 5.0
"""What a process may take to end by itself, and how much longer than its limit it is waited for."""


class ChannelClosed(Exception):  # noqa: N818 - what happened to the channel is the error
    """The process is gone. at_work: it was working on the request that this is raised for."""

    def __init__(self, why: str, *, at_work: bool) -> None:
        super().__init__(why)
        self.at_work = at_work


class _Caller:
    """One that waits. reply: None until it came. left: cancelled, its reply is passed over."""

    __slots__ = ("left", "reply", "woken")

    def __init__(self) -> None:
        self.woken = anyio.Event()
        self.reply: Frame | None = None
        self.left = False


class Channel:
    """A process and those who wait for it."""

    def __init__(self, process: Process, errors: IO[bytes], limit_s: float) -> None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("the process was started without pipes")
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._errors = errors
        self._limit_s = limit_s + GRACE_S
        self._sending = anyio.Lock()
        self._cutter = Cutter()
        self._callers: dict[int, _Caller] = {}
        self._reader: _Caller | None = None
        self._since = -math.inf
        self._number = 0
        self._begun = False
        self._why: str | None = None

    @classmethod
    async def start(cls, settings: dict[str, Any], limit_s: float) -> Channel:
        """Start a process. Raises OSError."""
        with anyio.CancelScope(shield=True):
            errors = await anyio.to_thread.run_sync(tempfile.TemporaryFile)
            try:
                process = await anyio.open_process(
                    command(), stdin=PIPE, stdout=PIPE, stderr=errors
                )
            except BaseException:
                errors.close()
                raise
            channel = cls(process, errors, limit_s)
            first = Frame({**settings, "timeout_s": limit_s}).packed()
            await channel._write(first, anyio.CancelScope(shield=True), anyio.Event())
        return channel

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def usable(self) -> bool:
        """Whether the process can still be asked."""
        return self._why is None and self._process.returncode is None

    async def ask(self, head: dict[str, Any], body: bytes) -> Frame:
        """The reply to a request. Raises ChannelClosed."""
        caller = _Caller()
        try:
            number = await self._send(head, body, caller)
            return await self._reply(number, caller)
        finally:
            caller.left = True  # if any of it was sent, its reply will come, for nobody
            if self._reader is caller:
                self._reader = None
            self._hand_over()

    async def aclose(self) -> None:
        """End the process: by the end of its stdin, or by force if it does not take it."""
        with anyio.CancelScope(shield=True):
            self._why = self._why or "it was closed"
            with anyio.move_on_after(GRACE_S):
                await self._process.aclose()
            self._fail()

    async def last_words(self) -> str:
        """How the process ended, and the end of what it wrote to stderr; after `aclose`."""
        tail = await anyio.to_thread.run_sync(self._tail)
        status = self._process.returncode
        how = self._why if status is None else f"{self._why}, exit status {status}"
        return f"{how}; its last words: {tail!r}" if tail else str(how)

    def _tail(self) -> str:
        """The line of stderr that says most: that of the time limit, else the last one."""
        with self._errors as errors:
            errors.seek(max(0, errors.seek(0, 2) - _TAIL))
            lines = errors.read().decode("utf-8", "replace").strip().splitlines()
        told = [line for line in lines if line.startswith("Timeout (")] or lines[-1:]
        return told[-1][:_LINE] if told else ""

    async def _send(self, head: dict[str, Any], body: bytes, caller: _Caller) -> int:
        """Send a whole frame; its number. Whoever is cancelled meanwhile waits for the rest of it,
        not for long: the process reads all that comes at once, and is given up if it does not."""
        async with self._sending:
            self._number += 1
            if not self._callers:
                self._since = anyio.current_time()
            self._callers[self._number] = caller
            data = Frame({**head, "id": self._number}, body).packed()
            shield = anyio.CancelScope(shield=True, deadline=anyio.current_time() + self._limit_s)
            sent = anyio.Event()
            async with anyio.create_task_group() as group:
                group.start_soon(self._write, data, shield, sent)
                try:
                    await sent.wait()
                finally:
                    shield.deadline = min(shield.deadline, anyio.current_time() + GRACE_S)
            if self._why is not None:
                raise ChannelClosed(self._why, at_work=False)
            return self._number

    async def _write(self, data: bytes, shield: anyio.CancelScope, sent: anyio.Event) -> None:
        whole = False
        with shield, suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            await self._stdin.send(data)
            whole = True
        if not whole:
            self._end("it takes no requests any more")
        sent.set()

    async def _reply(self, number: int, caller: _Caller) -> Frame:
        while caller.reply is None:
            if self._why is not None:
                oldest = next(iter(self._callers), None)
                raise ChannelClosed(self._why, at_work=self._begun and number == oldest)
            if self._reader is None:
                self._reader = caller
            if self._reader is caller:
                await self._read()
            else:
                await caller.woken.wait()
                caller.woken = anyio.Event()
        return caller.reply

    async def _read(self) -> None:
        """Take what the process has said, for whoever it is."""
        left_s = self._since + self._limit_s - anyio.current_time()
        try:
            # What came while nobody read is there at once, however long ago that was.
            with anyio.fail_after(max(_LEAST_S, left_s)):
                data = await self._stdout.receive(_CHUNK)
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            self._end(f"it gave no answer for {self._limit_s:g} seconds")
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            self._end("it ended")
        else:
            for frame in self._cutter.feed(data):
                self._deliver(frame)

    def _deliver(self, frame: Frame) -> None:
        self._since = anyio.current_time()
        self._begun = True
        caller = self._callers.pop(frame.head["id"], None)
        if caller is not None:
            caller.reply = frame
            caller.woken.set()

    def _hand_over(self) -> None:
        """Let the one that has waited longest read, if nobody does."""
        if self._reader is None:
            waiting = (one for one in self._callers.values() if not one.left)
            if (next_one := next(waiting, None)) is not None:
                next_one.woken.set()

    def _end(self, why: str) -> None:
        """The process is of no use any more. It is not killed here: asyncio loses the exit status
        of one that is signalled after its end."""
        self._why = self._why or why
        self._fail()

    def _fail(self) -> None:
        for caller in self._callers.values():
            caller.woken.set()


def command() -> list[str]:
    """How the process is started: this interpreter, with the modules that are found here."""
    paths = [str(Path(path).absolute()) for path in sys.path]
    code = (
        f"import sys; sys.path[:] = {paths!r}; from vanta_chroma.child_process import main; main()"
    )
    return [sys.executable, "-P", "-c", code]
