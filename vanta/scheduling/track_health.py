"""Health: which tracks are worth asking, by what happened when they were asked last.

A circuit breaker per track (Nygard, "Release It!"): after `failures` failures in a row it is open
for `cooldown_s`, then one turn may probe; a success closes it, a failure opens it for twice as
long, up to `longest_s`. A breaker only spares turns that have another track; a turn that has no
other tries all the same. A server's Retry-After is kept by every session, whoever it was said to.
Invariant: only what a turn really saw changes a track's health; a leg that was cancelled says
nothing. Times are on the event loop's clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from vanta.errors import EngineError, ErrorKind

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
