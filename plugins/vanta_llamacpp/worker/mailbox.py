"""From the worker's thread to an event loop, cheaply and without ever blocking the worker.

`anyio.from_thread.run_sync` waits for the loop at every call; a token would cost the worker a round
trip. Here a put is an append, and the loop is told at most once until it has looked.
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
    """Many writers in any thread, one reader in the event loop that made it."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._mail = anyio.Event()
        self._told = False
        self._tell = _call_soon()

    def put(self, item: T) -> None:
        """Leave an item for the reader; callable from any thread."""
        self._items.append(item)
        if not self._told:
            self._told = True
            with suppress(RuntimeError):  # the loop is gone, and the reader with it
                self._tell(self._wake)

    def _wake(self) -> None:
        self._told = False
        self._mail.set()

    async def get(self) -> T:
        """The next item, waiting for it; always a checkpoint."""
        if self._items:
            await anyio.lowlevel.checkpoint()
        while not self._items:
            self._mail = anyio.Event()
            await self._mail.wait()
        return self._items.popleft()


def _call_soon() -> Callable[[Callable[[], None]], Any]:
    """How to call something in the running loop from another thread: asyncio's way or trio's."""
    native = anyio.lowlevel.current_token().native_token
    soon: Callable[[Callable[[], None]], Any] = (
        getattr(native, "call_soon_threadsafe", None) or native.run_sync_soon  # type: ignore[attr-defined]
    )
    return soon
