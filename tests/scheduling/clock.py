"""A clock that jumps: whenever nothing can run, time moves to the next timer.

For tests in which timers lie close together: on a real clock, a machine that stops for a moment
would change which of them are due first. Nothing outside the event loop can be waited for on it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import trio.testing

from vanta_tuning.replay.virtual_clock import JumpingLoop


def jumping(backend: str) -> tuple[str, dict[str, Any]]:
    """Return `backend` on such a clock: a value for the fixture `anyio_backend`."""
    if backend == "asyncio":
        return backend, {"loop_factory": JumpingLoop}
    return backend, {"clock": trio.testing.MockClock(autojump_threshold=0)}


def stand_still(seconds: float) -> None:
    """Let the clock go on while nothing can run, as when a program computes on the event loop, or
    its machine stops it."""
    if trio.lowlevel.in_trio_run():
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)
        clock.jump(seconds)
    else:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, JumpingLoop)
        loop.jump(seconds)
