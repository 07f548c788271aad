"""Random schedules of concurrent turns: hedges, cancels and crashes against a few caps.

A schedule has some processes (each a ledger on a connection of its own), turns of two users whose
legs overlap, and one to three caps. A leg may finish, be cancelled at any await, or crash with its
process; a crashed leg's money has to come back once its lease has run out. Every schedule lives in
a day of its own on a made-up clock, so that one database serves them all. Invariant: what was spent
is added up here, apart from the ledger that is judged.
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

from vanta.errors import BudgetExceeded
from vanta.money import Caps, Reservation
from vanta.money.amounts import account_keys, day_of, nano
from vanta.money.books import legs
from vanta.storage import Store

LEASE_S = 600.0
_DAY_S = 86_400.0


class Till(Protocol):
    """What is judged: a ledger, or the peer."""

    async def reserve(
        self, *, user: str, session: str, turn: str, track: str, usd: float, lease_s: float
    ) -> Reservation:
        """Set money aside. Raises BudgetExceeded."""
        ...

    async def settle(self, reservation: Reservation, usd: float, *, exact: bool = True) -> Any:
        """Write what was spent."""
        ...


OpenTill = Callable[[Store, Caps, str, Callable[[], float]], Till]
"""Store, caps, the process's name and its clock -> a till."""


@dataclass(slots=True)
class Tally:
    """What schedules came to. overspent: schedules that passed a cap; left: those after which money
    was still reserved; refused, cancelled, crashed and paid: legs."""

    schedules: int = 0
    overspent: int = 0
    left: int = 0
    legs: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Schedule:
    """One schedule; `number` is its seed and its day."""

    number: int
    stores: Sequence[Store]
    open_till: OpenTill
    tally: Tally
    spent: Counter[tuple[str, str]] = field(default_factory=Counter)
    now: float = 0.0

    async def run(self) -> None:
        """Play it, let the leases run out, reserve once more, and judge."""
        chance = random.Random(self.number)  # noqa: S311 - a seed, no secret
        self.now = self.number * _DAY_S
        caps = _caps(chance)
        tills = [
            self.open_till(store, caps, f"process {n}", lambda: self.now)
            for n, store in enumerate(self.stores)
        ]
        async with anyio.create_task_group() as turns:
            for turn in range(chance.randint(2, 5)):
                seed = chance.random()
                turns.start_soon(self._turn, f"{self.number}.{turn}", tills, random.Random(seed))  # noqa: S311
        self.now += LEASE_S + 1
        await self._touch(tills[0])
        await self._judge(caps)

    async def _turn(self, turn: str, tills: Sequence[Till], chance: random.Random) -> None:
        """A turn's legs: one to three at once, all of one process."""
        till = chance.choice(tills)
        whose = {
            "user": f"{self.number}.{chance.choice('ab')}",
            "session": chance.choice("st"),
            "turn": turn,
        }
        crashes = chance.random() < 0.15
        async with anyio.create_task_group() as legs_of_turn:
            for track in range(chance.randint(1, 3)):
                own = random.Random(chance.random())  # noqa: S311
                leg = partial(self._leg, till, whose | {"track": f"api{track}"}, own)
                legs_of_turn.start_soon(partial(leg, crashes=crashes))

    async def _leg(
        self, till: Till, whose: dict[str, str], chance: random.Random, *, crashes: bool
    ) -> None:
        usd = chance.randint(1, 30) / 1000
        with anyio.CancelScope() as scope:
            if chance.random() < 0.3:
                scope.deadline = anyio.current_time() + chance.random() * 0.004
            await _steps(chance)
            try:
                held = await till.reserve(**whose, usd=usd, lease_s=LEASE_S)
            except BudgetExceeded:
                self.tally.legs["refused"] += 1
                return
            if crashes:
                self.tally.legs["crashed"] += 1
                return
            await self._generate(till, held, usd * chance.choice((0.25, 0.5, 1, 1)), chance)
        if scope.cancelled_caught:
            self.tally.legs["cancelled"] += 1

    async def _generate(
        self, till: Till, held: Reservation, usd: float, chance: random.Random
    ) -> None:
        try:
            await _steps(chance)
        finally:
            for account in account_keys(held.user, held.session, held.turn, held.day).items():
                self.spent[account] += nano(usd)
            with anyio.CancelScope(shield=True):
                await till.settle(held, usd)
            self.tally.legs["paid"] += 1

    async def _touch(self, till: Till) -> None:
        """The next reserve of anybody, which sweeps; it asks for nothing."""
        whose = {"user": "next", "session": "next", "turn": f"{self.number}.next", "track": "api"}
        with contextlib.suppress(BudgetExceeded):  # the peer is over its cap by now
            await till.settle(await till.reserve(**whose, usd=0.0, lease_s=LEASE_S), 0.0)

    async def _judge(self, caps: Caps) -> None:
        limits = dict(caps.set())
        spent = self.spent.items()
        over = [at for at, amount in spent if amount > limits.get(at[0], amount)]
        reserved = sa.select(sa.func.count()).where(
            legs.c.day == day_of(self.now), legs.c.state == "reserved"
        )
        left = await self.stores[0].transact(lambda at: at.execute(reserved).scalar_one())
        self.tally.schedules += 1
        self.tally.overspent += bool(over)
        self.tally.left += bool(left)


def _caps(chance: random.Random) -> Caps:
    scopes = chance.sample(("turn_usd", "session_usd", "user_usd", "day_usd"), chance.randint(1, 3))
    return Caps(**{scope: chance.randint(10, 80) / 1000 for scope in scopes})


async def _steps(chance: random.Random) -> None:
    for _ in range(chance.randint(0, 4)):
        await anyio.lowlevel.checkpoint()
