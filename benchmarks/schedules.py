"""Random schedules of concurrent turns: hedges, cancels and crashes against a few caps.

A schedule has some processes (each with its own ledger and connection), turns of two users with
overlapping legs, and one to three caps. A leg may finish, be cancelled at any await, or crash with
its process; the money of a crashed leg must be released once its lease has expired. Each schedule
has its own day on a virtual clock, so that one database serves all schedules.

`UnreservedBudget` is the peer: a budget that is checked before a call and written after it, as in
most proxies. It uses the same store and keeps exact sums, but reserves nothing.

Invariant: the schedule adds up what was spent, independently of the ledger under test.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import anyio
import anyio.lowlevel
import sqlalchemy as sa

from vanta import BudgetExceeded
from vanta.money import Caps, Reservation
from vanta.money.amounts import account_keys, day_of, nano, nano_up
from vanta.money.books import legs
from vanta.storage import Store

LEASE_S = 600.0
_DAY_S = 86_400.0
_metadata = sa.MetaData()
_spent = sa.Table(
    "naive_accounts",
    _metadata,
    sa.Column("scope", sa.String(10), primary_key=True),
    sa.Column("key", sa.String(450), primary_key=True),
    sa.Column("spent", sa.BigInteger, nullable=False),
)


class Budget(Protocol):
    """The ledger under test, or the peer."""

    async def reserve(
        self, *, user: str, session: str, turn: str, track: str, usd: float, lease_s: float
    ) -> Reservation:
        """Reserve money, or raise BudgetExceeded."""
        ...

    async def settle(self, reservation: Reservation, usd: float, *, exact: bool = True) -> Any:
        """Write the cost of the call."""
        ...


OpenBudget = Callable[[Store, Caps, str, Callable[[], float]], Budget]
"""Store, caps, the name and the clock of the process -> a budget."""


@dataclass(slots=True)
class Tally:
    """The results of all schedules.

    `overspent` counts schedules that exceeded a cap, `left` those after which money was still
    reserved. `legs` counts refused, cancelled, crashed and paid legs.
    """

    schedules: int = 0
    overspent: int = 0
    left: int = 0
    legs: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Schedule:
    """A schedule; `number` is its seed and its day."""

    number: int
    stores: Sequence[Store]
    open_budget: OpenBudget
    tally: Tally
    spent: Counter[tuple[str, str]] = field(default_factory=Counter)
    now: float = 0.0

    async def run(self) -> None:
        """Run the turns, let the leases expire, reserve once more, and check the sums."""
        rng = random.Random(self.number)  # noqa: S311 - a seed, not a secret
        self.now = self.number * _DAY_S
        caps = _caps(rng)
        budgets = [
            self.open_budget(store, caps, f"process {n}", lambda: self.now)
            for n, store in enumerate(self.stores)
        ]
        async with anyio.create_task_group() as turns:
            for turn in range(rng.randint(2, 5)):
                seed = rng.random()
                turns.start_soon(self._turn, f"{self.number}.{turn}", budgets, random.Random(seed))  # noqa: S311
        self.now += LEASE_S + 1
        await self._sweep(budgets[0])
        await self._check(caps)

    async def _turn(self, turn: str, budgets: Sequence[Budget], rng: random.Random) -> None:
        """Run one to three concurrent legs of a turn, all in one process."""
        budget = rng.choice(budgets)
        owner = {
            "user": f"{self.number}.{rng.choice('ab')}",
            "session": rng.choice("st"),
            "turn": turn,
        }
        crashes = rng.random() < 0.15
        async with anyio.create_task_group() as legs_of_turn:
            for track in range(rng.randint(1, 3)):
                leg_rng = random.Random(rng.random())  # noqa: S311
                leg = partial(self._leg, budget, owner | {"track": f"api{track}"}, leg_rng)
                legs_of_turn.start_soon(partial(leg, crashes=crashes))

    async def _leg(
        self, budget: Budget, owner: dict[str, str], rng: random.Random, *, crashes: bool
    ) -> None:
        usd = rng.randint(1, 30) / 1000
        with anyio.CancelScope() as scope:
            if rng.random() < 0.3:
                scope.deadline = anyio.current_time() + rng.random() * 0.004
            await _steps(rng)
            try:
                reservation = await budget.reserve(**owner, usd=usd, lease_s=LEASE_S)
            except BudgetExceeded:
                self.tally.legs["refused"] += 1
                return
            if crashes:
                self.tally.legs["crashed"] += 1
                return
            await self._generate(budget, reservation, usd * rng.choice((0.25, 0.5, 1, 1)), rng)
        if scope.cancelled_caught:
            self.tally.legs["cancelled"] += 1

    async def _generate(
        self, budget: Budget, reservation: Reservation, usd: float, rng: random.Random
    ) -> None:
        try:
            await _steps(rng)
        finally:
            for account in _keys(reservation).items():
                self.spent[account] += nano(usd)
            with anyio.CancelScope(shield=True):
                await budget.settle(reservation, usd)
            self.tally.legs["paid"] += 1

    async def _sweep(self, budget: Budget) -> None:
        """Reserve nothing for another user, which releases expired leases."""
        owner = {"user": "next", "session": "next", "turn": f"{self.number}.next", "track": "api"}
        with contextlib.suppress(BudgetExceeded):  # the peer has exceeded its cap by now
            await budget.settle(await budget.reserve(**owner, usd=0.0, lease_s=LEASE_S), 0.0)

    async def _check(self, caps: Caps) -> None:
        limits = dict(caps.set())
        spent = self.spent.items()
        over = [key for key, amount in spent if amount > limits.get(key[0], amount)]
        reserved = sa.select(sa.func.count()).where(
            legs.c.day == day_of(self.now), legs.c.state == "reserved"
        )
        left = await self.stores[0].transact(
            lambda connection: connection.execute(reserved).scalar_one()
        )
        self.tally.schedules += 1
        self.tally.overspent += bool(over)
        self.tally.left += bool(left)


def _caps(rng: random.Random) -> Caps:
    scopes = rng.sample(("turn_usd", "session_usd", "user_usd", "day_usd"), rng.randint(1, 3))
    return Caps(**{scope: rng.randint(10, 80) / 1000 for scope in scopes})


async def _steps(rng: random.Random) -> None:
    for _ in range(rng.randint(0, 4)):
        await anyio.lowlevel.checkpoint()


class UnreservedBudget:
    """The peer: check, then spend, with the same calls as `vanta.money.Ledger`."""

    def __init__(self, store: Store, caps: Caps, clock: Callable[[], float]) -> None:
        self._store = store
        self._caps = caps
        self._clock = clock

    @classmethod
    def create(cls, store: Store) -> None:
        """Create the table. Blocking."""
        store.transact_now(_metadata.create_all)

    async def reserve(self, *, usd: float, lease_s: float = 0.0, **owner: str) -> Reservation:
        """Check that the cap is not reached, or raise BudgetExceeded."""
        now = self._clock()
        amount, day = nano_up(usd), day_of(now)
        named: dict[str, Any] = dict(owner)
        request = Reservation(amount=amount, day=day, expires_at=now + lease_s, **named)
        await self._store.transact(partial(self._check, request))
        return request

    async def settle(self, reservation: Reservation, usd: float, *, exact: bool = True) -> None:
        """Write the cost of the call."""
        await self._store.transact(partial(_add, reservation, nano(usd)))

    def _check(self, request: Reservation, connection: sa.Connection) -> None:
        keys = _keys(request)
        for scope, limit in self._caps.set():
            of_scope = (_spent.c.scope == scope) & (_spent.c.key == keys[scope])
            spent = connection.execute(sa.select(_spent.c.spent).where(of_scope)).scalar() or 0
            if spent + request.amount > limit:
                raise _refusal(scope, limit, spent, request.amount)


def _add(leg: Reservation, cost: int, connection: sa.Connection) -> None:
    for scope, key in _keys(leg).items():
        of_scope = (_spent.c.scope == scope) & (_spent.c.key == key)
        increase = sa.update(_spent).where(of_scope).values(spent=_spent.c.spent + cost)
        if not connection.execute(increase).rowcount:
            connection.execute(sa.insert(_spent).values(scope=scope, key=key, spent=cost))


def _keys(leg: Reservation) -> dict[str, str]:
    return account_keys(leg.user, leg.session, leg.turn, leg.day)


def _refusal(scope: str, *nanos: Any) -> BudgetExceeded:
    limit, spent, requested = (amount / 1e9 for amount in nanos)
    return BudgetExceeded(
        f"the {scope} cap is reached",
        suggestion="",
        scope=scope,
        limit_usd=limit,
        spent_usd=spent,
        reserved_usd=0.0,
        asked_usd=requested,
    )
