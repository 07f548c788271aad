"""The peer: a budget that is checked before a call and written after it, as most proxies do.

It stands on the same store and keeps its sums as exactly; it only reserves nothing. Invariant: what
it allows, it allows because the cap was not yet reached when it looked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import sqlalchemy as sa

from vanta.errors import BudgetExceeded
from vanta.money import Caps, Reservation
from vanta.money.amounts import account_keys, day_of, nano, nano_up
from vanta.storage import Store

_metadata = sa.MetaData()
_spent = sa.Table(
    "naive_accounts",
    _metadata,
    sa.Column("scope", sa.String(10), primary_key=True),
    sa.Column("key", sa.String(450), primary_key=True),
    sa.Column("spent", sa.BigInteger, nullable=False),
)


class Naive:
    """Check, then spend; the same calls as `vanta.money.Ledger`."""

    def __init__(self, store: Store, caps: Caps, clock: Callable[[], float]) -> None:
        self._store = store
        self._caps = caps
        self._clock = clock

    @classmethod
    def create(cls, store: Store) -> None:
        """Create its table. Blocking."""
        store.transact_now(_metadata.create_all)

    async def reserve(self, *, usd: float, lease_s: float = 0.0, **whose: str) -> Reservation:
        """Look whether the cap is reached. Raises BudgetExceeded."""
        now = self._clock()
        amount, day = nano_up(usd), day_of(now)
        asked = Reservation(amount=amount, day=day, expires_at=now + lease_s, **whose)
        await self._store.transact(partial(self._check, asked))
        return asked

    async def settle(self, reservation: Reservation, usd: float, *, exact: bool = True) -> None:
        """Write what the call did cost."""
        await self._store.transact(partial(_add, reservation, nano(usd)))

    def _check(self, asked: Reservation, connection: sa.Connection) -> None:
        keys = _keys(asked)
        for scope, limit in self._caps.set():
            of_scope = (_spent.c.scope == scope) & (_spent.c.key == keys[scope])
            spent = connection.execute(sa.select(_spent.c.spent).where(of_scope)).scalar() or 0
            if spent + asked.amount > limit:
                raise _refusal(scope, limit, spent, asked.amount)


def _add(leg: Reservation, cost: int, connection: sa.Connection) -> None:
    for scope, key in _keys(leg).items():
        of_scope = (_spent.c.scope == scope) & (_spent.c.key == key)
        more = sa.update(_spent).where(of_scope).values(spent=_spent.c.spent + cost)
        if not connection.execute(more).rowcount:
            connection.execute(sa.insert(_spent).values(scope=scope, key=key, spent=cost))


def _keys(leg: Reservation) -> dict[str, str]:
    return account_keys(leg.user, leg.session, leg.turn, leg.day)


def _refusal(scope: str, *nanos: Any) -> BudgetExceeded:
    limit, spent, asked = (amount / 1e9 for amount in nanos)
    return BudgetExceeded(
        f"the {scope} cap is reached",
        suggestion="",
        scope=scope,
        limit_usd=limit,
        spent_usd=spent,
        reserved_usd=0.0,
        asked_usd=asked,
    )
