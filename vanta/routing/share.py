"""Keeps a share of calls on traffic that is not what the router was fitted on.

Invariant: whatever the messages are and in whatever order, after n decisions the number of hard
ones is within 1 / RATE + 2 of n times the share. Deterministic; not thread-safe, one event loop.
"""

from __future__ import annotations

from vanta.errors import UsageError
from vanta.routing.router import Router
from vanta.scheduling.policy import Policy

RATE = 0.02
"""How far one decision moves the level: 2,500 decisions end within about 2 points of the share."""


class ShareKeeper:
    """A router's thresholds, moved by what came: fewer calls where too many were hard, and back.

    The level is the share that the router is asked for in truth; it is what is owed, integrated,
    so that an error of the thresholds cannot last.
    """

    def __init__(self, router: Router, share: float) -> None:
        if not 0 <= share <= 1:
            raise UsageError(f"a share of {share!r} is impossible: name one from 0 to 1.")
        self._router = router
        self._share = share
        self.level = share

    def is_hard(self, text: str) -> bool:
        """Whether `text` goes to the stronger track; counts as a decision."""
        level = min(max(self.level, 0.0), 1.0)
        hard = self._router.difficulty(text) > self._router.threshold(level)
        self.level += RATE * (self._share - hard)
        return hard


class Shares:
    """What the router says under each policy: one keeper a policy, made when it is first asked."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._keepers: dict[str, ShareKeeper] = {}

    def is_hard(self, text: str, policy: Policy) -> bool | None:
        """Whether a message is hard, None if the policy does not ask; counts as a decision."""
        if not policy.routes:
            return None
        if policy.name not in self._keepers:
            self._keepers[policy.name] = ShareKeeper(self._router, policy.route_share)
        return self._keepers[policy.name].is_hard(text)
