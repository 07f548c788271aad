"""A queue from the worker's thread to an event loop that never blocks the worker.

`anyio.from_thread.run_sync` waits for the loop at every call: a round trip for every token. Here a
put is an append, and the loop is woken at most once until it has read.

Invariant: items arrive in order, none is lost, and `put` never waits for the reader.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

import anyio
import anyio.lowlevel

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A queue with writers in any thread and one reader, in the event loop that creates it."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._arrival = anyio.Event()
        self._wake_pending = False
        self._call_soon = _thread_safe_call()

    def put(self, item: T) -> None:
        """Append an item. Safe in any thread.

        :param item: the item; after the loop has ended it is dropped, as no reader is left.
        """
        self._items.append(item)
        if not self._wake_pending:
            self._wake_pending = True
            with suppress(RuntimeError):  # the loop has ended, and the reader with it
                self._call_soon(self._wake)

    def _wake(self) -> None:
        self._wake_pending = False
        self._arrival.set()

    async def get(self) -> T:
        """Wait for the next item and return it. Always a checkpoint."""
        if self._items:
            await anyio.lowlevel.checkpoint()
        while not self._items:
            self._arrival = anyio.Event()
            await self._arrival.wait()
        return self._items.popleft()


def _thread_safe_call() -> Callable[[Callable[[], None]], Any]:
    """Return the running loop's function to call something from another thread."""
    native = anyio.lowlevel.current_token().native_token
    call_soon: Callable[[Callable[[], None]], Any] = (
        getattr(native, "call_soon_threadsafe", None) or native.run_sync_soon  # type: ignore[attr-defined]
    )
    return call_soon
