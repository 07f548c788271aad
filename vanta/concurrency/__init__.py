"""Concurrency: task groups whose errors come out as themselves, and the check for a fork.

Invariant: this room knows nothing of turns, so every other room may use it.
"""

from __future__ import annotations

from vanta.concurrency.home_process import HomeProcess
from vanta.concurrency.task_group import INTERRUPTS, open_task_group

__all__ = ["INTERRUPTS", "HomeProcess", "open_task_group"]
