"""The transport to a server over streamable HTTP: a client of our own below the SDK's protocol.

Invariants: no redirect is followed, nothing is read without a bound, nothing is decompressed, and
nothing of the environment is used but a proxy that must be. A private server and one on this
machine are reached directly. What the login sends elsewhere goes over TLS, unless the server
itself is on this machine.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2

from vanta import ToolError, is_loopback, proxy_for
from vanta.text import printable
from vanta_mcp.client.messages import MAX_MESSAGE_BYTES, without_result_schemas
from vanta_mcp.settings import Server

CONNECT_S = 10.0
SILENCE_S = 300.0
"""Seconds without a byte after which an open answer is given up. Calls end earlier by their own."""

MOST_HEADERS = 200
_NOT_ALLOWED = 400


class AnswerTooLarge(httpx2.StreamError):
    """An answer is larger than allowed; the SDK reports it as the error of its request."""


class WebTransport:
    """The connection to one server.

    :param server: the server.
    :param auth: logs in, None if the server is not logged in to.
    """

    def __init__(self, server: Server, auth: httpx2.Auth | None = None) -> None:
        self._server = server
        self._auth = auth
        self.ended = anyio.Event()
        self.why_ended = ""
        self.last_words = ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[Any, Any]]:
        """Yield the streams of messages. Nothing is connected before the first one is sent.

        :raises ToolError: if the URL, a header or the proxy cannot be used.
        """
        from mcp.client.streamable_http import streamable_http_client

        url = self._server.expanded(self._server.config.url or "")
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(build_client(self._server, url, self._auth))
            incoming, outgoing = await stack.enter_async_context(
                streamable_http_client(
                    url, http_client=client, max_sse_event_size=MAX_MESSAGE_BYTES
                )
            )
            yield _Cleaned(incoming), outgoing


def build_client(server: Server, url: str, auth: httpx2.Auth | None) -> httpx2.AsyncClient:
    """Return the HTTP client of a server.

    :param server: the server.
    :param url: its URL.
    :param auth: logs in, or None.
    :raises ToolError: if the URL, a header or the proxy cannot be used.
    """
    parts = _parsed(server, url)
    proxy = proxy_for(url, private=server.config.private)
    try:
        inner = httpx2.AsyncHTTPTransport(
            verify=httpx2.create_ssl_context() if parts.scheme == "https" or proxy else False,
            trust_env=False,
            proxy=httpx2.Proxy(proxy.url) if proxy else None,
        )
    except (ImportError, ValueError, OSError, httpx2.InvalidURL) as error:
        where = f"the proxy {proxy.label}" if proxy else "the certificates of this system"
        raise ToolError(f"{where} cannot be used for server {server.name!r}: {error}.") from error
    return httpx2.AsyncClient(
        transport=GuardedTransport(inner, url),
        trust_env=False,
        follow_redirects=False,
        auth=auth,
        timeout=httpx2.Timeout(CONNECT_S, read=SILENCE_S, write=CONNECT_S * 3),
        headers={"Accept-Encoding": "identity", "User-Agent": "vanta", **server.headers()},
    )


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Sends requests under the invariants of this module.

    :param inner: the transport that connects.
    :param url: the URL of the server.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport, url: str) -> None:
        self._inner = inner
        self._origin = _origin(httpx2.URL(url))
        self._is_here = is_loopback(httpx2.URL(url).host)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See `httpx2.AsyncBaseTransport`."""
        is_own = _origin(request.url) == self._origin
        if not is_own and request.url.scheme != "https" and not self._is_here:
            return _refusal(request, "a request of its login would not be encrypted")
        response = await self._inner.handle_async_request(request)
        if response.has_redirect_location:
            target = printable(response.headers.get("location", "")[:200])
            await response.aclose()
            return _refusal(request, f"the server redirects to {target!r}, which is not followed")
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            return _refusal(request, "the server compresses its answer, which was not requested")
        if len(response.headers) > MOST_HEADERS:
            await response.aclose()
            return _refusal(request, f"the server sent more than {MOST_HEADERS} headers")
        if response.status_code >= _NOT_ALLOWED and _tells_nothing(response):
            await response.aclose()
            why = f"HTTP status {response.status_code} {response.reason_phrase}".rstrip()
            return _refusal(request, why, response.status_code)
        is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
        if not is_stream:  # the events of a stream are bounded one by one, by the SDK
            response.stream = _Bounded(response.stream)
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


class _Bounded(httpx2.AsyncByteStream):
    """The body of an answer, up to the bound."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > MAX_MESSAGE_BYTES:
                raise AnswerTooLarge(f"the answer has more than {MAX_MESSAGE_BYTES:,} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Cleaned:
    """The stream of what a server sends, without the schemas of results."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __aiter__(self) -> _Cleaned:
        return self

    async def __anext__(self) -> Any:
        return _clean(await self._stream.__anext__())

    async def receive(self) -> Any:
        """Return the next message."""
        return _clean(await self._stream.receive())

    async def __aenter__(self) -> _Cleaned:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *details: Any) -> Any:
        return await self._stream.__aexit__(*details)


def _clean(item: Any) -> Any:
    message = getattr(item, "message", None)
    if message is not None:
        without_result_schemas(message)
    return item


def _parsed(server: Server, url: str) -> Any:
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return parts
    raise ToolError(
        f"mcp.servers.{server.name}.url is {url[:200]!r}, which is not an http or https URL."
    )


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return (url.scheme, url.host, url.port)


def _tells_nothing(response: httpx2.Response) -> bool:
    """Return whether the SDK would report an error without its status.

    A login needs 401 and 403 as they are, and 404 is the end of a session.
    """
    is_json = response.headers.get("content-type", "").lower().startswith("application/json")
    return not is_json and response.status_code not in {401, 403, 404}


def _refusal(request: httpx2.Request, why: str, status: int = _NOT_ALLOWED) -> httpx2.Response:
    """Return an answer that stands for one that is not accepted; the SDK reports its message."""
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": why}}
    return httpx2.Response(
        status,
        headers={"content-type": "application/json"},
        content=json.dumps(error).encode(),
        request=request,
    )
