"""The events in the body of an answer, whatever its headers claim.

Servers and proxies send event streams as text/plain, x-ndjson or octet-stream, with a wrong charset
or a byte order mark, and whole completions in place of a stream. Invariant: the first bytes of the
body decide what it is, and nothing but the headers and these bytes is read of one that is refused.
An event stream is UTF-8 (https://html.spec.whatwg.org/multipage/server-sent-events.html).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Literal

import httpx2

from vanta_openai.protocol import MalformedChunkError

MAX_JSON_BYTES = 16 * 1024 * 1024
"""Size above which a whole completion is refused."""

DONE = "[DONE]"

BodyKind = Literal["events", "json", "other"]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_FIELDS = (b"data:", b"event:", b"id:", b"retry:")
_EVENT_STREAM = "text/event-stream"


class NotAnAnswerError(Exception):
    """The body is neither an event stream nor a completion. content_type: the declared type."""

    def __init__(self, content_type: str) -> None:
        self.content_type = content_type
        super().__init__(f"the answer is not an event stream but {content_type!r}")


async def answer_events(response: httpx2.Response) -> AsyncIterator[httpx2.ServerSentEvent]:
    """Yield the events of a body; a whole completion is one event and a `[DONE]`.

    Raises NotAnAnswerError, MalformedChunkError, and the errors of httpx2.
    """
    declared: str = response.headers.get("content-type", "")
    is_declared = declared.partition(";")[0].strip().lower() == _EVENT_STREAM
    chunks = response.aiter_bytes()
    head, kind = b"", None
    async for chunk in chunks:
        head += chunk
        kind = body_kind(head)
        if kind is not None:
            break
    if kind == "json":
        yield httpx2.ServerSentEvent(data=await _completion(response, head, chunks, declared))
        yield httpx2.ServerSentEvent(data=DONE)
    elif kind == "events" or is_declared:
        async for event in httpx2.EventSource(_as_event_stream(response, head, chunks)):
            yield event
    else:
        await _discard(response, chunks)
        raise NotAnAnswerError(declared or "no content")


def body_kind(head: bytes) -> BodyKind | None:
    """Return what a body is by its first bytes, None if they are too few to tell."""
    if _BYTE_ORDER_MARK.startswith(head):
        return None
    text = head.removeprefix(_BYTE_ORDER_MARK).lstrip(b" \t\r\n")
    if text.startswith((b"{", b"[")):
        return "json"
    if text.startswith((b":", *_FIELDS)):
        return "events"
    return None if any(name.startswith(text) for name in _FIELDS) else "other"


class _Rest(httpx2.AsyncByteStream):
    """A body whose beginning was read already."""

    def __init__(self, head: bytes, chunks: AsyncIterator[bytes]) -> None:
        self._head = head
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._head
        async for chunk in self._chunks:
            yield chunk


def _as_event_stream(
    response: httpx2.Response, head: bytes, chunks: AsyncIterator[bytes]
) -> httpx2.Response:
    """Return a response with the same body, declared as what it is."""
    stream = httpx2.Response(
        response.status_code,
        headers={"content-type": _EVENT_STREAM},
        stream=_Rest(head, chunks),
        request=response.request,
    )
    stream.encoding = "utf-8-sig"
    return stream


async def _completion(
    response: httpx2.Response, head: bytes, chunks: AsyncIterator[bytes], declared: str
) -> str:
    """Return the JSON of a completion or an error that was sent in place of a stream."""
    body = bytearray(head)
    async for chunk in chunks:
        body += chunk
        if len(body) > MAX_JSON_BYTES:
            await _discard(response, chunks)
            raise MalformedChunkError(f"a JSON answer is larger than {MAX_JSON_BYTES} bytes")
    text = body.decode("utf-8-sig", "replace")
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        parsed = None
    if isinstance(parsed, dict) and ("choices" in parsed or parsed.get("error")):
        return text
    raise NotAnAnswerError(declared or "no content")


async def _discard(response: httpx2.Response, chunks: AsyncIterator[bytes]) -> None:
    """Close the connection and finalise the generators under `chunks`."""
    await response.aclose()
    with suppress(httpx2.HTTPError, httpx2.StreamError, OSError):
        async for _ in chunks:
            pass
