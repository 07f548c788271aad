"""The pace of a loop that may never have to wait.

A stream whose bytes are there already is read without a single wait, so nothing else on the event
loop runs, not even the timer of the turn's deadline. Invariant: a loop that asks its `Pace` at
every step holds the event loop for at most `PAUSE_EVERY_S` and one step.
"""

from __future__ import annotations

import time

import anyio
import anyio.lowlevel

PAUSE_EVERY_S = 0.005
"""Seconds after which other tasks run."""


class Pace:
    """Lets other tasks run now and then: `if pace.is_due: await pace.pause()`."""

    __slots__ = ("_due_at",)

    def __init__(self) -> None:
        self._due_at = time.monotonic() + PAUSE_EVERY_S

    @property
    def is_due(self) -> bool:
        """Whether the loop has run for long enough."""
        return time.monotonic() >= self._due_at

    async def pause(self) -> None:
        """Let all other tasks run once; a cancellation is raised here."""
        await anyio.lowlevel.checkpoint()
        self._due_at = time.monotonic() + PAUSE_EVERY_S

    async def pause_shielded(self) -> bool:
        """Let all other tasks run once, in a loop over a generator that must run to its end.

        A cancellation raised in such a loop's body would leave the generator suspended.

        :returns: whether this task is cancelled or its time is over, so that it should end soon.
        """
        await anyio.lowlevel.cancel_shielded_checkpoint()
        self._due_at = time.monotonic() + PAUSE_EVERY_S
        return anyio.current_effective_deadline() <= anyio.current_time()
