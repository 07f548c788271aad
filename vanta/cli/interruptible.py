"""Work on a runtime's event loop, watched from the main thread, that Ctrl-C stops.

The main thread has the terminal and the signals, another thread has the event loop (the
synchronous facade's), so neither reading a line nor printing one ever blocks a turn. Invariant:
when `watch` returns or raises, the work is over and everything it held stands still; Ctrl-C never
lands as an exception in the middle of it.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

import anyio
from anyio.from_thread import BlockingPortal

T = TypeVar("T")
_PATIENCE = 3


class Interruptible(Generic[T]):
    """One piece of work: an async function that is given a callable to tell of its progress."""

    def __init__(self, portal: BlockingPortal) -> None:
        self.interrupts = 0
        self._portal = portal
        self._items: SimpleQueue[T | None] = SimpleQueue()
        self._scope: anyio.CancelScope | None = None

    def watch(
        self, work: Callable[[Callable[[T], None]], Awaitable[None]], show: Callable[[T], None]
    ) -> bool:
        """Run `work`, `show` each item that it tells of, and wait for its end.

        Returns False if Ctrl-C stopped it. Raises what `work` or `show` raised, and
        KeyboardInterrupt if the work cannot be stopped and Ctrl-C came a third time.
        """
        before = signal.signal(signal.SIGINT, self._on_interrupt)
        try:
            done = self._portal.start_task_soon(self._run, work)
            try:
                while (item := self._items.get()) is not None:
                    show(item)
            except BaseException:
                self._portal.start_task_soon(self._cancel)
                raise
            finished: bool = done.result()
            return finished
        finally:
            signal.signal(signal.SIGINT, before)

    async def _run(self, work: Callable[[Callable[[T], None]], Awaitable[None]]) -> bool:
        try:
            with anyio.CancelScope() as self._scope:
                if self.interrupts:
                    self._scope.cancel()
                await work(self._items.put)
                return True
            return False
        finally:
            self._items.put(None)

    async def _cancel(self) -> None:
        if self._scope is not None:
            self._scope.cancel()

    def _on_interrupt(self, *_: object) -> None:
        self.interrupts += 1
        if self.interrupts >= _PATIENCE:
            raise KeyboardInterrupt
        self._portal.start_task_soon(self._cancel)
