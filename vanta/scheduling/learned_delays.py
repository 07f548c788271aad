"""Delays: how long a track usually is silent, learned online, and a cap on extra calls.

A hedge that starts at a high quantile of the first track's time to first content costs few extra
calls and cuts the tail (Dean & Barroso, "The Tail at Scale", 2013). Quantiles come from DDSketch
(Masson, Rim & Lee, VLDB 2019; relative error 1 %). Two sketches take turns, so that what is
learnt is of the last `WINDOW` to 2 x `WINDOW` turns. Invariant: the cap is hard; the bucket never
lends.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from vanta.scheduling.policy import Policy

WINDOW = 256
ENOUGH = 20
"""Observations before a learned delay replaces the fixed one."""
BURST = 10.0
"""Extra calls that may come together after a quiet time."""


class Silence:
    """How long one track is silent before it speaks, as a sliding distribution."""

    def __init__(self) -> None:
        self._old, self._new = _sketch(), _sketch()

    def note(self, seconds: float) -> None:
        """One more observation, in seconds."""
        self._new.add(max(seconds, 1e-6))
        if self._new.count >= WINDOW:
            self._old, self._new = self._new, _sketch()

    def quantile(self, share: float) -> float | None:
        """The silence that `share` of the turns stay under; None until enough is known."""
        both = _sketch()
        both.merge(self._old)
        both.merge(self._new)
        if both.count < ENOUGH:
            return None
        return float(both.get_quantile_value(share))


class Delays:
    """The silences of all tracks, and what policies make of them."""

    def __init__(self) -> None:
        self._silences: dict[str, Silence] = {}

    def note(self, track: str, seconds: float) -> None:
        """A track spoke after so many seconds, or was stopped after them, still silent.

        A silence that was cut short counts as at least that long: to leave it out would make a
        slow track look fast just when it is hedged.
        """
        self._silences.setdefault(track, Silence()).note(seconds)

    def resolve(self, policy: Policy) -> Policy:
        """`policy` with its learned delays filled in."""
        if all(leg.delay_quantile is None for leg in policy.legs):
            return policy
        first = self._silences.get(policy.legs[0].track)
        legs = tuple(
            leg
            if leg.delay_quantile is None or first is None
            else dataclasses.replace(
                leg, start_after_s=first.quantile(leg.delay_quantile) or leg.start_after_s
            )
            for leg in policy.legs
        )
        return dataclasses.replace(policy, legs=legs)


class ExtraCalls:
    """A token bucket: every turn earns a share of a call, an extra call costs a whole one."""

    def __init__(self, burst: float = BURST) -> None:
        self._burst = burst
        self._tokens = burst

    def turn(self, share: float) -> None:
        """A turn begins under a cap of `share` extra calls a turn."""
        self._tokens = min(self._burst, self._tokens + share)

    def take(self) -> bool:
        """Whether one more extra call may be made; takes it if so."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def _sketch() -> Any:
    from ddsketch import DDSketch

    return DDSketch(relative_accuracy=0.01)
