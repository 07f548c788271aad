"""The ledger: reserve before a leg, settle after it, in the database of the transcripts.

Each call is one transaction on the store's worker thread. Invariant: a reserve that is cancelled or
fails leaves nothing reserved; a settlement is written once, or kept and written with the next call
if the store fails; what a dead process had reserved goes back with the next reserve of any other.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import anyio
import sqlalchemy as sa

from vanta.errors import StoreError, VantaError
from vanta.money import amounts, books, tables
from vanta.money.caps import Caps, day_of
from vanta.money.owner import Owner, this_process
from vanta.money.reservation import Reservation
from vanta.money.summary import Spending, spending
from vanta.storage import Store

LEASE_S = 900.0
"""Seconds after which money goes back whose process cannot be looked at from here."""

Write = Callable[[sa.Connection], str]
_log = logging.getLogger("vanta")


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a leg did cost in the end.

    exact: False for an estimate. label: "" where all went as reserved, `overrun` where it cost more
    than its reservation, `late` where its reservation had gone back already.
    """

    usd: float
    exact: bool
    label: str = ""


class Ledger:
    """The money of all that share a store. Make it with `Ledger.open`.

    owner: who reserves, this process by default. clock: seconds since the epoch.
    """

    def __init__(
        self,
        store: Store,
        caps: Caps,
        *,
        owner: Owner | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.caps = caps
        self._store = store
        self._given_owner = owner
        self._clock = clock
        self._unwritten: dict[str, Write] = {}

    @classmethod
    def open(
        cls,
        store: Store,
        caps: Caps,
        *,
        owner: Owner | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Ledger:
        """The ledger in a store, created where it is missing. Blocking. Raises StoreError."""
        store.transact_now(tables.create)
        return cls(store, caps, owner=owner, clock=clock)

    async def reserve(
        self,
        *,
        user: str,
        session: str,
        turn: str,
        track: str,
        usd: float,
        lease_s: float = LEASE_S,
    ) -> Reservation:
        """Set `usd` aside, what a leg can cost at the most.

        Raises BudgetExceeded if a cap does not allow it, StoreError. Without any cap nothing is
        set aside and nothing written before the leg settles.
        """
        now = self._clock()
        reservation = Reservation(
            user=user,
            session=session,
            turn=turn,
            track=track,
            amount=amounts.nano_up(usd),
            day=day_of(now),
            expires_at=now + lease_s,
            held=bool(self.caps),
        )
        if reservation.held:
            await self._hold(reservation)
        return reservation

    async def settle(
        self, reservation: Reservation, usd: float, *, exact: bool = True
    ) -> Settlement:
        """Write what the leg did cost and free the rest; a second time changes nothing.

        Never raises StoreError: what could not be written now is written with the next call.
        """
        cost = amounts.nano(usd)
        write = self._settling(reservation, cost, exact=exact)
        try:
            with anyio.CancelScope(shield=True):
                label = await self._store.transact(write)
        except BaseException as error:
            self._unwritten[reservation.id] = write
            if not isinstance(error, StoreError):
                raise
            _log.warning("a settlement is kept until it can be written: %s", error)
            return Settlement(usd, exact)
        if label:
            _log.warning("%s", _told(label, reservation, cost))
        return Settlement(usd, exact, label)

    async def give_back(self, reservation: Reservation) -> None:
        """Free a reservation whose leg never began, if there is one. Raises StoreError."""
        with anyio.CancelScope(shield=True):
            free = partial(books.give_back, reservation=reservation, said="")
            await self._store.transact(free)

    async def sweep(self) -> int:
        """Return what dead processes had reserved; the number of their legs. Raises StoreError."""
        return await self._return(await self._store.transact(self._abandoned))

    async def spending(self) -> Spending:
        """What was spent, today (UTC) and in all. Raises StoreError."""
        await self._catch_up()
        await self.sweep()
        return await self._store.transact(partial(spending, day=day_of(self._clock())))

    async def aclose(self) -> None:
        """Write what could not be written before; what fails again is logged."""
        try:
            await self._catch_up()
        except StoreError as error:
            _log.error("%d settlements are lost: %s", len(self._unwritten), error)

    @property
    def _owner(self) -> Owner:
        return self._given_owner or this_process()

    async def _hold(self, reservation: Reservation) -> None:
        try:
            await self._catch_up()
            while found := await self._store.transact(partial(self._reserve, reservation)):
                await self._return(found)
        except VantaError:
            raise
        except BaseException:
            # Cancelled: the transaction may have been under way, and nobody else knows its id.
            with contextlib.suppress(StoreError):
                await self.give_back(reservation)
            raise

    def _reserve(
        self, reservation: Reservation, connection: sa.Connection
    ) -> Sequence[Reservation]:
        """Reserve, unless something has to be returned first: then that."""
        found = self._abandoned(connection)
        if not found:
            books.reserve(connection, reservation, self.caps, self._owner)
        return found

    def _settling(self, reservation: Reservation, cost: int, *, exact: bool) -> Write:
        if reservation.held:
            return partial(books.settle, reservation=reservation, cost=cost, exact=exact)
        owner = self._owner
        return partial(books.record, reservation=reservation, owner=owner, cost=cost, exact=exact)

    def _abandoned(self, connection: sa.Connection) -> Sequence[Reservation]:
        return books.abandoned(connection, self._clock(), self._owner)

    async def _return(self, found: Sequence[Reservation]) -> int:
        # One transaction each: accounts are locked in one order only inside one reservation.
        returned = 0
        for reservation in found:
            give_back = partial(books.give_back, reservation=reservation, said="returned")
            returned += await self._store.transact(give_back)
        return returned

    async def _catch_up(self) -> None:
        """Write the settlements that could not be written before. Raises StoreError."""
        for leg, write in list(self._unwritten.items()):
            await self._store.transact(write)
            self._unwritten.pop(leg, None)


def _told(label: str, reservation: Reservation, cost: int) -> str:
    what = f"a leg of track {reservation.track!r} cost ${amounts.usd(cost):.9g}"
    if label == "late":
        return f"{what} and was settled after its reservation had gone back"
    return f"{what}, more than the ${reservation.usd:.9g} reserved for it"
