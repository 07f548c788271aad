"""Amounts: US dollars as whole nano-USD, exact for what a person writes.

Invariant: a sum never drifts; a reservation is rounded up, a cap down, a settlement to the nearest,
so that rounding alone never lets a settlement pass its reservation nor a reservation pass its cap.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

NANO = 1_000_000_000
MOST_USD = 1_000_000_000.0
"""Amounts above this are this one: it fits 64 bits with room for sums, and no cap allows it."""


def nano_up(usd: float) -> int:
    """`usd` in nano-USD, rounded up."""
    return _nano(usd, ROUND_CEILING)


def nano_down(usd: float) -> int:
    """`usd` in nano-USD, rounded down."""
    return _nano(usd, ROUND_FLOOR)


def nano(usd: float) -> int:
    """`usd` in nano-USD, to the nearest."""
    return _nano(usd, ROUND_HALF_EVEN)


def usd(amount: int) -> float:
    """Nano-USD as US dollars."""
    return amount / NANO


def dollars(amount: int) -> str:
    """Nano-USD as a person writes dollars: all the digits that count and no others."""
    digits = f"{Decimal(amount).scaleb(-9):.9f}".rstrip("0")
    whole, _, rest = digits.partition(".")
    return f"${whole}.{rest:<02}" if rest else f"${whole}"


def _nano(usd: float, rounding: str) -> int:
    # repr gives the shortest decimal that is this float: 0.07 is seven cents, not 0.0700000000007.
    exact = Decimal(repr(float(min(max(usd, 0.0), MOST_USD)))).scaleb(9)
    return int(exact.to_integral_value(rounding=rounding))
