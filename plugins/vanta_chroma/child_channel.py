"""The connection to one child process that runs Chroma, from its start to its end.

No task reads in the background: of the callers that wait for a reply, the one that has waited
longest reads for all, and the next one takes over when it has its own reply. Invariants: a caller
that is cancelled leaves only whole frames behind, in both directions, and its reply is discarded;
a process that ended or hangs is an error for every caller, never an endless wait.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE
from typing import IO, Any

import anyio
import anyio.to_thread
from anyio.abc import Process

from vanta_chroma.frames import Frame, FrameDecoder

GRACE_S = 5.0
"""Seconds in which a process must end by itself, and by which a reply may exceed its time limit."""

_CHUNK = 1 << 18
_MAX_STDERR = 1 << 16
_MAX_LINE = 300
_MIN_READ_S = 0.5


_NO_SETTINGS_HERE = Path(__file__).parent
"""Where the process runs. Chroma reads a file `.env` of its working directory when it is imported,
which may be a stranger's and can name any class of Chroma's to load."""


class ChannelClosedError(Exception):
    """The process has ended. was_busy: it was working on the request that raises this."""

    def __init__(self, reason: str, *, was_busy: bool) -> None:
        super().__init__(reason)
        self.was_busy = was_busy


class _Caller:
    """A waiting caller. reply: None until it arrives. has_left: cancelled, discard its reply."""

    __slots__ = ("has_left", "reply", "woken")

    def __init__(self) -> None:
        self.woken = anyio.Event()
        self.reply: Frame | None = None
        self.has_left = False


class ChildChannel:
    """A child process and the callers that wait for its replies.

    limit_s: seconds without any reply after which a busy process counts as hanging. grace_s:
    seconds in which it must end when it is closed. clock: returns seconds, monotonic.
    """

    def __init__(
        self,
        process: Process,
        errors: IO[bytes],
        limit_s: float,
        *,
        clock: Callable[[], float] = anyio.current_time,
    ) -> None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("the process was started without pipes")
        self.limit_s = limit_s + GRACE_S
        self.grace_s = GRACE_S
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._errors = errors
        self._clock = clock
        self._sending = anyio.Lock()
        self._decoder = FrameDecoder()
        self._callers: dict[int, _Caller] = {}
        self._reader: _Caller | None = None
        self._last_progress = -math.inf
        self._last_id = 0
        self._has_replied = False
        self._end_reason: str | None = None

    @classmethod
    async def start(
        cls,
        settings: dict[str, Any],
        limit_s: float,
        *,
        clock: Callable[[], float] = anyio.current_time,
    ) -> ChildChannel:
        """Start a process with `settings`. limit_s: time limit of one request. Raises OSError."""
        with anyio.CancelScope(shield=True):
            errors = await anyio.to_thread.run_sync(tempfile.TemporaryFile)
            try:
                process = await anyio.open_process(
                    _command(), stdin=PIPE, stdout=PIPE, stderr=errors, cwd=_NO_SETTINGS_HERE
                )
            except BaseException:
                errors.close()
                raise
            channel = cls(process, errors, limit_s, clock=clock)
            first = Frame({**settings, "timeout_s": limit_s}).packed()
            await channel._write(first, anyio.CancelScope(shield=True), anyio.Event())
        return channel

    @property
    def pid(self) -> int:
        """The pid of the process."""
        return self._process.pid

    @property
    def is_usable(self) -> bool:
        """Whether the process can take requests."""
        return self._end_reason is None and self._process.returncode is None

    @property
    def pending(self) -> int:
        """Number of requests that were sent and have no reply yet."""
        return len(self._callers)

    async def request(self, head: dict[str, Any], body: bytes) -> Frame:
        """Send a request and return its reply. Raises ChannelClosedError."""
        caller = _Caller()
        try:
            request_id = await self._send(head, body, caller)
            return await self._reply(request_id, caller)
        finally:
            caller.has_left = True  # a reply that arrives later is discarded
            if self._reader is caller:
                self._reader = None
            self._wake_next_reader()

    async def aclose(self) -> None:
        """End the process by closing its stdin, or by force if that does not end it in time."""
        with anyio.CancelScope(shield=True):
            self._end_reason = self._end_reason or "it was closed"
            with anyio.move_on_after(self.grace_s):
                await self._process.aclose()
            self._wake_all()

    async def post_mortem(self) -> str:
        """Return how the process ended, with the end of its stderr. Call it after `aclose`."""
        line = await anyio.to_thread.run_sync(self._last_line)
        status = self._process.returncode
        reason = self._end_reason if status is None else f"{self._end_reason}, exit status {status}"
        return f"{reason}; its last output: {line!r}" if line else str(reason)

    def _last_line(self) -> str:
        """Return the line of stderr about the time limit if there is one, otherwise the last."""
        with self._errors as errors:
            errors.seek(max(0, errors.seek(0, 2) - _MAX_STDERR))
            lines = errors.read().decode("utf-8", "replace").strip().splitlines()
        lines = [line for line in lines if line.startswith("Timeout (")] or lines[-1:]
        return lines[-1][:_MAX_LINE] if lines else ""

    async def _send(self, head: dict[str, Any], body: bytes, caller: _Caller) -> int:
        """Send a whole frame and return its id.

        A caller that is cancelled meanwhile waits for the rest of the frame. That is short: the
        process reads everything at once, and is abandoned if it does not.
        """
        async with self._sending:
            self._last_id += 1
            if not self._callers:
                self._last_progress = self._clock()
            self._callers[self._last_id] = caller
            data = Frame({**head, "id": self._last_id}, body).packed()
            shield = anyio.CancelScope(shield=True, deadline=anyio.current_time() + self.limit_s)
            is_sent = anyio.Event()
            async with anyio.create_task_group() as group:
                group.start_soon(self._write, data, shield, is_sent)
                try:
                    await is_sent.wait()
                finally:
                    shield.deadline = min(shield.deadline, anyio.current_time() + self.grace_s)
            if self._end_reason is not None:
                raise ChannelClosedError(self._end_reason, was_busy=False)
            return self._last_id

    async def _write(self, data: bytes, shield: anyio.CancelScope, is_sent: anyio.Event) -> None:
        is_complete = False
        with shield, suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            await self._stdin.send(data)
            is_complete = True
        if not is_complete:
            self._end("it no longer accepts requests")
        is_sent.set()

    async def _reply(self, request_id: int, caller: _Caller) -> Frame:
        while caller.reply is None:
            if self._end_reason is not None:
                oldest = next(iter(self._callers), None)
                was_busy = self._has_replied and request_id == oldest
                raise ChannelClosedError(self._end_reason, was_busy=was_busy)
            if self._reader is None:
                self._reader = caller
            if self._reader is caller:
                await self._read()
            else:
                await caller.woken.wait()
                caller.woken = anyio.Event()
        return caller.reply

    async def _read(self) -> None:
        """Receive data from the process and deliver the replies in it."""
        left_s = self._last_progress + self.limit_s - self._clock()
        try:
            # A reply that arrived while no caller was reading is available at once, however old.
            with anyio.fail_after(max(_MIN_READ_S, left_s)):
                data = await self._stdout.receive(_CHUNK)
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            self._end(f"it gave no answer for {self.limit_s:g} seconds")
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            self._end("it ended")
        else:
            for frame in self._decoder.feed(data):
                self._deliver(frame)

    def _deliver(self, frame: Frame) -> None:
        self._last_progress = self._clock()
        self._has_replied = True
        caller = self._callers.pop(frame.head["id"], None)
        if caller is not None:
            caller.reply = frame
            caller.woken.set()

    def _wake_next_reader(self) -> None:
        """Let the caller that has waited longest read, unless another one is reading."""
        if self._reader is None:
            waiting = (caller for caller in self._callers.values() if not caller.has_left)
            if (next_reader := next(waiting, None)) is not None:
                next_reader.woken.set()

    def _end(self, reason: str) -> None:
        """Record that the process is of no further use.

        It is not killed here: asyncio loses the exit status of a process that is signalled after
        its end.
        """
        self._end_reason = self._end_reason or reason
        self._wake_all()

    def _wake_all(self) -> None:
        for caller in self._callers.values():
            caller.woken.set()


def _command() -> list[str]:
    """Return the command that starts the process: this interpreter with this module search path."""
    paths = [str(Path(path).absolute()) for path in sys.path]
    code = (
        f"import sys; sys.path[:] = {paths!r}; from vanta_chroma.child_process import main; main()"
    )
    return [sys.executable, "-P", "-c", code]
