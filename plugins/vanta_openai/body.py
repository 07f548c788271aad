"""The events in the body of an answer, whatever its headers claim.

Servers and proxies send event streams as text/plain, x-ndjson or octet-stream, with a wrong charset
or a byte order mark, and whole completions in place of a stream. Invariants: the first bytes of the
body decide what it is, and nothing but the headers and these bytes is read of one that is refused.
A body is read in small pieces, decompressed as they are used, and bounded in everything that it
could repeat without an end; other tasks run between the pieces.
An event stream is UTF-8 (https://html.spec.whatwg.org/multipage/server-sent-events.html).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Literal

import anyio
import anyio.lowlevel
import httpx2

from vanta import Pace
from vanta_openai.protocol import COMPLETION, MOST_OBJECTS

MAX_JSON_BYTES = 16 * 1024 * 1024
"""Size above which a whole completion is refused, however many tokens it may have."""

MAX_EVENT_BYTES = 512 * 1024
"""Size above which one event is refused."""

MAX_IDLE_BYTES = 16 * 1024 * 1024
"""Bytes without content after which a stream is refused: comments, empty deltas, keep-alives."""

MAX_HEAD_BYTES = 64 * 1024
"""White space before the first byte that shows what a body is."""

PIECE_BYTES = 8 * 1024
"""Bytes that are parsed at once; a piece has at most a thousand events."""

FREE_JSON_BYTES, JSON_BYTES_PER_TOKEN, JSON_BYTES_PER_LOGPROB = 512 * 1024, 32, 4096
"""What a whole completion may take, and for each token without and with its logprobs."""

BYTES_PER_OBJECT = 40
"""The fewest bytes that objects of a completion have on average: those of its logprobs."""

DONE = "[DONE]"

BodyKind = Literal["events", "json", "other"]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_FIELDS = (b"data:", b"event:", b"id:", b"retry:")
_BLANK_LINES = (b"\n\n", b"\r\n\r", b"\r\r")
_EVENT_STREAM = "text/event-stream"


class NotAnAnswerError(Exception):
    """The body is neither an event stream nor a completion. content_type: the declared type."""

    def __init__(self, content_type: str) -> None:
        self.content_type = content_type
        super().__init__(f"the answer is not an event stream but {content_type!r}")


class BodyTooLargeError(Exception):
    """A body, or one thing in it, is larger than its bound; the message names both."""


def json_limit(tokens: int, *, logprobs: bool) -> int:
    """Return the most bytes of a whole completion.

    tokens: the most that it may have. logprobs: whether they were requested.
    """
    each = JSON_BYTES_PER_LOGPROB if logprobs else JSON_BYTES_PER_TOKEN
    return min(MAX_JSON_BYTES, FREE_JSON_BYTES + each * tokens)


class AnswerBody:
    """The body of one response. Iterate `events` once; a whole completion is one and a `[DONE]`.

    json_limit: the most bytes of a whole completion.
    """

    def __init__(self, response: httpx2.Response, json_limit: int = MAX_JSON_BYTES) -> None:
        self._response = response
        self._json_limit = json_limit
        self._declared: str = response.headers.get("content-type", "")
        self._idle_bytes = 0
        self._event_bytes = 0
        self._tail = b""
        self._is_json = False
        self._is_stopped = False

    def note_content(self) -> None:
        """Record that an event had content, so that its bytes were not in vain."""
        self._idle_bytes = 0

    def stop(self) -> None:
        """Let `events` end with the current piece, for a caller that reads it to its end."""
        self._is_stopped = True

    async def events(self) -> AsyncIterator[httpx2.ServerSentEvent]:
        """Yield the events.

        Raises NotAnAnswerError, BodyTooLargeError, and the errors of httpx2.
        """
        is_declared = self._declared.partition(";")[0].strip().lower() == _EVENT_STREAM
        pieces = self._pieces()
        head, kind = b"", None
        async for piece in pieces:
            head += piece
            kind = body_kind(head)
            if kind is not None:
                break
            if len(head) > MAX_HEAD_BYTES:
                kind = "other"
                break
        if kind == "json":
            completion = await self._completion(head, pieces)
            yield httpx2.ServerSentEvent(event=COMPLETION, data=completion)
            yield httpx2.ServerSentEvent(data=DONE)
        elif kind == "events" or is_declared:
            stream = self._as_event_stream(head, pieces)
            # `_pieces` bounds events: an error inside would leave generators of httpx2 suspended.
            async for event in httpx2.EventSource(stream, max_event_size=None):
                yield event
        else:
            await self._discard(pieces)
            raise NotAnAnswerError(self._declared or "no content")

    async def _pieces(self) -> AsyncIterator[bytes]:
        """Yield the decompressed body in small pieces.

        The rest of a stopped body is read all the same, until the closed connection fails: the
        generators of httpx2 end only by running to their end.
        """
        require_one_coding(self._response)
        pace, problem = Pace(), ""
        try:
            async for chunk in self._response.aiter_bytes():
                for start in range(0, len(chunk), PIECE_BYTES):
                    if pace.is_due and await pace.pause_shielded():
                        self.stop()
                    if self._is_stopped:
                        break
                    piece = chunk[start : start + PIECE_BYTES]
                    if problem := self._problem_with(piece):
                        self.stop()
                        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + 1.0):
                            await self._response.aclose()
                        break
                    yield piece
        except (httpx2.HTTPError, httpx2.StreamError, OSError):
            if not problem:
                raise
        if problem:
            raise BodyTooLargeError(problem)

    def _problem_with(self, piece: bytes) -> str:
        """Measure the next piece; return which bound the body passes with it, or ""."""
        self._idle_bytes += len(piece)
        if self._idle_bytes > MAX_IDLE_BYTES:
            return f"the stream sent {MAX_IDLE_BYTES} bytes without any content"
        if self._is_json:
            return ""
        since = self._tail + piece
        end = max(since.rfind(blank) for blank in _BLANK_LINES)
        self._event_bytes = self._event_bytes + len(piece) if end < 0 else len(since) - end
        self._tail = since[-2:]
        too_large = self._event_bytes > MAX_EVENT_BYTES
        return f"an event is larger than {MAX_EVENT_BYTES} bytes" if too_large else ""

    def _as_event_stream(self, head: bytes, pieces: AsyncIterator[bytes]) -> httpx2.Response:
        """Return a response with the same body, declared as what it is."""
        stream = httpx2.Response(
            self._response.status_code,
            headers={"content-type": _EVENT_STREAM},
            stream=_Rest(head, pieces),
            request=self._response.request,
        )
        stream.encoding = "utf-8-sig"
        return stream

    async def _completion(self, head: bytes, pieces: AsyncIterator[bytes]) -> str:
        """Return the JSON of a completion or an error that was sent in place of a stream."""
        self._is_json = True
        body = bytearray(head)
        async for piece in pieces:
            body += piece
            if len(body) > self._json_limit:
                await self._discard(pieces)
                raise BodyTooLargeError(f"a JSON answer is larger than {self._json_limit} bytes")
        most_objects = max(MOST_OBJECTS, self._json_limit // BYTES_PER_OBJECT)
        if body.count(b"{") + body.count(b"[") > most_objects:
            raise BodyTooLargeError(f"a JSON answer has more than {most_objects} objects")
        text = body.decode("utf-8-sig", "replace")
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            parsed = None
        is_answer = isinstance(parsed, dict) and ("choices" in parsed or parsed.get("error"))
        del parsed
        await anyio.lowlevel.checkpoint()  # the text is parsed once more by the reader of events
        if is_answer:
            return text
        raise NotAnAnswerError(self._declared or "no content")

    async def _discard(self, pieces: AsyncIterator[bytes]) -> None:
        """Close the connection and finalise the generators under `pieces`."""
        self.stop()
        await self._response.aclose()
        with suppress(httpx2.HTTPError, httpx2.StreamError, OSError):
            async for _ in pieces:
                pass


def require_one_coding(response: httpx2.Response) -> None:
    """Refuse a body that was compressed several times over.

    A stage that expands into bytes of which the next one makes nothing would never come to an end,
    and could not be interrupted. Raises BodyTooLargeError.
    """
    codings = response.headers.get_list("content-encoding", split_commas=True)
    codings = [coding for coding in codings if coding.strip().lower() not in ("", "identity")]
    if len(codings) > 1:
        raise BodyTooLargeError(f"the answer is compressed {len(codings)} times over")


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

    def __init__(self, head: bytes, pieces: AsyncIterator[bytes]) -> None:
        self._head = head
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._head
        async for piece in self._pieces:
            yield piece
