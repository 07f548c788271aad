"""The cost of legs, the caps on spending, and the ledger that enforces them.

The maximum cost of a leg is reserved before it starts and its true cost is settled when it has
ended. Invariant: spent and reserved money together never exceed a cap, whichever turns, sessions
and processes share the database; amounts are whole nano-USD, so that no sum drifts. Names are
imported when they are first used, so that importing this package does not load SQLAlchemy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vanta.fronts import lazy_front

if TYPE_CHECKING:
    from vanta.money.amounts import Caps, format_usd
    from vanta.money.costs import TurnPurse, listed_prices, price_of
    from vanta.money.ledger import Ledger, Settlement, Spending, SpendingLine
    from vanta.money.reservation import Owner, Reservation, this_process
    from vanta.money.unpriced import ApproveUnpriced, UnpricedRule

_NAMES = {
    ".amounts": "Caps format_usd",
    ".costs": "TurnPurse listed_prices price_of",
    ".ledger": "Ledger Settlement Spending SpendingLine",
    ".reservation": "Owner Reservation this_process",
    ".unpriced": "ApproveUnpriced UnpricedRule",
}

__all__ = [
    "ApproveUnpriced",
    "Caps",
    "Ledger",
    "Owner",
    "Reservation",
    "Settlement",
    "Spending",
    "SpendingLine",
    "TurnPurse",
    "UnpricedRule",
    "format_usd",
    "listed_prices",
    "price_of",
    "this_process",
]


__getattr__ = lazy_front(__name__, _NAMES)
