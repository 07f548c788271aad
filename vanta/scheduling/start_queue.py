"""The legs of a turn that have not started, and when each starts.

A leg starts by the clock, or when it is called because another leg gave no answer. A retry is a
leg that starts by the clock again.

Invariant: every plan starts at most once. If the clock would start no plan, the first one starts
at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from vanta.scheduling.policy import LegPlan

MayHedge = Callable[[str], bool]


class StartQueue:
    """The waiting legs. Times are seconds since the turn began.

    :param plans: the legs, in order of preference.
    :param hard: the router's classification of the message; None counts as not hard.
    :param may_hedge: called once, with the track's name, for each leg that the clock would start
        late; False leaves the leg waiting to be called, so that extra calls stay under their cap.
    """

    def __init__(self, plans: Sequence[LegPlan], *, hard: bool | None, may_hedge: MayHedge) -> None:
        self._hard = bool(hard)
        self._may_hedge = may_hedge
        # Copies: equal plans are two legs all the same, and are distinguished by identity.
        self._waiting = [dataclasses.replace(plan) for plan in plans]
        self._clocks: dict[int, float] = {}
        for plan in self._waiting:
            clock = self._clock(plan)
            if clock is not None:
                self._clocks[id(plan)] = clock
        if self._waiting and not self._clocks:
            self._clocks[id(self._waiting[0])] = 0.0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def waiting(self) -> Sequence[LegPlan]:
        """All legs that have not started, in order of preference."""
        return tuple(self._waiting)

    @property
    def timed(self) -> Sequence[LegPlan]:
        """The waiting legs that the clock will start."""
        return tuple(plan for plan in self._waiting if id(plan) in self._clocks)

    def next_s(self) -> Sequence[float]:
        """Return when the clock will start legs."""
        return [self._clocks[id(plan)] for plan in self.timed]

    def due(self, now_s: float) -> list[tuple[LegPlan, str]]:
        """Take the legs whose time has come, each with the reason."""
        started = []
        for plan in self.timed:
            clock = self._clocks[id(plan)]
            if clock > now_s:
                continue
            if self._is_delayed(plan) and not self._may_hedge(plan.track):
                del self._clocks[id(plan)]
                continue
            started.append((self.take(plan), self._reason(plan, clock)))
        return started

    def call(self) -> LegPlan | None:
        """Take the next leg whatever its clock says; None if no leg waits."""
        return self.take(self._waiting[0]) if self._waiting else None

    def take(self, plan: LegPlan) -> LegPlan:
        """Take a waiting leg and return it."""
        self._waiting = [waiting for waiting in self._waiting if waiting is not plan]
        self._clocks.pop(id(plan), None)
        return plan

    def add(self, plan: LegPlan, at_s: float) -> None:
        """Add a retry of `plan` that starts at `at_s`."""
        retry = dataclasses.replace(plan, start_after_s=None)
        self._waiting.append(retry)
        self._clocks[id(retry)] = at_s

    def clear(self) -> None:
        """Drop all waiting legs."""
        self._waiting.clear()
        self._clocks.clear()

    def _clock(self, plan: LegPlan) -> float | None:
        matches: Mapping[str, bool] = {"hard": self._hard, "easy": not self._hard}
        return plan.start_after_s if matches.get(plan.when, True) else None

    def _is_delayed(self, plan: LegPlan) -> bool:
        return bool(plan.start_after_s)

    def _reason(self, plan: LegPlan, clock: float) -> str:
        if self._is_delayed(plan):
            return f"after {clock:.3g} s of silence"
        if clock:
            return "retry"
        return "at once" if plan.when == "always" else f"the message looks {plan.when}"
