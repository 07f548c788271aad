"""The HTTP client of one server: its proxy, its certificates, and connections that went stale.

Invariants: nothing is read as a whole without a bound. The client follows no redirect and reads
nothing of the environment by itself; what it takes from there (a proxy, certificates) is named in
the error if it cannot work. A private track and a server on this machine are reached directly.
Building a client may block.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2
import openai

from vanta import EnvironmentProxy, Pace, proxy_for
from vanta_openai.body import PIECE_BYTES, BodyTooLargeError, require_one_coding
from vanta_openai.early_connection import EarlyStream, PooledTransport

_STALE = (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError, httpx2.CloseError)
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
OpenEarly = Callable[[float | None], Awaitable[None]]
"""Opens a connection for the next request, within so many seconds each for TCP and TLS."""

_NO_CONNECTION_KEPT = httpx2.Limits(max_keepalive_connections=0)


STREAMED = "/chat/completions"
"""The end of the one path whose answers are streams."""

MAX_WHOLE_BYTES = 4 * 1024 * 1024
"""Size above which an answer that is not streamed is refused; lists of models take up to 1 MB."""

MAX_REFUSAL_BYTES = 64 * 1024
REFUSAL_S = 2.0
"""How much is read of the body of a refusal, and for how long."""

CLOSE_S = 1.0
_OPENED = ("connect_tcp.complete", "start_tls.complete")
_OF_BODY = ("content-encoding", "content-length", "transfer-encoding")


class ClientSetupError(Exception):
    """The environment names something that cannot work. suggestion: what to do about it."""

    def __init__(self, message: str, suggestion: str) -> None:
        self.suggestion = suggestion
        super().__init__(message)


def build_client(
    url: str,
    *,
    private: bool,
    timeout: httpx2.Timeout,
    query: Sequence[tuple[str, str]] = (),
    most_bytes: int = MAX_WHOLE_BYTES,
) -> tuple[httpx2.AsyncClient, EnvironmentProxy | None, OpenEarly]:
    """Return a client for the server at `url`, the proxy that it uses, and a function that opens a
    connection for the next request, where that is possible.

    `query` goes with every request, as a base URL's own query does. An answer that is not streamed
    has at most `most_bytes`.

    Raises ClientSetupError.
    """
    proxy = proxy_for(url, private=private)
    if proxy and not _has_host(proxy.url):
        raise _unusable(proxy)
    is_encrypted = url.lower().startswith("https:")
    # Without TLS no certificate is read, so that a broken SSL_CERT_FILE breaks nothing here.
    context = _certificates() if is_encrypted or _is_https(proxy) else None

    def transport(limits: httpx2.Limits) -> httpx2.AsyncHTTPTransport:
        if proxy is None:
            return PooledTransport(url, context, limits)
        through = httpx2.Proxy(proxy.url, ssl_context=context)
        return httpx2.AsyncHTTPTransport(
            verify=context or False, trust_env=False, limits=limits, proxy=through
        )

    try:
        pooled, fresh = transport(openai.DEFAULT_CONNECTION_LIMITS), transport(_NO_CONNECTION_KEPT)
    except (ImportError, ValueError, httpx2.InvalidURL) as error:
        if proxy is None:
            raise
        raise _unusable(proxy, error) from None
    client = httpx2.AsyncClient(
        transport=BoundedTransport(ResendingTransport(pooled, fresh), most_bytes),
        trust_env=False,
        timeout=timeout,
        params=list(query),
        follow_redirects=False,
    )
    return client, proxy, pooled.open_early if isinstance(pooled, PooledTransport) else _open_none


async def _open_none(_timeout_s: float | None) -> None:
    """Do nothing: a proxy's connection begins with the request."""


class ResendingTransport(httpx2.AsyncBaseTransport):
    """Sends a request once more if the server had closed the connection that was reused.

    A server may close an idle connection at any time, also while a request is on its way. If no
    answer has begun on a connection that an earlier request had opened, the request is sent again
    on a new one.
    """

    def __init__(self, pooled: httpx2.AsyncBaseTransport, fresh: httpx2.AsyncBaseTransport) -> None:
        """pooled: keeps connections. fresh: opens one for each request."""
        self._pooled = pooled
        self._fresh = fresh

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See `httpx2.AsyncBaseTransport`."""
        progress = _Progress(request.extensions.get("trace"))
        request.extensions = {**request.extensions, "trace": progress}
        try:
            return await self._pooled.handle_async_request(request)
        except _STALE:
            if progress.connected or not isinstance(request.stream, httpx2.ByteStream):
                raise
        return await self._fresh.handle_async_request(request)

    async def aclose(self) -> None:
        """Close both pools."""
        await self._pooled.aclose()
        await self._fresh.aclose()


class BoundedTransport(httpx2.AsyncBaseTransport):
    """Reads every answer that is not streamed itself, decompressed, up to a bound.

    Clients read such an answer as a whole: one without an end, or a small one that expands, would
    take all memory. A refusal is cut, since its status says what it is; anything else is an error.
    """

    def __init__(self, transport: httpx2.AsyncBaseTransport, most_bytes: int) -> None:
        """most_bytes: the most bytes of an answer with a status of success."""
        self._transport = transport
        self._most_bytes = most_bytes

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See `httpx2.AsyncBaseTransport`."""
        response = await self._transport.handle_async_request(request)
        response.request = request
        if response.is_success and request.url.path.endswith(STREAMED):
            return response
        try:
            body = await self._read(response)
        finally:
            with anyio.move_on_after(CLOSE_S, shield=True):
                await response.aclose()
        headers = [item for item in response.headers.multi_items() if item[0] not in _OF_BODY]
        return httpx2.Response(
            response.status_code, headers=headers, content=body, extensions=response.extensions
        )

    async def _read(self, response: httpx2.Response) -> bytes:
        require_one_coding(response)
        if response.is_success:
            body = await _read_up_to(self._most_bytes, response)
            if len(body) > self._most_bytes:
                raise BodyTooLargeError(f"the answer is larger than {self._most_bytes} bytes")
            return bytes(body)
        body = bytearray()
        with anyio.move_on_after(REFUSAL_S):
            await _read_up_to(MAX_REFUSAL_BYTES, response, body)
        return bytes(body[:MAX_REFUSAL_BYTES])

    async def aclose(self) -> None:
        """Close the transport behind it."""
        await self._transport.aclose()


async def _read_up_to(
    most_bytes: int, response: httpx2.Response, body: bytearray | None = None
) -> bytearray:
    """Append the body of `response` to `body`, until there is more than `most_bytes` of it.

    The connection is closed then; the rest is read until that fails, because the generators of
    httpx2 end only by running to their end.
    """
    body = bytearray() if body is None else body
    pace, is_full = Pace(), False
    try:
        async for chunk in response.aiter_bytes():
            if not is_full:
                body += chunk
            is_over = pace.is_due and await pace.pause_shielded()
            if (is_over or len(body) > most_bytes) and not is_full:
                is_full = True
                with anyio.CancelScope(shield=True, deadline=anyio.current_time() + CLOSE_S):
                    await response.aclose()
    except (httpx2.HTTPError, httpx2.StreamError, OSError):
        if not is_full:
            raise
    return body


class _Progress:
    """Records whether a request opened a connection itself, and lets that one read in small pieces.

    Everything in one piece is parsed without a pause, such as interim answers (1xx) without an end.
    See `httpcore2`, "Trace extension".
    """

    def __init__(self, outer: Callable[[str, Any], Awaitable[None]] | None) -> None:
        self.connected = False
        self._outer = outer

    async def __call__(self, event: str, info: dict[str, Any]) -> None:
        if event.startswith(("connection.connect_", "socks5.")):
            self.connected = not isinstance(info.get("return_value"), EarlyStream)
        if event.endswith(_OPENED):
            _read_in_pieces(info["return_value"])
        if self._outer is not None:
            await self._outer(event, info)


def _read_in_pieces(connection: Any) -> None:
    """Let a connection's `read` return at most `PIECE_BYTES`."""
    read = connection.read

    async def read_piece(max_bytes: int, timeout: float | None = None) -> bytes:
        piece: bytes = await read(min(max_bytes, PIECE_BYTES), timeout)
        return piece

    connection.read = read_piece


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False


def _is_https(proxy: EnvironmentProxy | None) -> bool:
    return proxy is not None and proxy.url.lower().startswith("https:")


def _certificates() -> ssl.SSLContext:
    try:
        return httpx2.create_ssl_context()
    except (OSError, ssl.SSLError) as error:
        names = [name for name in _CERTIFICATES if os.environ.get(name)]
        where = f"{names[0]}={os.environ[names[0]]!r}" if names else "this system"
        raise ClientSetupError(
            f"the certificates of {where} cannot be read ({error})",
            "Correct the variable, or unset it."
            if names
            else "Set SSL_CERT_FILE to a file of certificates.",
        ) from None


def _unusable(proxy: EnvironmentProxy, error: Exception | None = None) -> ClientSetupError:
    if isinstance(error, ImportError):
        return ClientSetupError(
            f"the proxy {proxy.label} needs the library 'socksio'",
            "Install it (pip install socksio), name an HTTP proxy, or list the server in NO_PROXY.",
        )
    return ClientSetupError(
        f"the proxy {proxy.label} cannot be used: its scheme must be http, https, socks5 or "
        "socks5h, followed by host and port",
        "Correct the variable, unset it, or list the server in NO_PROXY.",
    )
