"""The transport to a server that is a program: JSON-RPC on its stdin and stdout, line by line.

Invariant: the program gets a short list of variables, runs in a process group of its own, and no
process of that group is left when the transport ends, however it ends. What it writes is bounded:
a line longer than the bound ends the connection, and of its stderr only the end is kept.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import ByteReceiveStream, Process
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from vanta import ToolError
from vanta.text import printable
from vanta_mcp.client.messages import MAX_MESSAGE_BYTES, read_message
from vanta_mcp.settings import Server

if TYPE_CHECKING:
    from mcp.shared.message import SessionMessage

CLOSE_S = 1.0
"""Seconds that a program has to end after its stdin was closed, and again after SIGTERM."""

_CHUNK = 65_536
_KEPT_ERRORS = 2000
_POLL_S = 0.01


class ProgramTransport:
    """The program of one server.

    :param server: the server.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._errors = bytearray()
        self.ended = anyio.Event()
        self.why_ended = ""

    @property
    def last_words(self) -> str:
        """The end of what the program wrote to stderr, on one line."""
        lines = self._errors.decode("utf-8", "replace").split("\n")
        text = " | ".join(printable(line.strip()) for line in lines if line.strip())
        return text[-300:]

    @asynccontextmanager
    async def open(
        self,
    ) -> AsyncIterator[
        tuple[MemoryObjectReceiveStream[Any], MemoryObjectSendStream[SessionMessage]]
    ]:
        """Start the program; yield the streams of its messages.

        :raises ToolError: if it cannot be started.
        """
        process = await self._start()
        from_server, incoming = anyio.create_memory_object_stream[Any](0)
        outgoing, to_server = anyio.create_memory_object_stream[Any](0)
        try:
            async with anyio.create_task_group() as tasks, from_server, incoming, outgoing:
                tasks.start_soon(self._read, process, from_server)
                tasks.start_soon(self._write, process, to_server)
                tasks.start_soon(self._keep_errors, process.stderr)
                try:
                    yield incoming, outgoing
                finally:
                    tasks.cancel_scope.cancel()
        finally:
            await _end(process)

    async def _start(self) -> Process:
        config = self._server.config
        expanded = self._server.expanded
        command = expanded(config.command or "")
        folder = self._server.folder / expanded(config.cwd or ".")
        try:
            return await anyio.open_process(
                [command, *map(expanded, config.args)],
                env=self._server.environment(),
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ToolError(
                f"the program {command!r} of server {self._server.name!r} cannot be started in "
                f"{str(folder)!r}: {reason}. Check mcp.servers.{self._server.name}.command."
            ) from error

    async def _read(self, process: Process, into: MemoryObjectSendStream[Any]) -> None:
        assert process.stdout is not None  # noqa: S101 - opened with a pipe
        pending = bytearray()
        with contextlib.suppress(
            anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError, OSError
        ):
            while not self.why_ended:
                data = await process.stdout.receive(_CHUNK)
                *lines, rest = data.split(b"\n")
                if lines:
                    lines[0] = bytes(pending) + lines[0]
                    pending.clear()
                pending += rest
                if len(pending) > MAX_MESSAGE_BYTES:
                    self.why_ended = f"it sent a message of more than {MAX_MESSAGE_BYTES:,} bytes"
                for line in lines:
                    message = read_message(line)
                    if message is not None:
                        await into.send(message)
        self.ended.set()
        await into.aclose()

    async def _write(self, process: Process, messages: MemoryObjectReceiveStream[Any]) -> None:
        assert process.stdin is not None  # noqa: S101 - opened with a pipe
        with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
            async with messages:
                async for item in messages:
                    text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                    await process.stdin.send(text.encode() + b"\n")
        self.ended.set()

    async def _keep_errors(self, stream: ByteReceiveStream | None) -> None:
        if stream is None:
            return
        with contextlib.suppress(
            anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError, OSError
        ):
            while True:
                self._errors += await stream.receive(_CHUNK)
                del self._errors[:-_KEPT_ERRORS]


async def _end(process: Process) -> None:
    """End the program and its group: first its stdin is closed, then it is asked, then killed."""
    with anyio.CancelScope(shield=True):
        if process.stdin is not None:
            with contextlib.suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                await process.stdin.aclose()
        if not await _has_ended(process):
            _signal_group(process, signal.SIGTERM)
            await _has_ended(process)
        _signal_group(process, signal.SIGKILL)
        await _has_ended(process)
        # A process that left the group may hold the pipes; they are not waited for.
        with anyio.move_on_after(CLOSE_S):
            await process.aclose()


async def _has_ended(process: Process) -> bool:
    """Wait for the end of the process itself, which `wait` does not: it waits for its pipes."""
    with anyio.move_on_after(CLOSE_S):
        while process.returncode is None:  # noqa: ASYNC110 - there is no event for it
            await anyio.sleep(_POLL_S)
        return True
    return False


def _signal_group(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, number)
        else:  # a system without process groups
            process.send_signal(number)
