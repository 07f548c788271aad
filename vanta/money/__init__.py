"""Money: what legs cost, what may be spent, and the ledger that holds both together.

A leg's worst case is reserved before it starts and its true cost settled when it stands still.
Invariant: what is spent and reserved together never passes a cap, whichever turns, sessions and
processes share the store; amounts are whole nano-USD, so that no sum drifts.
"""

from vanta.money.caps import Caps
from vanta.money.costs import estimate_loser, max_cost_usd, output_limit
from vanta.money.ledger import Ledger, Settlement
from vanta.money.owner import this_process
from vanta.money.prices import ListedPrice, listed_prices, price_of
from vanta.money.purse import TurnPurse
from vanta.money.reservation import Reservation

__all__ = [
    "Caps",
    "Ledger",
    "ListedPrice",
    "Reservation",
    "Settlement",
    "TurnPurse",
    "estimate_loser",
    "listed_prices",
    "max_cost_usd",
    "output_limit",
    "price_of",
    "this_process",
]
