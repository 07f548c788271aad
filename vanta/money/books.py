"""The books: the ledger's tables, and its work inside one transaction of the database.

`money_legs` has a row for each paid leg; `money_accounts` has the running totals that caps are
checked against, and `money_resets` what an account had spent when its cap was reset, which the cap
no longer counts. All amounts are nano-USD. A reservation is added to its accounts first and checked
afterwards, inside one transaction: SQLite takes its only write lock with the first write and
PostgreSQL locks the rows of the accounts, always in the order of their scopes. Invariant: an
account is the sum of its legs, and a transaction that checks a cap holds its account until it
ends, in whatever process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from vanta.errors import BudgetExceeded, StoreError
from vanta.money.amounts import Caps, account_keys, dollars, usd
from vanta.money.reservation import Owner, Reservation

DIED = "died"
"""State and label of a leg whose process ended before it could settle."""

_metadata = sa.MetaData()

accounts = sa.Table(
    "money_accounts",
    _metadata,
    sa.Column("scope", sa.String(10), primary_key=True),
    sa.Column("key", sa.String(450), primary_key=True),
    sa.Column("spent", sa.BigInteger, nullable=False),
    sa.Column("reserved", sa.BigInteger, nullable=False),
)
legs = sa.Table(
    "money_legs",
    _metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("user", sa.String(200), nullable=False),
    sa.Column("session", sa.String(200), nullable=False),
    sa.Column("turn", sa.String(200), nullable=False),
    sa.Column("track", sa.String(200), nullable=False),
    sa.Column("day", sa.String(10), nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("reserved", sa.BigInteger, nullable=False),
    sa.Column("spent", sa.BigInteger, nullable=False),
    sa.Column("exact", sa.Boolean, nullable=False),
    sa.Column("label", sa.String(10), nullable=False),
    sa.Column("host", sa.String(200), nullable=False),
    sa.Column("process", sa.String(60), nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
    sa.Index("money_legs_by_state", "state"),
    sa.Index("money_legs_by_day", "day"),
)
resets = sa.Table(
    "money_resets",
    _metadata,
    sa.Column("scope", sa.String(10), primary_key=True),
    sa.Column("key", sa.String(450), primary_key=True),
    sa.Column("spent", sa.BigInteger, nullable=False),
)
_add_account = {
    "sqlite": sqlite.insert(accounts).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(accounts).on_conflict_do_nothing(),
}
_key = sa.and_(
    accounts.c.scope == sa.bindparam("of_scope"), accounts.c.key == sa.bindparam("of_key")
)
_before_reset = sa.func.coalesce(resets.c.spent, 0)
_read_account = (
    sa.select(accounts.c.spent - _before_reset, accounts.c.reserved)
    .select_from(
        accounts.outerjoin(
            resets, sa.and_(resets.c.scope == accounts.c.scope, resets.c.key == accounts.c.key)
        )
    )
    .where(_key)
)
_drop_reset = sa.delete(resets).where(
    resets.c.scope == sa.bindparam("of_scope"), resets.c.key == sa.bindparam("of_key")
)
_add_reset = sa.insert(resets).from_select(
    ["scope", "key", "spent"],
    sa.select(accounts.c.scope, accounts.c.key, accounts.c.spent).where(_key),
)
_book = (
    sa.update(accounts)
    .where(_key)
    .values(
        spent=accounts.c.spent + sa.bindparam("spend"),
        reserved=accounts.c.reserved + sa.bindparam("reserve"),
    )
)
_add_leg = sa.insert(legs)
_known_leg = sa.select(legs.c.id).where(legs.c.id == sa.bindparam("leg"))
_close_leg = (
    sa.update(legs)
    .where(legs.c.id == sa.bindparam("leg"), legs.c.state == sa.bindparam("was"))
    .values(
        state=sa.bindparam("becomes"),
        spent=sa.bindparam("cost"),
        exact=sa.bindparam("certain"),
        label=sa.bindparam("new_label"),
    )
)
_open_legs = sa.select(legs).where(
    legs.c.state == "reserved",
    (legs.c.expires_at < sa.bindparam("now"))
    | ((legs.c.host == sa.bindparam("host")) & (legs.c.process != sa.bindparam("process"))),
)


def create_tables(connection: sa.Connection) -> None:
    """Create missing tables; several processes may do so at once. Raises StoreError."""
    if connection.dialect.name not in _add_account:
        raise StoreError(
            f"budgets need SQLite or PostgreSQL, not {connection.dialect.name!r}. "
            "Name another store_url."
        )
    for table in _metadata.sorted_tables:
        connection.execute(CreateTable(table, if_not_exists=True))
        for index in sorted(table.indexes, key=lambda item: str(item.name)):
            connection.execute(CreateIndex(index, if_not_exists=True))


def reserve(connection: sa.Connection, reservation: Reservation, caps: Caps, owner: Owner) -> None:
    """Set the reservation's amount aside. Raises BudgetExceeded; the caller must roll back then."""
    keys = _keys(reservation)
    connection.execute(_add_account[connection.dialect.name], _empty(keys))
    connection.execute(_book, _changes(keys, spend=0, reserve=reservation.amount))
    for scope, limit in caps.set():
        _check(connection, scope, keys[scope], limit, reservation.amount)
    connection.execute(_add_leg, _row(reservation, owner))


def settle(connection: sa.Connection, reservation: Reservation, cost: int, *, exact: bool) -> str:
    """Record a leg's cost in nano-USD and release the rest of its reservation. Idempotent.

    Returns a label: "", `overrun` if the leg cost more than was reserved, or `late` if it was
    settled at its reservation already, or given back.
    """
    amount = reservation.amount
    overrun = "overrun" if cost > amount else ""
    ways = (("reserved", overrun, 0, amount), (DIED, "late", amount, 0), ("returned", "late", 0, 0))
    for state, label, booked, freed in ways:
        if _close(connection, reservation, state, "settled", cost, exact=exact, label=label):
            changes = _changes(_keys(reservation), spend=cost - booked, reserve=-freed)
            connection.execute(_book, changes)
            return label
    return ""


def record(
    connection: sa.Connection, reservation: Reservation, owner: Owner, cost: int, *, exact: bool
) -> str:
    """Record the cost of a leg without a reservation. Idempotent."""
    keys = _keys(reservation)
    connection.execute(_add_account[connection.dialect.name], _empty(keys))
    if connection.execute(_known_leg, {"leg": reservation.id}).first() is None:
        settled = {"state": "settled", "reserved": 0, "spent": cost, "exact": exact}
        connection.execute(_add_leg, _row(reservation, owner) | settled)
        connection.execute(_book, _changes(keys, spend=cost, reserve=0))
    return ""


def give_back(connection: sa.Connection, reservation: Reservation) -> bool:
    """Return the money of a leg that never started; False if it was settled or returned before."""
    closed = _close(connection, reservation, "reserved", "returned", 0, exact=True, label="")
    if closed:
        changes = _changes(_keys(reservation), spend=0, reserve=-reservation.amount)
        connection.execute(_book, changes)
    return closed


def abandon(connection: sa.Connection, reservation: Reservation) -> bool:
    """Settle the leg of a dead process at its reservation; False if it was settled before.

    The provider may have served all of it, and only the dead process could have known.
    """
    amount = reservation.amount
    closed = _close(connection, reservation, "reserved", DIED, amount, exact=False, label=DIED)
    if closed:
        connection.execute(_book, _changes(_keys(reservation), spend=amount, reserve=-amount))
    return closed


def reset(connection: sa.Connection, scope: str, key: str) -> int:
    """Let the cap of an account count from now on; return what it no longer counts, in nano-USD.

    The account stays the sum of its legs, and running legs stay reserved.
    """
    which = {"of_scope": scope, "of_key": key}
    # Locks the account, so that no reservation is checked against half a reset.
    connection.execute(_book, which | {"spend": 0, "reserve": 0})
    row = connection.execute(_read_account, which).first()
    if row is None:
        return 0
    connection.execute(_drop_reset, which)
    connection.execute(_add_reset, which)
    return int(row[0])


def abandoned(connection: sa.Connection, now_s: float, owner: Owner) -> list[Reservation]:
    """Return the reservations whose process is gone or whose lease has expired. Only reads."""
    of_others = {"now": now_s, "host": owner.host, "process": owner.process}
    rows = connection.execute(_open_legs, of_others).all()
    gone: dict[Owner, bool] = {}
    reservations = []
    for row in rows:
        holder = Owner(row.host, row.process)
        if row.expires_at >= now_s and not gone.setdefault(holder, holder.gone):
            continue
        reservations.append(_reservation(row))
    return reservations


def _close(
    connection: sa.Connection,
    reservation: Reservation,
    state: str,
    new_state: str,
    cost: int,
    *,
    exact: bool,
    label: str,
) -> bool:
    """Move a leg's row from one state to another; return False if it is not in that state."""
    which = {"leg": reservation.id, "was": state}
    changes = {"becomes": new_state, "cost": cost, "certain": exact, "new_label": label}
    return bool(connection.execute(_close_leg, which | changes).rowcount)


def _check(connection: sa.Connection, scope: str, key: str, limit: int, amount: int) -> None:
    """Raise BudgetExceeded if an account that includes `amount` already exceeds its cap."""
    at = {"of_scope": scope, "of_key": key}
    spent, reserved = connection.execute(_read_account, at).one()
    if spent + reserved <= limit:
        return
    before = reserved - amount
    raise BudgetExceeded(
        f"the {scope} cap of {dollars(limit)} does not allow {dollars(amount)}: "
        f"{dollars(spent)} spent and {dollars(before)} reserved"
        f"{f' on {key} (UTC)' if scope == 'day' else ''}",
        suggestion=_advice(scope, fits_later=spent + amount <= limit),
        scope=scope,
        limit_usd=usd(limit),
        spent_usd=usd(spent),
        reserved_usd=usd(before),
        asked_usd=usd(amount),
    )


def _advice(scope: str, *, fits_later: bool) -> str:
    steps = [f"raise budget.{scope}_usd", "lower max_tokens", "use a track without a price"]
    if scope in {"session", "user"}:
        steps.insert(1, f"let the cap count from now on with 'vanta budget reset --{scope} NAME'")
    if fits_later:
        steps.insert(0, "try again when the reserved legs have settled")
    elif scope == "day":
        steps.insert(0, "wait for the next day")
    return f"{', '.join(steps[:-1])}, or {steps[-1]}.".capitalize()


def _keys(reservation: Reservation) -> dict[str, str]:
    return account_keys(reservation.user, reservation.session, reservation.turn, reservation.day)


def _empty(keys: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"scope": scope, "key": key, "spent": 0, "reserved": 0} for scope, key in keys.items()]


def _changes(keys: Mapping[str, str], *, spend: int, reserve: int) -> list[dict[str, Any]]:
    return [
        {"of_scope": scope, "of_key": key, "spend": spend, "reserve": reserve}
        for scope, key in keys.items()
    ]


def _row(reservation: Reservation, owner: Owner) -> dict[str, Any]:
    return {
        "id": reservation.id,
        "user": reservation.user,
        "session": reservation.session,
        "turn": reservation.turn,
        "track": reservation.track,
        "day": reservation.day,
        "state": "reserved",
        "reserved": reservation.amount if reservation.held else 0,
        "spent": 0,
        "exact": True,
        "label": "",
        "host": owner.host,
        "process": owner.process,
        "expires_at": reservation.expires_at,
    }


def _reservation(row: Any) -> Reservation:
    return Reservation(
        id=row.id,
        user=row.user,
        session=row.session,
        turn=row.turn,
        track=row.track,
        day=row.day,
        amount=row.reserved,
        expires_at=row.expires_at,
    )
