"""Starts: which legs of a turn are still to begin, and when.

A leg begins by the clock, or when it is called because another leg gave no answer; a retry is a
leg that begins by the clock once more. Invariant: every plan begins at most once; the first plan
begins at once if the clock would begin none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from vanta.scheduling.policy import LegPlan

MayHedge = Callable[[str], bool]


class StartQueue:
    """The legs that wait. Times are seconds since the turn began.

    hard: what the router said of the message (None: it was not asked, so nothing counts as hard).
    may_hedge: asked once for each leg that the clock would start late; a no leaves it waiting to
    be called, so that extra calls stay under their cap.
    """

    def __init__(self, plans: Sequence[LegPlan], *, hard: bool | None, may_hedge: MayHedge) -> None:
        self._hard = bool(hard)
        self._may_hedge = may_hedge
        # Copies: equal plans are two legs all the same, and are told apart by who they are.
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
        """All that have not begun, in order of preference."""
        return tuple(self._waiting)

    @property
    def timed(self) -> Sequence[LegPlan]:
        """Those that the clock will begin."""
        return tuple(plan for plan in self._waiting if id(plan) in self._clocks)

    def next_s(self) -> Sequence[float]:
        """When the clock will begin legs."""
        return [self._clocks[id(plan)] for plan in self.timed]

    def due(self, now_s: float) -> list[tuple[LegPlan, str]]:
        """Take the legs whose time has come, each with the reason."""
        begun = []
        for plan in self.timed:
            clock = self._clocks[id(plan)]
            if clock > now_s:
                continue
            if self._late(plan) and not self._may_hedge(plan.track):
                del self._clocks[id(plan)]
                continue
            begun.append((self.take(plan), self._reason(plan, clock)))
        return begun

    def call(self) -> LegPlan | None:
        """Take the next leg, whatever its clock says: what it waited for will not come."""
        return self.take(self._waiting[0]) if self._waiting else None

    def take(self, plan: LegPlan) -> LegPlan:
        """Begin a waiting leg."""
        self._waiting = [waiting for waiting in self._waiting if waiting is not plan]
        self._clocks.pop(id(plan), None)
        return plan

    def add(self, plan: LegPlan, at_s: float) -> None:
        """Have one more leg begin at a time (a retry)."""
        again = dataclasses.replace(plan, start_after_s=None)
        self._waiting.append(again)
        self._clocks[id(again)] = at_s

    def clear(self) -> None:
        """Nothing begins any more."""
        self._waiting.clear()
        self._clocks.clear()

    def _clock(self, plan: LegPlan) -> float | None:
        wanted: Mapping[str, bool] = {"hard": self._hard, "easy": not self._hard}
        return plan.start_after_s if wanted.get(plan.when, True) else None

    def _late(self, plan: LegPlan) -> bool:
        return bool(plan.start_after_s)

    def _reason(self, plan: LegPlan, clock: float) -> str:
        if self._late(plan):
            return f"after {clock:.3g} s of silence"
        if clock:
            return "once more"
        return "at once" if plan.when == "always" else f"the message looks {plan.when}"
