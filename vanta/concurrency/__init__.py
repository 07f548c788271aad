"""Concurrency: task groups whose errors come out as themselves, and checks of the process.

Invariant: this room knows nothing of turns, so every other room may use it.
"""

from __future__ import annotations

from vanta.concurrency.home_process import HomeProcess
from vanta.concurrency.resource_limits import address_space_left, require_address_space
from vanta.concurrency.task_group import INTERRUPTS, open_task_group

__all__ = [
    "INTERRUPTS",
    "HomeProcess",
    "address_space_left",
    "open_task_group",
    "require_address_space",
]
