"""Measures what a block costs its process: stalls of the event loop, and memory at its peak.

A task ticks beside the block; the loop stalled for as long as a tick was late. On a machine with
other work a tick is also late because this process was not running, so the processor time within
the gap is measured too. Invariant: the meter allocates nothing that grows, and its own ticks take
less than a hundredth of a core.
"""

from __future__ import annotations

import resource
import sys
import time
from functools import partial
from pathlib import Path
from typing import Self

import anyio
import anyio.to_thread

TICK_S = 0.002
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


class LoadMeter:
    """Measures a block: `async with LoadMeter() as load`, and its figures afterwards.

    :ivar longest_stall_s: the longest time for which the event loop ran nothing else.
    :ivar longest_busy_s: the longest processor time of this process within such a time: a stall
        that is its own fault, whatever else the machine does.
    :ivar stalls: the number of stalls of more than 50 ms of processor time.
    :ivar grown_bytes: by how many bytes the process's memory grew at its peak.
    """

    def __init__(self) -> None:
        self.longest_stall_s = 0.0
        self.longest_busy_s = 0.0
        self.stalls = 0
        self.grown_bytes = 0
        self._base_bytes = 0
        self._scope = anyio.CancelScope()
        self._tasks = anyio.create_task_group()

    async def __aenter__(self) -> Self:
        reset = partial(_resident_bytes, reset=True)
        self._base_bytes = await anyio.to_thread.run_sync(reset)
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._tick)
        await anyio.sleep(2 * TICK_S)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._scope.cancel()
        # The error of the body is not passed on: it must not come out in a group.
        await self._tasks.__aexit__(None, None, None)
        with anyio.CancelScope(shield=True):
            peak = await anyio.to_thread.run_sync(_resident_bytes)
        self.grown_bytes = max(0, peak - self._base_bytes)

    async def _tick(self) -> None:
        wall, cpu = time.monotonic(), time.process_time()
        with self._scope:
            while True:
                await anyio.sleep(TICK_S)
                now, busy = time.monotonic(), time.process_time()
                late_s = max(0.0, now - wall - TICK_S)
                busy_s = min(late_s, busy - cpu)
                self.longest_stall_s = max(self.longest_stall_s, late_s)
                self.longest_busy_s = max(self.longest_busy_s, busy_s)
                self.stalls += busy_s > 0.05
                wall, cpu = now, busy


def _resident_bytes(*, reset: bool = False) -> int:
    """Return the memory of this process at its peak; `reset` begins a new peak and returns it.

    Systems without /proc report the peak since the process began.
    """
    try:
        if reset:
            _CLEAR.write_text(_RESET_PEAK)
        lines = _STATUS.read_text().splitlines()
        (peak,) = (line for line in lines if line.startswith("VmHWM:"))
        return int(peak.split()[1]) * 1024
    except (OSError, ValueError):
        scale = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
