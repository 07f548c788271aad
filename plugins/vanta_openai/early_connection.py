"""Connections that are opened before their request is known.

While a turn's memories are looked up, its request cannot be written yet, but the connection that it
will need can be opened: TCP, and TLS if the server has it. Invariants: nothing is sent on such a
connection, it is used for the one server of its pool, and one that is not used soon is closed.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import anyio
import httpcore2
import httpx2

KEPT_S = 4.0
"""Seconds for which a connection waits for its request; servers close idle ones after five."""

CLOSE_S = 1.0


@dataclass(slots=True)
class _Open:
    """A connection without a request. tcp: what `tls`, if any, runs on."""

    tcp: httpcore2.AsyncNetworkStream
    tls: httpcore2.AsyncNetworkStream | None
    opened_at: float

    @property
    def is_usable(self) -> bool:
        """Whether it is recent, and the server has not closed it, as far as that is seen.

        Without TLS, only a closed one can be read. With TLS, tickets for later sessions can, too.
        """
        is_recent = time.monotonic() - self.opened_at < KEPT_S
        is_readable = self.tls is None and bool(self.tcp.get_extra_info("is_readable"))
        return is_recent and not is_readable

    async def aclose(self) -> None:
        with anyio.move_on_after(CLOSE_S, shield=True):
            await (self.tls or self.tcp).aclose()


class EarlyConnections(httpcore2.AsyncNetworkBackend):
    """The network of one server's pool; `open_early` prepares its next connection.

    server: the origin of all requests. context: for TLS, None for a server without it.
    """

    def __init__(self, server: httpcore2.Origin, context: ssl.SSLContext | None) -> None:
        self._host, self._port = server.host.decode("ascii"), server.port
        self._context = context
        self._network = httpcore2.AnyIOBackend()
        self._ready: _Open | None = None
        self._opening = anyio.Lock()
        self._closed = False

    async def open_early(self, timeout_s: float | None) -> None:
        """Open a connection for the next request, unless one is ready.

        timeout_s: seconds for each of TCP and TLS. Raises what opening raises.
        """
        async with self._opening:
            if self._closed or (self._ready and self._ready.is_usable):
                return
            await self._drop()
            opened = await self._open(timeout_s)
            if self._closed:
                await opened.aclose()
            else:
                self._ready = opened

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Return the connection that is ready, or a new one."""
        ready = self._ready
        if ready is not None and (host, port) == (self._host, self._port):
            self._ready = None
            if ready.is_usable:
                return EarlyStream(ready.tcp, ready.tls)
            await ready.aclose()
        return await self._network.connect_tcp(host, port, timeout, local_address, socket_options)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """See `httpcore2.AsyncNetworkBackend`."""
        return await self._network.connect_unix_socket(path, timeout, socket_options)

    async def sleep(self, seconds: float) -> None:
        """See `httpcore2.AsyncNetworkBackend`."""
        await self._network.sleep(seconds)

    async def aclose(self) -> None:
        """Close the connection that is ready, and open no more."""
        self._closed = True
        await self._drop()

    async def _open(self, timeout_s: float | None) -> _Open:
        tcp = await self._network.connect_tcp(self._host, self._port, timeout_s)
        if self._context is None:
            return _Open(tcp, None, time.monotonic())
        try:
            self._context.set_alpn_protocols(["http/1.1"])  # as httpcore2 does for each connection
            tls = await tcp.start_tls(self._context, self._host, timeout_s)
        except BaseException:
            with anyio.move_on_after(CLOSE_S, shield=True):
                await tcp.aclose()
            raise
        return _Open(tcp, tls, time.monotonic())

    async def _drop(self) -> None:
        ready, self._ready = self._ready, None
        if ready is not None:
            await ready.aclose()


class EarlyStream(httpcore2.AsyncNetworkStream):
    """A connection that was opened early. A request that finds it stale is sent on another one.

    tls: what is open on `tcp` already, None if TLS is not wanted.
    """

    def __init__(
        self, tcp: httpcore2.AsyncNetworkStream, tls: httpcore2.AsyncNetworkStream | None
    ) -> None:
        self._stream = tls or tcp
        self._tls = tls

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Return the stream that is open; the arguments are those that it was opened with."""
        return self._tls or await self._stream.start_tls(ssl_context, server_hostname, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class PooledTransport(httpx2.AsyncHTTPTransport):
    """A pool of connections to one server without a proxy, the next of which can be opened early.

    context: for TLS, None for a server without it.
    """

    def __init__(self, url: str, context: ssl.SSLContext | None, limits: httpx2.Limits) -> None:
        super().__init__(verify=context or False, trust_env=False, limits=limits)
        self._early = EarlyConnections(httpcore2.URL(url).origin, context)
        self._pool: httpcore2.AsyncConnectionPool = httpcore2.AsyncConnectionPool(
            ssl_context=context,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=self._early,
        )

    async def open_early(self, timeout_s: float | None) -> None:
        """Open a connection for the next request, if none is idle. Raises what opening raises."""
        kept = self._pool.connections
        if not any(item.is_idle() and not item.has_expired() for item in kept):
            await self._early.open_early(timeout_s)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._early.aclose()
        await super().aclose()
