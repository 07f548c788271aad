"""Amounts and caps: US dollars as whole nano-USD, and how much may be spent on what.

Invariant: a sum never drifts. Reservations are rounded up, caps down and settlements to the
nearest amount, so that rounding never lets a settlement exceed its reservation nor a reservation
its cap. A day is a UTC day, and a leg belongs to the day in which it was reserved.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from vanta.normalising import check_number

NANO = 1_000_000_000
MAX_USD = 1_000_000_000.0
"""Larger amounts, and those that are not numbers, count as this one: it fits 64 bits with room for
sums, and no cap allows it."""

SCOPES = ("day", "session", "turn", "user")
"""What a cap can apply to, in the order in which accounts are locked."""


@dataclass(frozen=True, slots=True)
class Caps:
    """Upper limits in US dollars; None means unlimited.

    :param turn_usd: for one turn, all its legs together.
    :param session_usd: for one session, for as long as it exists.
    :param user_usd: for one user, for as long as the user exists.
    :param day_usd: for all users together, from midnight to midnight UTC.
    :raises InvalidValue: if a cap is negative or not a number.
    """

    turn_usd: float | None = None
    session_usd: float | None = None
    user_usd: float | None = None
    day_usd: float | None = None

    def __post_init__(self) -> None:
        for scope in SCOPES:
            check_number(f"{scope}_usd", getattr(self, f"{scope}_usd"), 0, math.inf)

    def __bool__(self) -> bool:
        """Return whether any cap is set."""
        return any(True for _ in self.set())

    def within(self, other: Caps) -> Caps:
        """Return caps that allow what both allow: the smaller one of each scope.

        :param other: the other caps.
        """
        both: dict[str, float | None] = {}
        for name in (f"{scope}_usd" for scope in SCOPES):
            limits = (getattr(self, name), getattr(other, name))
            both[name] = min((limit for limit in limits if limit is not None), default=None)
        return Caps(**both)

    def set(self) -> Iterator[tuple[str, int]]:
        """Yield the caps that are set.

        :returns: pairs of a scope and its cap in nano-USD, the narrowest scope first.
        """
        for scope in ("turn", "session", "user", "day"):
            limit = getattr(self, f"{scope}_usd")
            if limit is not None:
                yield scope, nano_down(limit)


def nano_up(usd: float) -> int:
    """Return `usd` in nano-USD, rounded up."""
    return _nano(usd, ROUND_CEILING)


def nano_down(usd: float) -> int:
    """Return `usd` in nano-USD, rounded down."""
    return _nano(usd, ROUND_FLOOR)


def nano(usd: float) -> int:
    """Return `usd` in nano-USD, rounded to the nearest."""
    return _nano(usd, ROUND_HALF_EVEN)


def usd(amount: int) -> float:
    """Return nano-USD as US dollars."""
    return amount / NANO


def dollars(amount: int) -> str:
    """Return nano-USD as people write dollars, with all significant digits: `$0.05`."""
    digits = f"{Decimal(amount).scaleb(-9):.9f}".rstrip("0")
    whole, _, rest = digits.partition(".")
    return f"${whole}.{rest:<02}" if rest else f"${whole}"


def format_usd(amount_usd: float) -> str:
    """Return an amount as people write dollars.

    :param amount_usd: an amount in US dollars, not negative.
    :returns: the amount with all significant digits down to one nano-USD, such as `$0.05`.
    """
    return dollars(nano(amount_usd))


def day_of(now_s: float) -> str:
    """Return the UTC day of a time in seconds since the epoch, as 2026-01-31."""
    return time.strftime("%Y-%m-%d", time.gmtime(now_s))


def account_keys(user: str, session: str, turn: str, day: str) -> dict[str, str]:
    """Return the key of each scope's account, by scope; a session belongs to its user."""
    keys = {"day": day, "session": json.dumps([user, session]), "turn": turn, "user": user}
    return {scope: keys[scope] for scope in SCOPES}


def _nano(usd: float, rounding: str) -> int:
    # repr gives the shortest decimal of this float: 0.07 is seven cents, not 0.0700000000007.
    bounded = MAX_USD if usd != usd else min(max(usd, 0.0), MAX_USD)  # noqa: PLR0124 - NaN
    exact = Decimal(repr(float(bounded))).scaleb(9)
    return int(exact.to_integral_value(rounding=rounding))
