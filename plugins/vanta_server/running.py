"""Running the server: one runtime, one socket, and an orderly end.

The first SIGINT or SIGTERM stops accepting, lets running answers finish for a while and closes the
runtime; the second one ends at once. Invariant: whichever way it ends, the runtime is closed: no
turn, engine, socket or reservation remains.
"""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import anyio
import uvicorn

from vanta import Runtime, UsageError
from vanta_server.access import LOOPBACK, AccessRules
from vanta_server.app import create_app
from vanta_server.metrics import Metrics

BACKLOG = 512
DRAIN_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Where a server listens, and how it ends.

    :param host: the address of the interface; 0.0.0.0 for all of them.
    :param port: the port; 0 for a free one.
    :param drain_s: seconds that running answers may take to finish once it is asked to stop.
    """

    host: str = "127.0.0.1"
    port: int = 8780
    drain_s: float = DRAIN_S


class _Server(uvicorn.Server):
    """Uvicorn's server, whose signals are handled by `serve`.

    :param on_ready: called once requests are accepted.
    """

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept requests."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def bind(settings: ServerSettings, rules: AccessRules) -> socket.socket:
    """Return the socket that the server listens on. Blocking.

    :raises UsageError: if the address is taken or not one of this machine, or if it can be reached
        from other machines and the server has no key.
    :raises RunError: if the keys cannot be read.
    """
    has_keys = bool(rules.keys.list())  # from here on, a server that has keys needs one
    if settings.host not in LOOPBACK and not has_keys:
        raise UsageError(
            f"{settings.host!r} can be reached from other machines, and the server has no keys: "
            "everyone could use it. Create one with 'vanta keys create USER' first."
        )
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # By this number asyncio knows TCP, and sends small pieces at once (TCP_NODELAY).
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"the address {settings.host}:{settings.port} cannot be used: {error.strerror}. "
            "Choose another with --port or --host."
        ) from None
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the base URL of a server that listens on a socket."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def serve(
    runtime: Runtime,
    listener: socket.socket,
    rules: AccessRules,
    *,
    drain_s: float = DRAIN_S,
    on_ready: Callable[[], None] = lambda: None,
    signals: bool = True,
) -> None:
    """Serve a runtime until a signal, or until this is cancelled. Closes the socket. asyncio only.

    :param runtime: what answers; its opener closes it.
    :param listener: a socket that listens.
    :param rules: who may ask.
    :param drain_s: seconds that running answers may take to finish.
    :param on_ready: called once requests are accepted.
    :param signals: whether SIGINT and SIGTERM end it.
    """
    metrics = Metrics()
    config = uvicorn.Config(
        create_app(runtime, rules, metrics),
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=max(1, round(drain_s)),
        h11_max_incomplete_event_size=64 * 1024,
    )
    server = _Server(config, on_ready)

    async def stop_on_signals() -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
            async for _ in received:
                server.force_exit = server.should_exit
                server.should_exit = True

    async with anyio.create_task_group() as tasks:
        if signals:
            tasks.start_soon(stop_on_signals)
        try:
            with runtime.observing(metrics):
                await server.serve(sockets=[listener])
        finally:
            listener.close()
            tasks.cancel_scope.cancel()
