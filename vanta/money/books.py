"""The books: what the ledger does inside one transaction of the store's database.

A reservation is added to its accounts first and checked after, inside one transaction: SQLite gives
its one write lock with the first write, PostgreSQL locks the accounts' rows, always in the order of
their scopes. Invariant: whoever checks a cap holds the account that it stands on until the
reservation is committed or rolled back, in whatever process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from vanta.errors import BudgetExceeded
from vanta.money.amounts import dollars, usd
from vanta.money.caps import Caps, accounts
from vanta.money.owner import Owner
from vanta.money.reservation import Reservation
from vanta.money.tables import ADD_ACCOUNT, legs
from vanta.money.tables import accounts as _accounts

_key = sa.and_(
    _accounts.c.scope == sa.bindparam("of_scope"), _accounts.c.key == sa.bindparam("of_key")
)
_read_account = sa.select(_accounts.c.spent, _accounts.c.reserved).where(_key)
_book = (
    sa.update(_accounts)
    .where(_key)
    .values(
        spent=_accounts.c.spent + sa.bindparam("spend"),
        reserved=_accounts.c.reserved + sa.bindparam("reserve"),
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
        label=sa.bindparam("said"),
    )
)
_open_legs = sa.select(legs).where(
    legs.c.state == "reserved",
    (legs.c.expires_at < sa.bindparam("now"))
    | ((legs.c.host == sa.bindparam("host")) & (legs.c.process != sa.bindparam("process"))),
)


def reserve(connection: sa.Connection, reservation: Reservation, caps: Caps, owner: Owner) -> None:
    """Set the reservation's amount aside. Raises BudgetExceeded; the transaction must then end
    without being committed."""
    keys = _keys(reservation)
    connection.execute(ADD_ACCOUNT[connection.dialect.name], _empty(keys))
    connection.execute(_book, _changes(keys, spend=0, reserve=reservation.amount))
    for scope, limit in caps.set():
        _check(connection, scope, keys[scope], limit, reservation.amount)
    connection.execute(_add_leg, _row(reservation, owner))


def settle(connection: sa.Connection, reservation: Reservation, cost: int, *, exact: bool) -> str:
    """Write what a leg did cost, in nano-USD, and free the rest of its reservation.

    Returns a label: "" where all went as reserved, `overrun` where it cost more, `late` where its
    reservation had gone back already. Settling twice changes nothing.
    """
    label = "overrun" if cost > reservation.amount else ""
    for was, said, freed in (("reserved", label, reservation.amount), ("returned", "late", 0)):
        if _close(connection, reservation, was, "settled", cost, exact=exact, said=said):
            changes = _changes(_keys(reservation), spend=cost, reserve=-freed)
            connection.execute(_book, changes)
            return said
    return ""


def record(
    connection: sa.Connection, reservation: Reservation, owner: Owner, cost: int, *, exact: bool
) -> str:
    """Write what a leg did cost that nothing was set aside for; a second time changes nothing."""
    keys = _keys(reservation)
    connection.execute(ADD_ACCOUNT[connection.dialect.name], _empty(keys))
    if connection.execute(_known_leg, {"leg": reservation.id}).first() is None:
        done = {"state": "settled", "reserved": 0, "spent": cost, "exact": exact}
        connection.execute(_add_leg, _row(reservation, owner) | done)
        connection.execute(_book, _changes(keys, spend=cost, reserve=0))
    return ""


def give_back(connection: sa.Connection, reservation: Reservation, *, said: str) -> bool:
    """Return the money of a leg that never settled; False if it was settled or returned before.

    said: the leg's label, `returned` where its process is gone.
    """
    closed = _close(connection, reservation, "reserved", "returned", 0, exact=True, said=said)
    if closed:
        changes = _changes(_keys(reservation), spend=0, reserve=-reservation.amount)
        connection.execute(_book, changes)
    return closed


def abandoned(connection: sa.Connection, now_s: float, owner: Owner) -> list[Reservation]:
    """Reservations whose process is gone, or whose lease has run out. Only reads."""
    of_others = {"now": now_s, "host": owner.host, "process": owner.process}
    rows = connection.execute(_open_legs, of_others).all()
    gone: dict[Owner, bool] = {}
    found = []
    for row in rows:
        holder = Owner(row.host, row.process)
        if row.expires_at >= now_s and not gone.setdefault(holder, holder.gone):
            continue
        found.append(_reservation(row))
    return found


def _close(
    connection: sa.Connection,
    reservation: Reservation,
    was: str,
    becomes: str,
    cost: int,
    *,
    exact: bool,
    said: str,
) -> bool:
    """Move a leg's row from one state to another; False if it is not in that state."""
    which = {"leg": reservation.id, "was": was}
    new = {"becomes": becomes, "cost": cost, "certain": exact, "said": said}
    return bool(connection.execute(_close_leg, which | new).rowcount)


def _check(connection: sa.Connection, scope: str, key: str, limit: int, asked: int) -> None:
    """Raise BudgetExceeded if an account, with what was asked already in it, is over its cap."""
    at = {"of_scope": scope, "of_key": key}
    spent, reserved = connection.execute(_read_account, at).one()
    if spent + reserved <= limit:
        return
    before = reserved - asked
    raise BudgetExceeded(
        f"the {scope} cap of {dollars(limit)} does not allow {dollars(asked)}: "
        f"{dollars(spent)} spent and {dollars(before)} reserved"
        f"{f' on {key} (UTC)' if scope == 'day' else ''}",
        suggestion=_advice(scope, fits_later=spent + asked <= limit),
        scope=scope,
        limit_usd=usd(limit),
        spent_usd=usd(spent),
        reserved_usd=usd(before),
        asked_usd=usd(asked),
    )


def _advice(scope: str, *, fits_later: bool) -> str:
    steps = [f"raise budget.{scope}_usd", "lower max_tokens", "use a track without a price"]
    if fits_later:
        steps.insert(0, "try again when what is reserved has settled")
    elif scope == "day":
        steps.insert(0, "wait for the next day")
    return f"{', '.join(steps[:-1])}, or {steps[-1]}.".capitalize()


def _keys(reservation: Reservation) -> dict[str, str]:
    return accounts(reservation.user, reservation.session, reservation.turn, reservation.day)


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
