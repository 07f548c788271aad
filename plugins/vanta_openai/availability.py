"""Whether a server answers, asked seldom.

Invariant: at most one check at a time, and none within `RETRY_S` of the last unless forced; a good
result is believed for `FRESH_S`, a bad one is looked into again after `RETRY_S`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio

from vanta.engine import Health

RETRY_S = 30.0
FRESH_S = 60.0


class Availability:
    """The last result of `check`, with its age."""

    def __init__(
        self, check: Callable[[], Awaitable[Health]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._check = check
        self._clock = clock
        self._lock = anyio.Lock()
        self._last: Health | None = None
        self._checked_at = 0.0

    async def get(self, *, force: bool = False) -> Health:
        """The last result while it may stand, else a new one."""
        async with self._lock:
            age_s = self._clock() - self._checked_at
            if self._last is not None and not force and age_s < self._lifetime_s(self._last):
                return replace(self._last, age_s=age_s)
            self._last = await self._check()
            self._checked_at = self._clock()
            return self._last

    @staticmethod
    def _lifetime_s(health: Health) -> float:
        return FRESH_S if health.ok else RETRY_S
