"""The connection to one server: opened when it is needed, once for all calls, and again if it ends.

Everything here runs on the loop of a `LoopThread`. Invariants: a call is sent once and never
repeated; whatever happens to the server becomes a `ToolError` with the reason. After a failure the
next attempts wait, each longer than the last, and in between the reason is reported at once.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio

from vanta import ToolError
from vanta.text import printable
from vanta_mcp.loop_thread import LoopThread
from vanta_mcp.settings import Server

if TYPE_CHECKING:
    from mcp.client.client import Client

T = TypeVar("T")

MOST_WAIT_S = 60.0
"""The longest time between two attempts to reach a server that fails."""

SETTLED_S = 30.0
"""Seconds that a connection must have lasted for its end not to count as one more failure."""

_CLIENT_LOGGERS = ("mcp", "client", "httpx2")


class LostCallError(ToolError):
    """The connection ended while a request was on its way, which may have had its effect."""


class MessageTransport(Protocol):
    """What carries the messages."""

    ended: anyio.Event
    why_ended: str

    @property
    def last_words(self) -> str:
        """What the server wrote at last, for the reason of a failure; "" if nothing is known."""
        ...

    def open(self) -> contextlib.AbstractAsyncContextManager[tuple[Any, Any]]:
        """Connect; yield the streams of messages in both directions."""
        ...


class ServerConnection:
    """The connection to one server.

    :param server: the server.
    :param transport: makes what carries the messages, once for each connection.
    :param thread: the thread on whose loop it lives.
    :param elicit: answers the server's questions to the person; None if it cannot ask any.
    """

    def __init__(
        self,
        server: Server,
        transport: Callable[[], MessageTransport],
        thread: LoopThread,
        elicit: Any = None,
    ) -> None:
        self._server = server
        self._transport = transport
        self._thread = thread
        self._elicit = elicit
        self._client: Client | None = None
        self._attempt: _Attempt | None = None
        self._failures = 0
        self._retry_at = 0.0
        self._reason = ""
        self.changes = 0
        """How often the server's list of tools may have changed."""
        self.hears_changes = False
        """Whether the server announces changes of its list."""

    async def use(self, work: Callable[[Client], Awaitable[T]]) -> T:
        """Connect, if needed, and do something with the SDK's client.

        :param work: what to do.
        :raises ToolError: if the server cannot be reached, refuses, or ends meanwhile.
        """
        client = await self._connected()
        attempt = self._attempt
        try:
            return await work(client)
        except ToolError:
            raise
        except Exception as error:
            if _is_lost(error) and attempt is not None:
                attempt.end()
                await attempt.over.wait()
                raise LostCallError(
                    f"the server {self._server.name!r} ended during the request: "
                    f"{self._reason or reason_of(error)}. It may have had its effect."
                ) from error
            raise ToolError(
                f"the server {self._server.name!r} answered with an error: {reason_of(error)}"
            ) from error

    async def _connected(self) -> Client:
        attempt = self._attempt
        if attempt is None:
            wait_s = self._retry_at - anyio.current_time()
            if wait_s > 0:
                raise ToolError(f"{self._reason} It is tried again in {wait_s:.0f} s.")
            attempt = self._attempt = _Attempt()
            self._thread.start_soon(lambda: self._hold(attempt))
        await attempt.decided.wait()
        if attempt.client is None:
            raise ToolError(self._reason)
        return attempt.client

    async def _hold(self, attempt: _Attempt) -> None:
        """Open a connection and keep it until it ends or is ended."""
        began_at, is_open = anyio.current_time(), False
        transport: MessageTransport | None = None
        reason = ""
        try:
            transport = self._transport()
            with anyio.CancelScope() as attempt.scope:
                attempt.scope.deadline = began_at + self._server.config.start_timeout_s
                async with self._opened(transport) as client:
                    attempt.scope.deadline = float("inf")
                    is_open, attempt.client = True, client
                    attempt.decided.set()
                    await self._follow(client, transport)
            if attempt.scope.cancelled_caught and not is_open:
                seconds = self._server.config.start_timeout_s
                reason = f"it did not start within {seconds:g} s"
        except Exception as error:  # noqa: BLE001 - whatever the SDK or the server makes of it
            reason = reason_of(error)
        finally:
            attempt.client = None
            self._attempt = None
            if transport is not None:
                reason = transport.why_ended or reason
            last_words = transport.last_words if transport is not None else ""
            self._fail(reason, last_words, began_at, is_open)
            attempt.decided.set()
            attempt.over.set()

    @contextlib.asynccontextmanager
    async def _opened(self, transport: MessageTransport) -> AsyncIterator[Client]:
        from mcp.client.client import Client
        from mcp_types import Implementation

        quieten()
        client = Client(
            transport.open(),
            client_info=Implementation(name="vanta", version="1"),
            read_timeout_seconds=self._server.config.start_timeout_s,
            message_handler=self._hear,
            elicitation_callback=self._elicit,
            cache=None,
        )
        async with client:
            yield client

    async def _follow(self, client: Client, transport: MessageTransport) -> None:
        """Wait for the end of the connection; hear of changes meanwhile."""
        from mcp_types.version import MODERN_PROTOCOL_VERSIONS

        capabilities = client.server_capabilities
        announces = bool(capabilities.tools and capabilities.tools.list_changed)
        is_modern = client.protocol_version in MODERN_PROTOCOL_VERSIONS
        self.changes += 1
        self.hears_changes = announces and not is_modern
        async with anyio.create_task_group() as tasks:
            if announces and is_modern:
                tasks.start_soon(self._listen, client)
            await transport.ended.wait()
            tasks.cancel_scope.cancel()

    async def _listen(self, client: Client) -> None:
        """Subscribe to changes, as servers of the newer era want it; without it, list each time."""
        try:
            async with client.listen(tools_list_changed=True) as subscription:
                self.hears_changes = True
                async for _event in subscription:
                    self.changes += 1
        except Exception as error:  # noqa: BLE001 - the list is then asked for each time
            logging.getLogger("vanta.mcp").debug("%s: %s", self._server.name, reason_of(error))
        finally:
            self.hears_changes = False
            self.changes += 1

    async def _hear(self, message: Any) -> None:
        if getattr(message, "method", "") == "notifications/tools/list_changed":
            self.changes += 1

    def _fail(self, reason: str, last_words: str, began_at: float, is_open: bool) -> None:
        now = anyio.current_time()
        if is_open and now - began_at >= SETTLED_S:
            self._failures = 0
        self._failures += 1
        # A server that worked is started again at once; one that fails again has to wait.
        wait_s = 0.0 if is_open and self._failures == 1 else min(MOST_WAIT_S, 2.0**self._failures)
        self._retry_at = now + wait_s
        words = f" Its last words: {last_words}" if last_words else ""
        self._reason = (
            f"the server {self._server.name!r} is off: {reason or 'its connection ended'}.{words}"
        )


class _Attempt:
    """One connection, from the beginning of its start to its end."""

    def __init__(self) -> None:
        self.scope: anyio.CancelScope | None = None
        self.client: Client | None = None
        self.decided = anyio.Event()
        self.over = anyio.Event()

    def end(self) -> None:
        """Close the connection."""
        if self.scope is not None:
            self.scope.cancel()


def quieten() -> None:
    """Silence the loggers of the SDK, which quote messages; what matters is in our own errors."""
    for name in _CLIENT_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def reason_of(error: BaseException) -> str:
    """Return why something failed, from inside of groups of exceptions.

    :param error: the exception.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = printable(str(error))[:500] or type(error).__name__
    return text.rstrip(".")


def _is_lost(error: BaseException) -> bool:
    """Return whether an error means that the connection is of no use any more."""
    from mcp.shared.exceptions import MCPError
    from mcp_types import CONNECTION_CLOSED

    if isinstance(error, MCPError):
        return error.code == CONNECTION_CLOSED or error.message == "Session terminated"
    return isinstance(error, anyio.ClosedResourceError | anyio.BrokenResourceError)
