"""One client's connection to an `Upstream`: HTTP/1.1 by h11 on a non-blocking socket.

It stands on the socket itself, not on a stream class, because a test server must be able to do what
a stream hides: reset the connection (RST, not FIN), send half a chunk, and see at once that the
client went away. Invariant: what is sent goes out in one write at once (TCP_NODELAY); the socket is
closed only while no task waits on it.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass

import anyio
import h11

Headers = Mapping[str, str]


class ClientGone(Exception):  # noqa: N818 - it is news, not an error
    """The client went away while something was being sent to it."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, read to its end. Header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Connection:
    """An accepted socket. `received` is every byte that came in, in order."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._http = h11.Connection(h11.SERVER)
        self.received = bytearray()

    async def next_request(self) -> Request | None:
        """The next request, or None if the client closed the connection or speaks no HTTP."""
        if self._http.our_state is h11.DONE:
            self._http.start_next_cycle()
        head: h11.Request | None = None
        body = bytearray()
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError:
                return None
            if event is h11.NEED_DATA:
                await self._feed()
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return _request(head, bytes(body))
            else:
                return None

    async def until_gone(self) -> None:
        """Return when the client has closed its side; what else it sends is kept for later."""
        while await self._feed():
            pass

    async def send_head(self, status: int, headers: Headers) -> None:
        """Send the status line and the headers, in one write."""
        lines = [(name, value) for name, value in headers.items()]
        await self._write(self._http.send(h11.Response(status_code=status, headers=lines)))

    async def send_data(self, data: bytes) -> None:
        """Send a piece of the body, in one write (one chunk where the body is chunked)."""
        await self._write(self._http.send(h11.Data(data=data)))

    async def send_half(self, data: bytes) -> None:
        """Send the first half of what `send_data` would."""
        raw = self._http.send(h11.Data(data=data)) or b""
        await self._write(raw[: len(raw) // 2])

    async def send_whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a complete response, in one write."""
        lines = [*headers.items(), ("content-length", str(len(body)))]
        head = self._http.send(h11.Response(status_code=status, headers=lines)) or b""
        data = self._http.send(h11.Data(data=body)) or b""
        await self._write(head + data + (self._http.send(h11.EndOfMessage()) or b""))

    async def end(self) -> None:
        """Send the end of the body."""
        await self._write(self._http.send(h11.EndOfMessage()))

    @property
    def reusable(self) -> bool:
        """Whether another request may follow on this connection."""
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    def close(self) -> None:
        """Close in good order: the client has the rest of what was sent, then the end."""
        self._sock.close()

    def reset(self) -> None:
        """Break the connection off: the client sees a reset (RST)."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    async def _feed(self) -> bool:
        data = await self._receive()
        self.received += data
        self._http.receive_data(data)
        return bool(data)

    async def _receive(self) -> bytes:
        while True:
            try:
                return self._sock.recv(65536)
            except BlockingIOError:
                await anyio.wait_readable(self._sock)
            except OSError:
                return b""

    async def _write(self, data: bytes | None) -> None:
        rest = memoryview(data or b"")
        while rest:
            try:
                rest = rest[self._sock.send(rest) :]
            except BlockingIOError:
                await anyio.wait_writable(self._sock)
            except OSError as error:
                raise ClientGone from error


def _request(head: h11.Request, body: bytes) -> Request:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
    return Request(head.method.decode(), head.target.decode(), headers, body)
