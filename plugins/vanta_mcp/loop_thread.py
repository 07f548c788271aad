"""A thread with an event loop of its own, on which the connections to MCP servers live.

A connection has tasks that outlive every call, and a toolset has no task group to put them in. So
they run on this loop, in a task group of the thread, and calls cross over. A large message is then
parsed off the program's own loop, which may be of asyncio or trio.

Invariant: a call that is cancelled is cancelled here, too, and its end is waited for. After
`aclose` no task is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread
from anyio.abc import TaskGroup

from vanta import ToolError

T = TypeVar("T")

CANCEL_S = 2.0
"""Seconds that a cancelled call may take to end."""

JOIN_S = 4.0
_log = logging.getLogger("vanta.mcp")


class LoopThread:
    """Runs coroutines on the event loop of a thread that starts with the first one.

    :param name: the name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._started = threading.Event()
        self._is_closed = False
        self._call_soon: Callable[[Callable[[], Any]], Any] | None = None
        self._tasks: TaskGroup | None = None
        self._stop: anyio.Event | None = None

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run a coroutine on the thread's loop and return its result.

        :param work: makes the coroutine, on that loop.
        :raises ToolError: if the thread is closed.
        """
        call_soon = self._open()
        crossing = _Crossing(work, thread_safe_call())
        call_soon(lambda: self._start(crossing))
        try:
            await crossing.ended.wait()
        except BaseException:
            call_soon(crossing.scope_cancel)
            with anyio.move_on_after(CANCEL_S, shield=True):
                await crossing.ended.wait()
            raise
        return crossing.result()

    def call_soon(self, function: Callable[[], Any]) -> None:
        """Call a function on the thread's loop, from any thread; no-op once it has ended."""
        with contextlib.suppress(RuntimeError):
            if self._call_soon is not None:
                self._call_soon(function)

    def start_soon(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start a task on the thread's loop; call it there."""
        assert self._tasks is not None  # noqa: S101 - called from the loop
        self._tasks.start_soon(work)

    async def aclose(self) -> None:
        """Cancel every task and end the thread. Idempotent."""
        with self._lock:
            self._is_closed = True
            thread, self._thread = self._thread, None
        if thread is None or self._call_soon is None:
            return
        stop = self._stop
        assert stop is not None  # noqa: S101 - set before the thread counts as started
        self._call_soon(stop.set)
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(thread.join, JOIN_S)

    def _open(self) -> Callable[[Callable[[], Any]], Any]:
        with self._lock:
            if self._is_closed:
                raise ToolError("the server is closed, since its runtime is.")
            if self._thread is None:
                # A daemon: a program that forgets to close its runtime still ends.
                self._thread = threading.Thread(target=self._main, name=self._name, daemon=True)
                self._thread.start()
                self._started.wait()
        assert self._call_soon is not None  # noqa: S101 - set when the thread has started
        return self._call_soon

    def _main(self) -> None:
        try:
            anyio.run(self._serve, backend="asyncio")
        except Exception:  # noqa: BLE001 - there is no one above to raise it to
            _log.exception("the loop of %s ended", self._name)
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._stop = anyio.Event()
        async with anyio.create_task_group() as self._tasks:
            # In a context of its own: that of a caller says which library its loop is of.
            self._call_soon = functools.partial(
                asyncio.get_running_loop().call_soon_threadsafe, context=contextvars.copy_context()
            )
            self._started.set()
            await self._stop.wait()
            self._tasks.cancel_scope.cancel()

    def _start(self, crossing: _Crossing[Any]) -> None:
        if self._stop is None or self._stop.is_set():
            crossing.refuse()
        else:
            self.start_soon(crossing.run)


class _Crossing(Generic[T]):
    """One coroutine on the other loop, and the way back of its result."""

    def __init__(
        self, work: Callable[[], Awaitable[T]], call_back: Callable[[Callable[[], Any]], Any]
    ) -> None:
        self._work = work
        self._call_back = call_back
        self._scope: anyio.CancelScope | None = None
        self._is_cancelled = False
        self._value: list[T] = []
        self._error: BaseException | None = None
        self.ended = anyio.Event()

    async def run(self) -> None:
        """Run the coroutine; never raises anything but the cancellation of the loop itself."""
        try:
            with anyio.CancelScope() as self._scope:
                if self._is_cancelled:
                    self._scope.cancel()
                self._value.append(await self._work())
        except Exception as error:  # noqa: BLE001 - raised on the other side
            self._error = error
        finally:
            self._return()

    def scope_cancel(self) -> None:
        """Cancel the coroutine, on its loop."""
        self._is_cancelled = True
        if self._scope is not None:
            self._scope.cancel()

    def refuse(self) -> None:
        """End without running, since the loop is ending."""
        self._return()

    def result(self) -> T:
        """Return the coroutine's result, or raise its error."""
        if self._error is not None:
            raise self._error
        if not self._value:
            raise ToolError("the server was closed during the call.")
        return self._value[0]

    def _return(self) -> None:
        try:
            self._call_back(self.ended.set)
        except RuntimeError:  # the loop of the caller has ended, and trio's error is one
            _log.debug("a result came after its caller's loop had ended")


def thread_safe_call() -> Callable[[Callable[[], Any]], Any]:
    """Return the running loop's function to call something from another thread."""
    native = anyio.lowlevel.current_token().native_token
    call_soon: Callable[[Callable[[], Any]], Any] = (
        getattr(native, "call_soon_threadsafe", None) or native.run_sync_soon  # type: ignore[attr-defined]
    )
    return call_soon
