"""One client's connection to an `Upstream`: HTTP/1.1 by h11 on a non-blocking socket.

It stands on the socket itself, not on a stream class, because a test server must be able to do what
a stream hides: reset the connection (RST, not FIN), send half a chunk, and see at once that the
client went away. Invariant: what is sent goes out in one write at once (TCP_NODELAY); the socket is
closed only while no task waits on it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
import h11

from vanta.messages import Delta
from vanta.testing._behaviour import Behaviour

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


_SECRET = re.compile(rb"(?im)^(authorization|api-key|x-api-key):[^\r\n]*")


@dataclass(slots=True, kw_only=True)
class HttpExchange:
    """One request and what became of it.

    body: the request's JSON ({} if it was none), body_bytes as it came. headers: names in lower
    case, without Authorization; `authorized_with` compares that. received: all that came in on this
    connection so far, headers included, secrets blotted out. behaviour: what was to be done.

    sent: the tokens that went out. complete: the whole response did. started_at: the request was
    read. first_token_at: just before the first text left. client_gone_at: the client was seen to
    have closed the connection, be it before the end (`abandoned`) or after. finished_at: the server
    was done with it, in whatever way. gone and finished are the events of the last two.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    body_bytes: bytes = field(repr=False)
    received: bytes = field(repr=False)
    behaviour: Behaviour | None = field(default=None, repr=False)
    status: int | None = None
    sent: list[str] = field(default_factory=list)
    complete: bool = False
    started_at: float = field(default_factory=time.monotonic)
    first_token_at: float | None = None
    client_gone_at: float | None = None
    finished_at: float | None = None
    gone: anyio.Event = field(default_factory=anyio.Event, repr=False)
    finished: anyio.Event = field(default_factory=anyio.Event, repr=False)
    tokens_sent: int = 0
    _key: bytes | None = field(default=None, repr=False)
    _moved: anyio.Event = field(default_factory=anyio.Event, repr=False)

    @property
    def authorized(self) -> bool:
        """Whether the request had an Authorization header."""
        return self._key is not None

    def authorized_with(self, key: str) -> bool:
        """Whether the request's bearer token was `key`."""
        return self._key is not None and hmac.compare_digest(self._key, _digest(f"Bearer {key}"))

    @property
    def text_sent(self) -> str:
        """The text that went out, without reasoning."""
        return "".join(self.sent)

    @property
    def abandoned(self) -> bool:
        """Whether the client went away before it had the whole response."""
        return self.client_gone_at is not None and not self.complete

    async def reached(self, tokens: int) -> None:
        """Wait until at least so many tokens were sent."""
        while self.tokens_sent < tokens:
            await self._moved.wait()

    def note_token(self, delta: Delta) -> None:
        """For the server: a token is about to be sent."""
        if delta.text and self.first_token_at is None:
            self.first_token_at = time.monotonic()

    def note_sent(self, delta: Delta) -> None:
        """For the server: a token was sent."""
        self.tokens_sent += 1
        if delta.text:
            self.sent.append(delta.text)
        self._moved.set()
        self._moved = anyio.Event()

    def note_gone(self) -> None:
        """For the server: the client closed the connection."""
        if self.client_gone_at is None:
            self.client_gone_at = time.monotonic()
            self.gone.set()

    def note_finished(self) -> None:
        """For the server: nothing more will happen."""
        self.finished_at = time.monotonic()
        self.finished.set()


def record(request: Request, connection: Connection) -> HttpExchange:
    """The exchange that begins with `request`."""
    secret = request.headers.get("authorization")
    return HttpExchange(
        method=request.method,
        path=request.path,
        headers={name: v for name, v in request.headers.items() if name != "authorization"},
        body=_json_object(request.body),
        body_bytes=request.body,
        received=blot(connection.received),
        _key=None if secret is None else _digest(secret),
    )


def blot(raw: bytes | bytearray) -> bytes:
    """`raw` without the values of headers that carry a key."""
    return _SECRET.sub(rb"\1: <present>", bytes(raw))


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode()).digest()
