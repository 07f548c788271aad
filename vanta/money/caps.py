"""Caps: how much may be spent, by a turn, a session, a user, and by all in a day.

Invariant: a day is a UTC day, and a leg belongs to the day in which it was reserved.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

from vanta.money.amounts import nano_down

SCOPES = ("day", "session", "turn", "user")
"""What a cap can stand on, in the order in which accounts are locked."""


@dataclass(frozen=True, slots=True)
class Caps:
    """Upper limits in US dollars; None is no limit.

    day_usd: of all users together, from midnight to midnight UTC. session_usd and user_usd: for as
    long as the session or the user exists.
    """

    turn_usd: float | None = None
    session_usd: float | None = None
    user_usd: float | None = None
    day_usd: float | None = None

    def __bool__(self) -> bool:
        return any(True for _ in self.set())

    def set(self) -> Iterator[tuple[str, int]]:
        """The caps that are set: scope and nano-USD, the narrowest scope first."""
        for scope in ("turn", "session", "user", "day"):
            limit = getattr(self, f"{scope}_usd")
            if limit is not None:
                yield scope, nano_down(limit)


def day_of(now_s: float) -> str:
    """The UTC day of a time in seconds since the epoch, as 2026-01-31."""
    return time.strftime("%Y-%m-%d", time.gmtime(now_s))


def accounts(user: str, session: str, turn: str, day: str) -> dict[str, str]:
    """The key of each scope's account, by scope; a session belongs to its user."""
    keys = {"day": day, "session": json.dumps([user, session]), "turn": turn, "user": user}
    return {scope: keys[scope] for scope in SCOPES}
