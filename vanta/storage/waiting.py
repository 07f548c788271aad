"""How long a call to the store may wait: for its turn, for another process's lock, for the disk.

A turn has one deadline for everything, so no wait for its store may outlast it. The limit belongs
to the task and to the tasks that it starts, because the calls lie in rooms that know no deadline.
Invariant: without a limit a call waits `BUSY_TIMEOUT_S` for a lock, as background work does; with
one, it waits for what is left, at least `LEAST_WAIT_S`, and its work has `WORK_S` more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import anyio

BUSY_TIMEOUT_S = 5.0
"""Seconds to wait for another process's lock, if nothing limits the wait."""

LEAST_WAIT_S = 0.05
"""Seconds that a call may wait although its deadline has passed: a turn that the deadline ends has
yet to be stored."""

WORK_S = 0.25
"""Seconds that the statements themselves may take beyond the wait, as on a slow disk."""

_ends_at: ContextVar[float | None] = ContextVar("_ends_at", default=None)


@contextmanager
def store_waits_until(deadline: float, *, moved: bool = False) -> Iterator[None]:
    """Limit the waits of all calls to the store in this block, and in tasks that it starts.

    An earlier limit outside the block holds, too.

    :param deadline: seconds on the event loop's clock.
    :param moved: whether the deadline outside was moved to this one, and does not hold any more.
    """
    outer = None if moved else _ends_at.get()
    token = _ends_at.set(deadline if outer is None else min(outer, deadline))
    try:
        yield
    finally:
        _ends_at.reset(token)


def store_wait_s() -> float | None:
    """Return the seconds that a call may wait now, None without a limit."""
    ends_at = _ends_at.get()
    if ends_at is None:
        return None
    return max(LEAST_WAIT_S, ends_at - anyio.current_time())
