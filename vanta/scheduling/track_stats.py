"""What one turn shows about the tracks and later turns use: health, delays, the cap on hedges.

Health is a circuit breaker per track (Nygard, "Release It!"). After `failures` failures in a row it
is open for `cooldown_s`, then one turn may probe the track. A success closes it, a failure opens it
for twice as long, up to `longest_s`. A breaker only spares turns that have another track; without
one a turn tries anyway. A server's Retry-After is obeyed by every session.

A hedge that starts at a high quantile of the first track's time to first content costs few extra
calls and cuts the tail (Dean & Barroso, "The Tail at Scale", 2013). Quantiles come from DDSketch
(Masson, Rim & Lee, VLDB 2019; relative error 1 %). Two sketches alternate, so that delays are
learnt from the last `WINDOW` to 2 x `WINDOW` turns.

Invariant: every leg of every turn is recorded, however the turn ended, and no running turn changes.
Only what a turn saw changes a track's health: a cancelled leg does not. The caps on hedges and on
verified answers are hard. Times are on the event loop's clock, in seconds. A first Retry-After is
believed for `longest_s` at most, and for twice as long with each that follows; delays are learnt
from the last two hours, and none is longer than `MAX_DELAY_S`.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vanta.context.token_cache import token_cache_of
from vanta.errors import EngineError, ErrorKind
from vanta.learning import LEARNT_S, Learnt
from vanta.scheduling.policy import GateRule, LegPlan, Policy

if TYPE_CHECKING:
    from vanta.scheduling.leg import Leg
    from vanta.scheduling.start_queue import MayHedge

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
"""Kinds of error that a retry may cure."""

WINDOW = 256
"""Observations per sketch."""

ENOUGH = 20
"""Observations before a learned delay replaces the fixed one."""

MAX_DELAY_S = 30.0
"""The longest learned delay, in seconds."""

BURST = 10.0
"""Extra calls that may follow each other after a quiet time."""


@dataclass(frozen=True, slots=True)
class HealthRule:
    """When a track's breaker opens, and for how long.

    :param failures: failures in a row that open it.
    :param cooldown_s: seconds for which it is open at first.
    :param longest_s: most seconds for which it is open.
    """

    failures: int = 5
    cooldown_s: float = 10.0
    longest_s: float = 300.0


class TrackStats:
    """The statistics of one runtime's tracks.

    :param rule: when breakers open; None for the defaults.
    """

    def __init__(self, rule: HealthRule | None = None) -> None:
        self._rule = rule or HealthRule()
        self._health: dict[str, TrackHealth] = {}
        self._delays = LearnedDelays()
        self._budgets: dict[str, HedgeBudget] = {}
        self._doubts: dict[str, DoubtShare] = {}

    def health(self, track: str) -> TrackHealth:
        """Return the health of one track.

        :param track: the track's name.
        """
        return self._health.setdefault(track, TrackHealth(self._rule))

    def resolve(self, policy: Policy) -> Policy:
        """Return a policy with its learned delays filled in.

        :param policy: the policy of a turn.
        """
        return self._delays.resolve(policy)

    def may_hedge(self, policy: Policy) -> MayHedge:
        """Begin a turn and return the function that allows or denies its delayed legs.

        :param policy: the policy of the turn.
        :returns: a function from a track's name to whether its delayed leg may start.
        """
        if policy.max_extra_share is None:
            return lambda _track: True
        budget = self._budgets.setdefault(policy.name, HedgeBudget())
        budget.turn(policy.max_extra_share)
        return lambda _track: budget.take()

    def is_doubtful(self, policy: Policy, margin: float) -> bool:
        """Return whether a verifier should see an answer. Counts as one judged answer.

        :param policy: the policy of the turn, which has a gate.
        :param margin: how far the answer's score is above its limit, negative below it.
        """
        rule = policy.gate or GateRule()
        return self._doubts.setdefault(policy.name, DoubtShare()).select(abs(margin), rule)

    def refusals(self, tracks: Iterable[str], now: float) -> Mapping[str, str]:
        """Return the tracks that should be spared now, with the reason.

        :param tracks: names of tracks.
        :param now: the current time.
        """
        reasons = {name: self.health(name).refusal(now) for name in tracks}
        return {name: why for name, why in reasons.items() if why}

    def waits_s(self, tracks: Iterable[str], now: float) -> Mapping[str, float]:
        """Return the seconds for which servers requested a wait, without tracks that need none.

        :param tracks: names of tracks.
        :param now: the current time.
        """
        waits = {name: self.health(name).wait_s(now) for name in tracks}
        return {name: wait_s for name, wait_s in waits.items() if wait_s}

    def started(self, leg: Leg, now: float) -> None:
        """Record that a leg starts.

        :param leg: the leg.
        :param now: the current time.
        """
        self.health(leg.track.name).started(now)

    def ended(self, leg: Leg, now: float) -> None:
        """Record that a leg has ended.

        :param leg: the leg.
        :param now: the current time.
        """
        health = self.health(leg.track.name)
        if leg.error:
            health.failed(leg.error, now)
        elif leg.has_content or leg.finished:
            health.succeeded()
        else:
            health.unknown()
        usage = leg.usage if leg.finished and not leg.error else None
        if usage is not None and usage.exact:
            token_cache_of(leg.track.engine).note_served(usage.input_tokens)
        silent_s = leg.silent_s
        if silent_s is not None:
            self._delays.note(leg.track.name, silent_s, now)

    def learnt(self, track: str, now: float) -> list[Learnt]:
        """Return what was learnt about a track and is still believed.

        :param track: the track's name.
        :param now: the current time.
        """
        return [*self.health(track).learnt(track, now), *self._delays.learnt(track, now)]

    def forget(self, track: str, what: str | None = None) -> None:
        """Forget what was learnt about a track.

        :param track: the track's name.
        :param what: `wait`, `pause` or `delay`; None for all.
        """
        if what in (None, "delay"):
            self._delays.forget(track)
        if what in (None, "wait", "pause"):
            self._health.pop(track, None)


@dataclass(slots=True)
class TrackHealth:
    """The circuit breaker of one track."""

    rule: HealthRule = field(default_factory=HealthRule)
    failures: int = 0
    open_until: float = 0.0
    retry_at: float = 0.0
    _cooldown_s: float = 0.0
    _probing: bool = False
    _waits: int = 0

    def refusal(self, now: float) -> str | None:
        """Return why the track should be spared while there are others, None if it need not be."""
        if now < self.retry_at:
            return f"the server requested a wait; retried in {self.retry_at - now:.1f} s"
        why = f"it failed {self.failures} times in a row"
        if now < self.open_until:
            return f"{why}; retried in {self.open_until - now:.1f} s"
        return f"{why}; another turn is probing it" if self._probing else None

    def wait_s(self, now: float) -> float:
        """Return the rest of a Retry-After in seconds; it holds even without another track."""
        return max(0.0, self.retry_at - now)

    def started(self, now: float) -> None:
        """Record that a turn tries the track; if the breaker was open this is the probe."""
        self._probing = self._cooldown_s > 0 and now >= self.open_until

    def succeeded(self) -> None:
        """Close the breaker: the track answered."""
        self.failures, self.open_until, self.retry_at, self._cooldown_s = 0, 0.0, 0.0, 0.0
        self._probing = False
        self._waits = 0

    def failed(self, error: EngineError, now: float) -> None:
        """Count a failure, record Retry-After, and open the breaker if the failures are enough."""
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
            # One wrong header must not keep the track away for long.
            believed_s = min(error.retry_after_s, self.rule.longest_s * 2.0 ** min(self._waits, 8))
            self.retry_at = max(self.retry_at, now + believed_s)
            self._waits += 1
        self._probing = False

    def learnt(self, track: str, now: float) -> Iterator[Learnt]:
        """Yield the waits that are in force."""
        if now < self.retry_at:
            detail = "its server requested a wait"
            yield Learnt(track, "wait", detail, self.retry_at - now)
        if now < self.open_until:
            detail = f"it failed {self.failures} times in a row"
            yield Learnt(track, "pause", detail, self.open_until - now)

    def unknown(self) -> None:
        """Record that the track was stopped before it showed anything."""
        self._probing = False


class SilenceSketch:
    """How long one track is silent before its first content, as a sliding distribution."""

    def __init__(self) -> None:
        self._old, self._new = _sketch(), _sketch()
        self._began_at: float | None = None
        self._last_at = 0.0

    def note(self, seconds: float, now: float = 0.0) -> None:
        """Add an observation. now: the current time; observations of over two hours ago go."""
        self._began_at = now if self._began_at is None else self._began_at
        age_s = now - self._began_at
        if self._new.count >= WINDOW or age_s >= LEARNT_S:
            old = _sketch() if age_s >= 2 * LEARNT_S else self._new
            self._old, self._new, self._began_at = old, _sketch(), now
        self._new.add(max(seconds, 1e-6))
        self._last_at = now

    def left_s(self, now: float) -> float:
        """Return the seconds until its latest observations are too old."""
        return self._last_at + 2 * LEARNT_S - now

    def quantile(self, share: float) -> float | None:
        """Return the seconds that `share` of the silences do not exceed; None for too few."""
        both = _sketch()
        both.merge(self._old)
        both.merge(self._new)
        if both.count < ENOUGH:
            return None
        return float(both.get_quantile_value(share))


class LearnedDelays:
    """The silences of all tracks, and the delays of policies that follow from them."""

    def __init__(self) -> None:
        self._silences: dict[str, SilenceSketch] = {}

    def note(self, track: str, seconds: float, now: float = 0.0) -> None:
        """Record the seconds until a track's first content, or until it was stopped without any.

        A silence that was cut short counts as at least that long: leaving it out would make a slow
        track look fast just when it is hedged.
        """
        self._silences.setdefault(track, SilenceSketch()).note(seconds, now)

    def learnt(self, track: str, now: float) -> Iterator[Learnt]:
        """Yield the silence of a track that delays are learned from."""
        sketch = self._silences.get(track)
        usual_s = sketch.quantile(0.95) if sketch else None
        if sketch and usual_s is not None and sketch.left_s(now) > 0:
            detail = f"its first content comes within {usual_s:.2f} s in 95 % of turns"
            yield Learnt(track, "delay", detail, sketch.left_s(now))

    def forget(self, track: str) -> None:
        """Forget the silences of a track."""
        self._silences.pop(track, None)

    def resolve(self, policy: Policy) -> Policy:
        """Return `policy` with its learned delays filled in."""
        if all(leg.delay_quantile is None for leg in policy.legs):
            return policy
        first = self._silences.get(policy.legs[0].track)
        legs = tuple(
            leg
            if leg.delay_quantile is None or first is None
            else dataclasses.replace(leg, start_after_s=_delay_of(leg, first))
            for leg in policy.legs
        )
        return dataclasses.replace(policy, legs=legs)


def _delay_of(leg: LegPlan, first: SilenceSketch) -> float | None:
    learned_s = first.quantile(leg.delay_quantile or 0.0)
    return leg.start_after_s if learned_s is None else min(learned_s, MAX_DELAY_S)


class HedgeBudget:
    """A token bucket: every turn earns a share of a call, an extra call costs a whole one."""

    def __init__(self, burst: float = BURST) -> None:
        self._burst = burst
        self._tokens = burst

    def turn(self, share: float) -> None:
        """Begin a turn under a cap of `share` extra calls per turn."""
        self._tokens = min(self._burst, self._tokens + share)

    def take(self) -> bool:
        """Take one extra call from the budget; return whether there was one."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class DoubtShare:
    """Selects the answers that a verifier sees: a share of them, nearest to the gate's limit."""

    def __init__(self) -> None:
        self._distances: deque[float] = deque(maxlen=WINDOW)
        self._budget = HedgeBudget()

    def select(self, distance: float, rule: GateRule) -> bool:
        """Return whether an answer is verified, and remember its distance.

        :param distance: of its score from the limit, at least 0.
        :param rule: the policy's limits.
        """
        share, known = rule.verify_share, sorted(self._distances)
        self._distances.append(distance)
        if share is None:
            return distance <= rule.verify_margin
        self._budget.turn(share)
        nearest = rule.verify_margin if len(known) < ENOUGH else _at(known, share)
        return share > 0 and distance <= nearest and self._budget.take()


def _at(ordered: list[float], share: float) -> float:
    """Return the value that `share` of the ascending values do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _sketch() -> Any:
    from ddsketch import DDSketch

    return DDSketch(relative_accuracy=0.01)
