"""Reading requests and writing streams over plain ASGI: bounds, disconnects, keep-alives.

Invariant: a client that leaves cancels the work for its answer, also before the first byte and for
an answer that is not streamed; a body is never read beyond its limit; nothing is written after the
client has left.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import anyio

from vanta_server.errors import ApiError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_BODY_BYTES = 16 * 1024 * 1024
KEEP_ALIVE_S = 15.0
"""Seconds of silence after which a stream gets a comment, so that no proxy closes it."""


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """How a protocol writes a stream.

    :param media_type: the type of its content.
    :param keep_alive: what clients skip, for streams that are silent; b"" for nothing.
    """

    media_type: str
    keep_alive: bytes = b""


EVENT_STREAM = StreamFormat("text/event-stream; charset=utf-8", b": keep-alive\n\n")
JSON_LINES = StreamFormat("application/x-ndjson")


async def read_json(receive: Receive, most_bytes: int = MOST_BODY_BYTES) -> object:
    """Return the JSON of a request's body.

    :param receive: the request's messages.
    :param most_bytes: the longest body that is read.
    :raises ApiError: if the body is too long or is not JSON.
    :raises ConnectionAbortedError: if the client leaves before its end.
    """
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionAbortedError("the client left before the end of its request")
        body += message.get("body", b"")
        if len(body) > most_bytes:
            raise ApiError(413, f"the body has more than {most_bytes} bytes", code="too_large")
        if not message.get("more_body"):
            break
    try:
        return json.loads(bytes(body))
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body is not JSON: {error}") from None


async def run_beside(
    work: Callable[[], Awaitable[object]], *others: Callable[[], Awaitable[None]]
) -> None:
    """Run `work` with others beside it, which are cancelled once it has ended.

    :param work: what it raises is raised here, as it is.
    :param others: run until they are cancelled; one that returns cancels `work`.
    """
    failures: list[Exception] = []

    async def beside(other: Callable[[], Awaitable[None]]) -> None:
        await other()
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for other in others:
            tasks.start_soon(beside, other)
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - raised below, outside the group
            failures.append(error)
        tasks.cancel_scope.cancel()
    if failures:
        raise failures[0]


async def until_disconnect(receive: Receive) -> None:
    """Return once the client has left.

    :param receive: the request's messages, after its body.
    """
    while (await receive())["type"] != "http.disconnect":
        pass


async def run_together(work: Callable[[int], Awaitable[None]], count: int) -> None:
    """Run `work` for several numbers at once; the first that fails stops the others.

    :param work: called with each number from 0; what the first one raises is raised here.
    :param count: how many.
    """
    failures: list[Exception] = []

    async def one(number: int) -> None:
        try:
            await work(number)
        except Exception as error:  # noqa: BLE001 - raised below, outside the group
            failures.append(error)
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for number in range(count):
            tasks.start_soon(one, number)
    if failures:
        raise failures[0]


class ResponseStream:
    """A stream of pieces, such as server-sent events, that begins with its first byte.

    :param send: sends a message to the client.
    :param headers: more headers.
    :param form: how the pieces are written.
    """

    def __init__(
        self, send: Send, headers: Mapping[str, str], form: StreamFormat = EVENT_STREAM
    ) -> None:
        fields = {
            "content-type": form.media_type,
            "cache-control": "no-cache",
            "x-accel-buffering": "no",
            **headers,
        }
        self._send = send
        self._form = form
        self._headers = [(name.encode(), value.encode()) for name, value in fields.items()]
        self._lock = anyio.Lock()
        self._wrote_at = anyio.current_time()
        self.begun = False

    async def write(self, data: bytes) -> None:
        """Write pieces; the headers come before the first ones."""
        async with self._lock:
            if not self.begun:
                self.begun = True
                start = {"type": "http.response.start", "status": 200, "headers": self._headers}
                await self._send(start)
            self._wrote_at = anyio.current_time()
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def close(self) -> None:
        """End the stream."""
        async with self._lock:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def keep_alive(self, every_s: float = KEEP_ALIVE_S) -> None:
        """Write what clients skip whenever the stream was silent, until this is cancelled.

        :param every_s: seconds of silence.
        """
        if not self._form.keep_alive:
            await anyio.sleep_forever()
        while True:
            await anyio.sleep_until(self._wrote_at + every_s)
            if anyio.current_time() - self._wrote_at >= every_s:
                await self.write(self._form.keep_alive)


async def send_json(
    send: Send, data: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> None:
    """Send a whole JSON answer."""
    body = json.dumps(data, ensure_ascii=False).encode("utf-8", "replace")
    fields = {"content-type": "application/json", "content-length": f"{len(body)}"}
    fields |= headers or {}
    pairs = [(name.encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body, "more_body": False})
