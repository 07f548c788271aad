"""Experience: what a runtime learns from one turn for the next.

Health of the tracks, how long they are silent, and how many extra calls are left. Invariant: it is
told of every leg of every turn, however the turn ended, and changes nothing of a running one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vanta.errors import EngineError, ErrorKind
from vanta.scheduling.policy import Policy

if TYPE_CHECKING:
    from vanta.scheduling.leg import Leg
    from vanta.scheduling.start_queue import MayHedge


class TrackStats:
    """One runtime's. `now` arguments are on the event loop's clock, in seconds."""

    def __init__(self, rule: HealthRule | None = None) -> None:
        self._rule = rule or HealthRule()
        self._health: dict[str, TrackHealth] = {}
        self._delays = LearnedDelays()
        self._extra: dict[str, HedgeBudget] = {}

    def health(self, track: str) -> TrackHealth:
        """The health of one track."""
        return self._health.setdefault(track, TrackHealth(self._rule))

    def resolve(self, policy: Policy) -> Policy:
        """`policy` with its learned delays."""
        return self._delays.resolve(policy)

    def may_hedge(self, policy: Policy) -> MayHedge:
        """A turn under `policy` begins: who says whether its delayed legs may start."""
        if policy.max_extra_share is None:
            return lambda _track: True
        bucket = self._extra.setdefault(policy.name, HedgeBudget())
        bucket.turn(policy.max_extra_share)
        return lambda _track: bucket.take()

    def refusals(self, tracks: Iterable[str], now: float) -> Mapping[str, str]:
        """The tracks that had better not be asked now, with the reason."""
        found = {name: self.health(name).refusal(now) for name in tracks}
        return {name: why for name, why in found.items() if why}

    def waits_s(self, tracks: Iterable[str], now: float) -> Mapping[str, float]:
        """Seconds until each track may be asked; those that may now are left out."""
        waits = {name: self.health(name).wait_s(now) for name in tracks}
        return {name: wait_s for name, wait_s in waits.items() if wait_s}

    def asked(self, leg: Leg, now: float) -> None:
        """A leg begins."""
        self.health(leg.track.name).ask(now)

    def ended(self, leg: Leg, now: float) -> None:
        """A leg stands still."""
        health = self.health(leg.track.name)
        if leg.error:
            health.failed(leg.error, now)
        elif leg.has_content or leg.finished:
            health.succeeded()
        else:
            health.unknown()
        silent_s = leg.silent_s
        if silent_s is not None:
            self._delays.note(leg.track.name, silent_s)


RETRYABLE = frozenset(
    {
        ErrorKind.RATE_LIMITED,
        ErrorKind.OVERLOADED,
        ErrorKind.LOADING,
        ErrorKind.SERVER,
        ErrorKind.NETWORK,
        ErrorKind.TIMEOUT,
    }
)
"""Kinds of error that trying again may cure."""


@dataclass(frozen=True, slots=True)
class HealthRule:
    """When a breaker opens, and for how long."""

    failures: int = 5
    cooldown_s: float = 10.0
    longest_s: float = 300.0


@dataclass(slots=True)
class TrackHealth:
    """One track's breaker."""

    rule: HealthRule = field(default_factory=HealthRule)
    failures: int = 0
    open_until: float = 0.0
    retry_at: float = 0.0
    _cooldown_s: float = 0.0
    _probing: bool = False

    def refusal(self, now: float) -> str | None:
        """Why the track should not be asked now while there are others, None if it may be."""
        if now < self.retry_at:
            return f"the server asked to wait; tried again in {self.retry_at - now:.1f} s"
        why = f"it failed {self.failures} times in a row"
        if now < self.open_until:
            return f"{why}; tried again in {self.open_until - now:.1f} s"
        return f"{why}; another turn is trying it" if self._probing else None

    def wait_s(self, now: float) -> float:
        """Seconds that the server asked to wait: kept even if there is no other track."""
        return max(0.0, self.retry_at - now)

    def ask(self, now: float) -> None:
        """A turn asks the track; if the breaker was open this is the probe."""
        self._probing = self._cooldown_s > 0 and now >= self.open_until

    def succeeded(self) -> None:
        """The track answered: the breaker closes."""
        self.failures, self.open_until, self.retry_at, self._cooldown_s = 0, 0.0, 0.0, 0.0
        self._probing = False

    def failed(self, error: EngineError, now: float) -> None:
        """The track failed: count it, obey Retry-After, open the breaker if it is enough."""
        if error.kind not in RETRYABLE:
            self.unknown()
            return
        self.failures += 1
        if self.failures >= self.rule.failures or self._probing:
            self._cooldown_s = min(
                self.rule.longest_s, self._cooldown_s * 2 or self.rule.cooldown_s
            )
            self.open_until = now + self._cooldown_s
        if error.retry_after_s:
            self.retry_at = max(self.retry_at, now + error.retry_after_s)
        self._probing = False

    def unknown(self) -> None:
        """The track was stopped before it could show anything."""
        self._probing = False


WINDOW = 256
ENOUGH = 20
"""Observations before a learned delay replaces the fixed one."""
BURST = 10.0
"""Extra calls that may come together after a quiet time."""


class SilenceSketch:
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


class LearnedDelays:
    """The silences of all tracks, and what policies make of them."""

    def __init__(self) -> None:
        self._silences: dict[str, SilenceSketch] = {}

    def note(self, track: str, seconds: float) -> None:
        """A track spoke after so many seconds, or was stopped after them, still silent.

        A silence that was cut short counts as at least that long: to leave it out would make a
        slow track look fast just when it is hedged.
        """
        self._silences.setdefault(track, SilenceSketch()).note(seconds)

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


class HedgeBudget:
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
