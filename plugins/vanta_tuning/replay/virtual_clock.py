"""A virtual clock: an event loop on which waiting takes no time.

Whenever nothing can run, time jumps to the next timer. An hour of turns is replayed in a second, by
the code that runs live turns, and with the same result each time. Invariant: nothing outside the
process can be awaited (no socket, no thread); a wait without a timer is an error.

Only this module depends on the event loop below anyio: asyncio accepts a clock and a selector and
runs ready callbacks in a fixed order; trio's order is random by design.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


def run(main: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run `main(*args)` on a virtual clock that starts at 0 and return its result.

    :raises RuntimeError: it waits for something without a timer.
    """
    return anyio.run(main, *args, backend="asyncio", backend_options={"loop_factory": JumpingLoop})


class _Jump(selectors.SelectSelector):
    """A selector that watches nothing and moves the time instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("a replay waits for something without a timer")
        # At least the smallest step, to reach a time that rounding puts slightly ahead.
        self.now = max(self.now + timeout, math.nextafter(self.now, math.inf))
        return []


class JumpingLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop on virtual time."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        """Return virtual seconds."""
        return self._jump.now

    def jump(self, seconds: float) -> None:
        """Let time pass in which nothing can run."""
        self._jump.now += seconds
