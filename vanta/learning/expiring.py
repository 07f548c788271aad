"""A value that was learnt from a server and is believed for a limited time.

Invariant: after its time, and after `forget`, the value is as if it had never been learnt.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

LEARNT_S = 3600.0
"""Seconds for which a learnt value is believed."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """One fact that a process has learnt about a track, for people.

    :param track: the track's name.
    :param what: the kind of fact, such as `window`.
    :param detail: the fact, as a clause without text of a server.
    :param left_s: seconds until it is forgotten.
    """

    track: str
    what: str
    detail: str
    left_s: float


class Expiring(Generic[T]):
    """One learnt value.

    :param life_s: seconds for which it is believed after it was set.
    :param clock: returns seconds on a clock that never goes back.
    """

    def __init__(
        self, life_s: float = LEARNT_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._life_s = life_s
        self._clock = clock
        self._value: T | None = None
        self._until = 0.0

    @property
    def value(self) -> T | None:
        """The value, None if there is none or its time is over."""
        if self._value is not None and self._clock() >= self._until:
            self._value = None
        return self._value

    @property
    def left_s(self) -> float:
        """Seconds for which the value is still believed, 0 without one."""
        return 0.0 if self.value is None else self._until - self._clock()

    def set(self, value: T) -> None:
        """Learn a value; its time begins again.

        :param value: the value.
        """
        self._value, self._until = value, self._clock() + self._life_s

    def forget(self) -> None:
        """Forget the value."""
        self._value = None
