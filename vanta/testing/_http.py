"""One client's connection to an `Upstream`, and the record of each request on it.

HTTP/1.1 by h11 on a non-blocking socket. It uses no stream class, because a test server must reset
the connection (RST, not FIN), send half a chunk, and notice at once that the client disconnected.

Invariant: each send is one write (TCP_NODELAY), and the socket is closed only while no task waits
on it. Only the server writes a record, which only grows; its times are `time.monotonic()` seconds.
The value of an Authorization header is never kept.
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


class ClientGone(Exception):  # noqa: N818 - not an error of the server
    """The client disconnected during a send."""


@dataclass(frozen=True, slots=True)
class Request:
    """One complete request. Header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Connection:
    """An accepted socket. `received` has all bytes that were read, in order."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._http = h11.Connection(h11.SERVER)
        self.received = bytearray()

    async def next_request(self) -> Request | None:
        """Return the next request, None if the client disconnected or does not speak HTTP."""
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
        """Return when the client has closed its side; other data is kept for later."""
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
        """True if another request may follow on this connection."""
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    def close(self) -> None:
        """Close the connection after everything that was sent."""
        self._sock.close()

    def reset(self) -> None:
        """Reset the connection (RST)."""
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
    """One request to an `Upstream` and its response. Times are None until they happen.

    :param method: HTTP method.
    :param path: path with query.
    :param headers: by name in lower case, without Authorization; see `authorized_with`.
    :param body: the JSON object in the body, {} if there is none.
    :param body_bytes: the body as it was received.
    :param received: all bytes of the connection so far, headers included, keys redacted.
    :param behaviour: what the server does with the request.
    :param status: HTTP status of the response.
    :param sent: the tokens that were sent.
    :param complete: True once the whole response was sent.
    :param started_at: when the request had been read.
    :param first_token_at: just before the first text was sent.
    :param client_gone_at: when the client was seen to disconnect, before the end (`abandoned`) or
        after it.
    :param finished_at: when the server had finished with the request.
    :param gone: set at `client_gone_at`.
    :param finished: set at `finished_at`.
    :param tokens_sent: number of frames with content that were sent.
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
        """True if the request had an Authorization header."""
        return self._key is not None

    def authorized_with(self, key: str) -> bool:
        """Return whether the request's bearer token was a key.

        :param key: the key to compare with.
        """
        return self._key is not None and hmac.compare_digest(self._key, _digest(f"Bearer {key}"))

    @property
    def text_sent(self) -> str:
        """The text that was sent, without reasoning."""
        return "".join(self.sent)

    @property
    def abandoned(self) -> bool:
        """True if the client disconnected before the whole response was sent."""
        return self.client_gone_at is not None and not self.complete

    async def reached(self, tokens: int) -> None:
        """Wait until a number of tokens was sent.

        :param tokens: the least number.
        """
        while self.tokens_sent < tokens:
            await self._moved.wait()

    def note_token(self, delta: Delta) -> None:
        """Record that a token is about to be sent; for the server."""
        if delta.text and self.first_token_at is None:
            self.first_token_at = time.monotonic()

    def note_sent(self, delta: Delta) -> None:
        """Record that a token was sent; for the server."""
        self.tokens_sent += 1
        if delta.text:
            self.sent.append(delta.text)
        self._moved.set()
        self._moved = anyio.Event()

    def note_gone(self) -> None:
        """Record that the client disconnected; for the server."""
        if self.client_gone_at is None:
            self.client_gone_at = time.monotonic()
            self.gone.set()

    def note_finished(self) -> None:
        """Record that the server has finished with the request; for the server."""
        self.finished_at = time.monotonic()
        self.finished.set()


def record(request: Request, connection: Connection) -> HttpExchange:
    """Return the record of a request that was just read."""
    secret = request.headers.get("authorization")
    return HttpExchange(
        method=request.method,
        path=request.path,
        headers={name: v for name, v in request.headers.items() if name != "authorization"},
        body=_json_object(request.body),
        body_bytes=request.body,
        received=redact(connection.received),
        _key=None if secret is None else _digest(secret),
    )


def redact(raw: bytes | bytearray) -> bytes:
    """Return `raw` without the values of headers that carry a key."""
    return _SECRET.sub(rb"\1: <present>", bytes(raw))


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode()).digest()
