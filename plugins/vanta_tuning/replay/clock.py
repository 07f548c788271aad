"""A clock that jumps: an event loop on which waiting takes no time at all.

Whenever nothing can run, time moves to the next timer. So an hour of turns is replayed in a
second, by the code that runs live turns, and twice the same way. Invariant: nothing outside the
process can be waited for here (no socket, no thread): what would wait for ever is an error.

This is the one place that knows which event loop anyio runs on: asyncio's takes a clock and a
selector from outside and runs what is ready in a fixed order; trio's order is random by design.
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
    """Run `main(*args)` on a virtual clock that begins at 0; returns what it returns.

    Raises RuntimeError if it waits for something that no timer will bring.
    """
    return anyio.run(main, *args, backend="asyncio", backend_options={"loop_factory": JumpingLoop})


class _Jump(selectors.SelectSelector):
    """A selector that looks at nothing: asked to wait, it moves the time instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("a replay waits for something that no timer will bring")
        # At least the smallest step, so that a time which rounding puts a hair ahead is reached.
        self.now = max(self.now + timeout, math.nextafter(self.now, math.inf))
        return []


class JumpingLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop, on virtual time."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        """Virtual seconds."""
        return self._jump.now

    def jump(self, seconds: float) -> None:
        """Let so much time pass in which nothing could run."""
        self._jump.now += seconds
