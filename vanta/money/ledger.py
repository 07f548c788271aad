"""The ledger: reserve before a leg, settle after it, and sum up the spending.

Each call is one transaction on the database's worker thread. Invariant: a reserve that is cancelled
or fails leaves nothing reserved. A settlement is written once; if the store fails, it is kept and
written with the next call. The legs of a dead process are settled at their reservations with the
next reserve of any other. Every number of `Spending` comes from the legs, whose sums the accounts
only repeat.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import sqlalchemy as sa

from vanta.errors import StoreError, VantaError
from vanta.money import amounts, books
from vanta.money.amounts import Caps, account_keys, day_of, usd
from vanta.money.books import legs
from vanta.money.reservation import Owner, Reservation, this_process
from vanta.money.unpriced import UnpricedRule
from vanta.storage import Database

LEASE_S = 900.0
"""Seconds after which the leg of an unreachable process is settled at its reservation."""

Write = Callable[[sa.Connection], str]
_log = logging.getLogger("vanta")

_open = legs.c.state == "reserved"
_began = sa.case((legs.c.state == "returned", 0), else_=1)
_sums = (
    sa.func.coalesce(sa.func.sum(_began), 0),
    sa.func.coalesce(sa.func.sum(legs.c.spent), 0),
    sa.func.coalesce(sa.func.sum(sa.case((_open, legs.c.reserved), else_=0)), 0),
    sa.func.coalesce(sa.func.sum(sa.case((legs.c.exact, 0), else_=legs.c.spent)), 0),
)


@dataclass(frozen=True, slots=True)
class Settlement:
    """The final cost of a leg.

    :param usd: the cost in US dollars.
    :param exact: False for an estimate.
    :param label: "", `overrun` if the leg cost more than its reservation, or `late` if it had
        already been settled at its reservation or given back.
    """

    usd: float
    exact: bool
    label: str = ""


@dataclass(frozen=True, slots=True)
class SpendingLine:
    """One row of a breakdown.

    :param name: the user, session or track, or the name of the whole.
    :param legs: the number of legs that ran or were settled.
    :param spent_usd: the settled cost in US dollars.
    :param reserved_usd: the cost reserved by running legs in US dollars.
    :param estimated_usd: the part of `spent_usd` that no provider has confirmed.
    """

    name: str
    legs: int
    spent_usd: float
    reserved_usd: float
    estimated_usd: float


@dataclass(frozen=True, slots=True)
class Spending:
    """All spending, as `vanta spend` shows it; the breakdowns are of all days.

    :param day: a UTC day, as 2026-01-31.
    :param today: the spending of `day`.
    :param total: the spending of all days.
    :param users: by user, the most expensive first.
    :param sessions: by session, the most expensive first.
    :param tracks: by track, the most expensive first.
    :param overruns: the number of legs that cost more than was reserved or were settled late.
    :param died: the number of legs that were settled at their reservation, because their process
        died before it could settle.
    """

    day: str
    today: SpendingLine
    total: SpendingLine
    users: tuple[SpendingLine, ...]
    sessions: tuple[SpendingLine, ...]
    tracks: tuple[SpendingLine, ...]
    overruns: int
    died: int

    def to_dict(self) -> dict[str, Any]:
        """Return the spending as JSON-ready data."""
        return dataclasses.asdict(self)


class Ledger:
    """The money of all runtimes that share a database. Open it with `Ledger.open`.

    :param database: the open database, with the tables of the books.
    :param caps: the caps that reservations must not exceed.
    :param owner: the process that reserves; None is the current one.
    :param clock: returns seconds since the epoch.
    :param unpriced: decides about legs without a known price; None refuses them under a cap.
    """

    def __init__(
        self,
        database: Database,
        caps: Caps,
        *,
        owner: Owner | None = None,
        clock: Callable[[], float] = time.time,
        unpriced: UnpricedRule | None = None,
    ) -> None:
        self.caps = caps
        self.unpriced = unpriced or UnpricedRule()
        self._database = database
        self._given_owner = owner
        self._clock = clock
        self._unwritten: dict[str, Write] = {}

    @classmethod
    def open(
        cls,
        database: Database,
        caps: Caps,
        *,
        owner: Owner | None = None,
        clock: Callable[[], float] = time.time,
        unpriced: UnpricedRule | None = None,
    ) -> Ledger:
        """Open the ledger of a database and create missing tables. Blocking.

        :param database: the open database.
        :param caps: the caps that reservations must not exceed.
        :param owner: the process that reserves; None is the current one.
        :param clock: returns seconds since the epoch.
        :param unpriced: decides about legs without a known price; None refuses them under a cap.
        :returns: the ledger.
        :raises StoreError: if the database fails, or is neither SQLite nor PostgreSQL.
        """
        database.transact_now(books.create_tables)
        return cls(database, caps, owner=owner, clock=clock, unpriced=unpriced)

    async def reserve(
        self,
        *,
        user: str,
        session: str,
        turn: str,
        track: str,
        usd: float,
        lease_s: float = LEASE_S,
        caps: Caps | None = None,
    ) -> Reservation:
        """Set aside the maximum cost of a leg. Without any cap, nothing is written.

        :param user: the user who pays.
        :param session: the session that pays.
        :param turn: the turn that pays.
        :param track: the track of the leg.
        :param usd: the maximum cost in US dollars.
        :param lease_s: seconds after which the leg of an unreachable process is settled.
        :param caps: the caps that hold; None for those of the ledger.
        :returns: the reservation, to be settled or given back.
        :raises BudgetExceeded: if a cap does not allow the cost.
        :raises StoreError: if the database fails.
        """
        now = self._clock()
        caps = self.caps if caps is None else caps
        reservation = Reservation(
            user=user,
            session=session,
            turn=turn,
            track=track,
            amount=amounts.nano_up(usd),
            day=day_of(now),
            expires_at=now + lease_s,
            held=bool(caps),
        )
        if reservation.held:
            await self._hold(reservation, caps)
        return reservation

    async def settle(
        self, reservation: Reservation, usd: float, *, exact: bool = True
    ) -> Settlement:
        """Record a leg's cost and release the rest of its reservation. Idempotent.

        Never raises StoreError: if the database fails, the next call writes the settlement. A cost
        that is negative, infinite or not a number is settled at the reservation, as an estimate.

        :param reservation: the leg's reservation.
        :param usd: the cost in US dollars.
        :param exact: whether the provider confirmed the cost.
        :returns: the settlement.
        """
        if not (math.isfinite(usd) and usd >= 0):
            usd, exact = reservation.usd, False
        cost = amounts.nano(usd)
        write = self._settling(reservation, cost, exact=exact)
        try:
            with anyio.CancelScope(shield=True):
                label = await self._database.transact(write)
        except BaseException as error:
            self._unwritten[reservation.id] = write
            if not isinstance(error, StoreError):
                raise
            _log.warning("a settlement is kept until it can be written: %s", error)
            return Settlement(usd, exact)
        if label:
            _log.warning("%s", _describe(label, reservation, cost))
        return Settlement(usd, exact, label)

    async def give_back(self, reservation: Reservation) -> None:
        """Release the reservation of a leg that never started. No-op if it was settled.

        :param reservation: the leg's reservation.
        :raises StoreError: if the database fails.
        """
        with anyio.CancelScope(shield=True):
            release = partial(books.give_back, reservation=reservation)
            await self._database.transact(release)

    async def sweep(self) -> int:
        """Settle the legs of dead processes at their reservations.

        :returns: the number of legs.
        :raises StoreError: if the database fails.
        """
        return await self._abandon(await self._database.transact(self._abandoned))

    async def reset(self, *, user: str, session: str | None = None) -> float:
        """Let the cap of a user, or of one session, count from now on.

        What was spent stays in the books and in the caps of other scopes; running legs stay
        reserved.

        :param user: the user.
        :param session: the session, or None for the user's own cap.
        :returns: the spending that the cap no longer counts, in US dollars.
        :raises StoreError: if the database fails.
        """
        await self._catch_up()
        await self.sweep()
        scope = "user" if session is None else "session"
        key = account_keys(user, session or "", "", "")[scope]
        return usd(await self._database.transact(partial(books.reset, scope=scope, key=key)))

    async def spending(self) -> Spending:
        """Sum up the spending of the current UTC day and of all days.

        :returns: the sums, with breakdowns by user, session and track.
        :raises StoreError: if the database fails.
        """
        await self._catch_up()
        await self.sweep()
        return await self._database.transact(partial(_spending, day=day_of(self._clock())))

    async def aclose(self) -> None:
        """Write kept settlements; those that fail again are logged."""
        try:
            await self._catch_up()
        except StoreError as error:
            _log.error("%d settlements could not be written: %s", len(self._unwritten), error)

    @property
    def _owner(self) -> Owner:
        return self._given_owner or this_process()

    async def _hold(self, reservation: Reservation, caps: Caps) -> None:
        try:
            await self._catch_up()
            while stale := await self._database.transact(partial(self._reserve, reservation, caps)):
                await self._abandon(stale)
        except VantaError:
            raise
        except BaseException:
            # Cancelled: the transaction may have been committed, and only this call knows its id.
            with contextlib.suppress(StoreError):
                await self.give_back(reservation)
            raise

    def _reserve(
        self, reservation: Reservation, caps: Caps, connection: sa.Connection
    ) -> Sequence[Reservation]:
        """Return the reservations of dead processes; reserve if there are none."""
        stale = self._abandoned(connection)
        if not stale:
            books.reserve(connection, reservation, caps, self._owner)
        return stale

    def _settling(self, reservation: Reservation, cost: int, *, exact: bool) -> Write:
        if reservation.held:
            return partial(books.settle, reservation=reservation, cost=cost, exact=exact)
        owner = self._owner
        return partial(books.record, reservation=reservation, owner=owner, cost=cost, exact=exact)

    def _abandoned(self, connection: sa.Connection) -> Sequence[Reservation]:
        return books.abandoned(connection, self._clock(), self._owner)

    async def _abandon(self, stale: Sequence[Reservation]) -> int:
        # One transaction each: the order of locks is fixed only within one reservation.
        settled = 0
        for reservation in stale:
            abandon = partial(books.abandon, reservation=reservation)
            settled += await self._database.transact(abandon)
        return settled

    async def _catch_up(self) -> None:
        """Write the kept settlements. Raises StoreError."""
        for leg, write in list(self._unwritten.items()):
            await self._database.transact(write)
            self._unwritten.pop(leg, None)


def _describe(label: str, reservation: Reservation, cost: int) -> str:
    leg = f"a leg of track {reservation.track!r} cost ${usd(cost):.9g}"
    if label == "late":
        return f"{leg} and was settled after its process had been taken for dead"
    return f"{leg}, more than the ${reservation.usd:.9g} reserved for it"


def _spending(connection: sa.Connection, day: str) -> Spending:
    return Spending(
        day=day,
        today=_total(connection, day, legs.c.day == day),
        total=_total(connection, "all", sa.true()),
        users=_by(connection, legs.c.user),
        sessions=_by(connection, legs.c.user, legs.c.session),
        tracks=_by(connection, legs.c.track),
        overruns=_count(connection, legs.c.label.in_(["overrun", "late"])),
        died=_count(connection, legs.c.label == books.DIED),
    )


def _total(connection: sa.Connection, name: str, where: sa.ColumnElement[bool]) -> SpendingLine:
    return _line(name, connection.execute(sa.select(*_sums).where(where)).one())


def _by(connection: sa.Connection, *columns: sa.Column[str]) -> tuple[SpendingLine, ...]:
    """Return the sums by some columns, the most expensive first."""
    rows = connection.execute(sa.select(*_sums, *columns).group_by(*columns)).all()
    lines = [_line("/".join(row[len(_sums) :]), row[: len(_sums)]) for row in rows]
    return tuple(sorted(lines, key=lambda line: (-line.spent_usd, line.name)))


def _count(connection: sa.Connection, where: sa.ColumnElement[bool]) -> int:
    query = sa.select(sa.func.count()).select_from(legs).where(where)
    return int(connection.execute(query).scalar_one())


def _line(name: str, sums: Any) -> SpendingLine:
    count, spent, reserved, estimated = sums
    return SpendingLine(name, int(count), usd(int(spent)), usd(int(reserved)), usd(int(estimated)))
