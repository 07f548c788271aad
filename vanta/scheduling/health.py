"""Health: which tracks are worth asking, by what happened when they were asked last.

A circuit breaker per track (Nygard, "Release It!"): after `failures` failures in a row it is open
for `cooldown_s`, then one turn may probe; a success closes it, a failure opens it for twice as
long, up to `longest_s`. A server's Retry-After blocks its track for every session until then.
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
    blocked_until: float = 0.0
    why: str = ""
    _cooldown_s: float = 0.0
    _probing: bool = False

    def refusal(self, now: float) -> str | None:
        """Why the track should not be asked now, None if it may be."""
        if now < self.blocked_until:
            return f"{self.why}; tried again in {self.blocked_until - now:.1f} s"
        if self._probing:
            return f"{self.why}; another turn is trying it"
        return None

    def wait_s(self, now: float) -> float:
        """Seconds until the track may be asked."""
        return max(0.0, self.blocked_until - now)

    def ask(self, now: float) -> None:
        """A turn asks the track; if the breaker was open this is the probe."""
        self._probing = self._is_open and now >= self.blocked_until

    def succeeded(self) -> None:
        """The track answered: the breaker closes."""
        self.failures, self.blocked_until, self._cooldown_s, self.why = 0, 0.0, 0.0, ""
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
            self._block(now + self._cooldown_s, f"it failed {self.failures} times in a row")
        if error.retry_after_s:
            self._block(now + error.retry_after_s, "the server asked to wait")
        self._probing = False

    def unknown(self) -> None:
        """The track was stopped before it could show anything."""
        self._probing = False

    @property
    def _is_open(self) -> bool:
        return self._cooldown_s > 0

    def _block(self, until: float, why: str) -> None:
        if until > self.blocked_until:
            self.blocked_until, self.why = until, why
