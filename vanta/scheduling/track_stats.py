"""Experience: what a runtime learns from one turn for the next.

Health of the tracks, how long they are silent, and how many extra calls are left. Invariant: it is
told of every leg of every turn, however the turn ended, and changes nothing of a running one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from vanta.scheduling.learned_delays import Delays, ExtraCalls
from vanta.scheduling.policy import Policy
from vanta.scheduling.track_health import HealthRule, TrackHealth

if TYPE_CHECKING:
    from vanta.scheduling.leg import Leg
    from vanta.scheduling.start_queue import MayHedge


class Experience:
    """One runtime's. `now` arguments are on the event loop's clock, in seconds."""

    def __init__(self, rule: HealthRule | None = None) -> None:
        self._rule = rule or HealthRule()
        self._health: dict[str, TrackHealth] = {}
        self._delays = Delays()
        self._extra: dict[str, ExtraCalls] = {}

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
        bucket = self._extra.setdefault(policy.name, ExtraCalls())
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
