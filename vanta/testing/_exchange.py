"""What an `Upstream` remembers of one request and its response.

Invariant: it is written by the server alone and only grows; all times are `time.monotonic()`
seconds, None for what has not happened. The value of an Authorization header is never kept.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio

from vanta.messages import Delta
from vanta.testing._behaviour import Behaviour
from vanta.testing._http import Connection, Request

_SECRET = re.compile(rb"(?im)^(authorization|api-key|x-api-key):[^\r\n]*")


@dataclass(slots=True, kw_only=True)
class Exchange:
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


def record(request: Request, connection: Connection) -> Exchange:
    """The exchange that begins with `request`."""
    secret = request.headers.get("authorization")
    return Exchange(
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
