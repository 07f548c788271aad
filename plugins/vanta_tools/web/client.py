"""A client for URLs that a model names: addresses checked at connect, everything bounded.

A name is resolved once for each connection. All of its addresses are checked, and the connection
goes to one of the checked addresses, not to the name: an answer of the resolver that changes in
between (DNS rebinding) changes nothing. Every redirect is a new request under the same checks.
Invariants: one connection for each request, no cookie, no credentials, no proxy of the environment,
which would resolve names by itself. Sizes are those of the decompressed body.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.to_thread
import httpcore2

from vanta import Pace
from vanta_tools.actions import CorrectableError
from vanta_tools.web.addresses import DEFAULT_PORTS, WebUrl, join_url, public_problem, refused

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
Dial = Callable[[str, int], Awaitable[httpcore2.AsyncNetworkStream]]

CONNECT_S = 10.0
ATTEMPT_S = 4.0
"""Seconds for all addresses of a host, and for one of them."""

MAX_REDIRECTS = 5
FREE_WIRE_BYTES = 1_000_000
PIECE_BYTES = 4 * 1024
"""Bytes that are parsed at once, so that other tasks run in between."""

MAX_HEADER_COUNT = 200
_REDIRECTS = {301, 302, 303, 307, 308}
_USER_AGENT = "vanta"
_ERRORS = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    httpcore2.UnsupportedProtocol,
)


@dataclass(frozen=True, slots=True)
class WebRules:
    """What may be requested.

    :param ports: the ports of public hosts.
    :param inside: hosts, each with or without a port, that need not be public.
    :param most_bytes: the greatest size of a body.
    :param cross_hosts: whether redirects to another host are followed.
    """

    ports: frozenset[int] = frozenset(DEFAULT_PORTS.values())
    inside: frozenset[str] = frozenset()
    most_bytes: int = 4_000_000
    cross_hosts: bool = False

    @property
    def most_wire_bytes(self) -> int:
        """The most bytes of a whole answer as it is sent, with headers and marks of chunks."""
        return 2 * self.most_bytes + FREE_WIRE_BYTES

    def is_inside(self, host: str, port: int) -> bool:
        """Return whether the configuration names a host that need not be public."""
        name = f"[{host}]" if ":" in host else host
        return bool(self.inside & {name, host, f"{name}:{port}"})


@dataclass(frozen=True, slots=True)
class WebResponse:
    """An answer.

    :param url: the URL that gave it, after redirects.
    :param status: its HTTP status.
    :param content_type: its content type without parameters, in lower case.
    :param body: its body, decompressed; its beginning if it `is_cut`.
    :param is_cut: whether the body was longer than allowed.
    :param leads_to: the other host's URL that a redirect names, if it was not followed; or None.
    """

    url: WebUrl
    status: int
    content_type: str
    body: bytes = field(repr=False)
    is_cut: bool = False
    leads_to: WebUrl | None = None


async def resolve_name(host: str, port: int) -> list[str]:
    """Return the addresses of a name, by the system's resolver."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


async def dial_address(address: str, port: int) -> httpcore2.AsyncNetworkStream:
    """Open a connection to an address."""
    return await httpcore2.AnyIOBackend().connect_tcp(address, port)


class GuardedClient:
    """Requests URLs that a model names.

    :param rules: what may be requested.
    :param resolve: returns the addresses of a name.
    :param dial: opens a connection to an address that was checked.
    :param certificates: whom to trust; None for the authorities that httpx2 brings.
    """

    def __init__(
        self,
        rules: WebRules,
        resolve: Resolve = resolve_name,
        dial: Dial = dial_address,
        certificates: ssl.SSLContext | None = None,
    ) -> None:
        self._rules = rules
        self._backend = GuardedBackend(rules, resolve, dial)
        self._certificates = certificates

    async def get(
        self, url: WebUrl, *, accept: Iterable[str], headers: Mapping[str, str] | None = None
    ) -> WebResponse:
        """Request a URL and, within the rules, what its redirects name.

        :param url: the URL.
        :param accept: the content types to accept, each a prefix.
        :param headers: more headers; with them no redirect is followed to another origin: another
            scheme, host or port.
        :raises CorrectableError: if it is not allowed, cannot be reached, or is of another type.
        """
        accepted = tuple(accept)
        for _ in range(MAX_REDIRECTS + 1):
            self._require_port(url)
            response = await self._request(url, accepted, headers or {})
            target = response.leads_to
            if target is None:
                return response
            self._require_port(target)
            downgrade = url.scheme == "https" and target.scheme == "http"
            if downgrade:
                raise refused(str(target), f"{url} leads to it, from https to http")
            if headers and target.origin != url.origin:
                return response
            if target.host != url.host and not self._rules.cross_hosts:
                return response
            if self._is_inside(target) and not self._is_inside(url):
                raise refused(str(target), f"{url} leads to it, from outside")
            url = target
        raise refused(str(url), f"there are more than {MAX_REDIRECTS} redirects")

    def _is_inside(self, url: WebUrl) -> bool:
        return self._rules.is_inside(url.host, url.port)

    def _require_port(self, url: WebUrl) -> None:
        if url.port not in self._rules.ports and not self._is_inside(url):
            allowed = ", ".join(map(str, sorted(self._rules.ports)))
            raise refused(str(url), f"its port is not one of {allowed}")

    async def _request(
        self, url: WebUrl, accept: tuple[str, ...], headers: Mapping[str, str]
    ) -> WebResponse:
        try:
            async with self._opened(url, headers) as response:
                return await self._read(url, response, accept)
        except GuardError as error:
            raise refused(str(url), str(error)) from error
        except _ERRORS as error:
            reason = str(error) or type(error).__name__
            raise CorrectableError(f"{str(url)!r} cannot be read: {reason}.") from error

    @asynccontextmanager
    async def _opened(
        self, url: WebUrl, headers: Mapping[str, str]
    ) -> AsyncIterator[httpcore2.Response]:
        if url.scheme == "https" and self._certificates is None:
            self._certificates = await anyio.to_thread.run_sync(httpcore2.default_ssl_context)
        sent = {
            "Host": url.netloc,
            "User-Agent": _USER_AGENT,
            "Accept": "text/html, text/*;q=0.9, */*;q=0.5",
            "Accept-Encoding": "gzip, identity",
            "Connection": "close",
            **headers,
        }
        pool = httpcore2.AsyncConnectionPool(
            ssl_context=self._certificates,
            max_connections=1,
            max_keepalive_connections=0,
            network_backend=self._backend,
        )
        request_url = httpcore2.URL(
            scheme=url.scheme.encode(),
            host=url.host.encode(),
            port=url.port,
            target=url.target.encode(),
        )
        timeouts = {"connect": CONNECT_S, "pool": CONNECT_S, "read": None, "write": CONNECT_S}
        async with (
            pool,
            pool.stream(
                "GET",
                request_url,
                headers=[(name.encode(), value.encode()) for name, value in sent.items()],
                extensions={"timeout": timeouts},
            ) as response,
        ):
            yield response

    async def _read(
        self, url: WebUrl, response: httpcore2.Response, accept: tuple[str, ...]
    ) -> WebResponse:
        if len(response.headers) > MAX_HEADER_COUNT:
            raise GuardError(f"the server sent more than {MAX_HEADER_COUNT} headers")
        headers = {
            name.decode("ascii", "replace").lower(): value.decode("latin-1")
            for name, value in response.headers
        }
        content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.status in _REDIRECTS and headers.get("location"):
            leads_to = join_url(url, headers["location"])
            return WebResponse(url, response.status, content_type, b"", leads_to=leads_to)
        if content_type and not content_type.startswith(accept):
            raise GuardError(f"its content type {content_type[:100]!r} is not text")
        body, is_cut = await self._body(response, headers.get("content-encoding", ""))
        return WebResponse(url, response.status, content_type, body, is_cut)

    async def _body(self, response: httpcore2.Response, coding: str) -> tuple[bytes, bool]:
        coding = coding.strip().lower()
        if coding not in {"", "identity", "gzip", "x-gzip"}:
            raise GuardError(f"its body is compressed by {coding[:40]!r}")
        inflate = _Inflater() if "gzip" in coding else None
        most, body, pace = self._rules.most_bytes, bytearray(), Pace()
        stream: Any = response.aiter_stream()
        async with aclosing(stream):
            async for chunk in stream:
                if inflate is None:
                    body += chunk
                else:
                    body += inflate.decompressed(chunk, most + 1 - len(body))
                if len(body) > most:
                    return bytes(body[:most]), True
                if inflate is not None and inflate.is_finished:
                    break
                if pace.is_due:
                    await pace.pause()
        return bytes(body), False


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Opens connections to checked addresses.

    :param rules: what may be requested.
    :param resolve: returns the addresses of a name.
    :param dial: opens a connection to an address.
    """

    def __init__(self, rules: WebRules, resolve: Resolve, dial: Dial) -> None:
        self._rules = rules
        self._resolve = resolve
        self._dial = dial

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Resolve a name once, check all of its addresses, and connect to one of them."""
        del local_address, socket_options
        failure: Exception | None = None
        try:
            with anyio.fail_after(timeout):
                for address in await self._checked(host, port):
                    try:
                        # An address that does not answer must leave time for the others.
                        with anyio.fail_after(ATTEMPT_S):
                            stream = await self._dial(address, port)
                            return BoundedStream(stream, self._rules.most_wire_bytes)
                    except (OSError, httpcore2.ConnectError) as error:
                        failure = error
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(f"no connection within {timeout} seconds") from error
        raise httpcore2.ConnectError("the server cannot be reached") from failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Refuse: a URL leads to a host."""
        raise GuardError("sockets of this machine are not used")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await anyio.sleep(seconds)

    async def _checked(self, host: str, port: int) -> list[str]:
        try:
            literal = ipaddress.ip_address(host)
            found: Sequence[str] = [str(literal)]
        except ValueError:
            try:
                found = await self._resolve(host, port)
            except (OSError, UnicodeError) as error:
                raise httpcore2.ConnectError(f"the name {host!r} is not known") from error
        if not found:
            raise httpcore2.ConnectError(f"the name {host!r} has no address")
        if not self._rules.is_inside(host, port):
            for text in found:
                require_public(host, text)
        return list(found)


class BoundedStream(httpcore2.AsyncNetworkStream):
    """A connection that is read in small pieces, up to a bound.

    What comes in one piece is parsed without a pause, and interim answers (1xx) have no end.

    :param stream: the connection.
    :param most_bytes: the bytes after which it fails.
    """

    def __init__(self, stream: httpcore2.AsyncNetworkStream, most_bytes: int) -> None:
        self._stream = stream
        self._left = most_bytes
        self._pace = Pace()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return the next piece, b"" at the end."""
        if self._pace.is_due:
            await self._pace.pause()
        data = await self._stream.read(min(max_bytes, PIECE_BYTES), timeout)
        self._left -= len(data)
        if self._left < 0:
            raise GuardError("its answer does not come to an end")
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes."""
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Encrypt the connection; what is inside is bounded in the same way."""
        stream = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        return BoundedStream(stream, self._left)

    def get_extra_info(self, info: str) -> Any:
        """Return what is known of the connection."""
        return self._stream.get_extra_info(info)


def require_public(host: str, text: str) -> None:
    """Check that an address of a host is public.

    :param host: the host, for the message.
    :param text: the address.
    :raises GuardError: if it is not.
    """
    try:
        problem = public_problem(ipaddress.ip_address(text))
    except ValueError:
        problem = "it is not an address"
    if problem:
        where = f"{host!r}" if host == text else f"the address {text} of {host!r}"
        raise GuardError(f"{where} is not allowed: {problem}")


class GuardError(Exception):
    """A connection or an answer is not allowed; the message states why."""


class _Inflater:
    """Decompresses gzip in bounded steps; what follows the end is ignored."""

    def __init__(self) -> None:
        self._gzip = zlib.decompressobj(31)

    @property
    def is_finished(self) -> bool:
        """Whether the compressed body has come to its end."""
        return self._gzip.eof

    def decompressed(self, data: bytes, most_bytes: int) -> bytes:
        """Return at most `most_bytes` of what `data` expands to."""
        if self._gzip.eof:
            return b""
        try:
            return self._gzip.decompress(data, max(1, most_bytes))
        except zlib.error as error:
            raise GuardError("its body is not valid gzip") from error
