"""What was spent: the sums that `vanta spend` shows.

Invariant: every number comes from the legs, whose sums the accounts only repeat.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from vanta.money.amounts import usd
from vanta.money.tables import legs


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a breakdown, in US dollars. legs: those that run or were settled. estimated_usd:
    the part of spent_usd that no provider has confirmed."""

    name: str
    legs: int
    spent_usd: float
    reserved_usd: float
    estimated_usd: float


@dataclass(frozen=True, slots=True)
class Spending:
    """All that was spent. today is of `day`, a UTC day; the breakdowns are of all days.

    overruns: legs that cost more than was reserved, or were settled after their money had gone
    back. returned: legs whose process died before it could settle.
    """

    day: str
    today: Line
    total: Line
    users: tuple[Line, ...]
    sessions: tuple[Line, ...]
    tracks: tuple[Line, ...]
    overruns: int
    returned: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return dataclasses.asdict(self)


_open = legs.c.state == "reserved"
_began = sa.case((legs.c.state == "returned", 0), else_=1)
_sums = (
    sa.func.coalesce(sa.func.sum(_began), 0),
    sa.func.coalesce(sa.func.sum(legs.c.spent), 0),
    sa.func.coalesce(sa.func.sum(sa.case((_open, legs.c.reserved), else_=0)), 0),
    sa.func.coalesce(sa.func.sum(sa.case((legs.c.exact, 0), else_=legs.c.spent)), 0),
)


def spending(connection: sa.Connection, day: str) -> Spending:
    """Sum everything up, with `day` for today."""
    return Spending(
        day=day,
        today=_one(connection, day, legs.c.day == day),
        total=_one(connection, "all", sa.true()),
        users=_by(connection, legs.c.user),
        sessions=_by(connection, legs.c.user, legs.c.session),
        tracks=_by(connection, legs.c.track),
        overruns=_count(connection, legs.c.label.in_(["overrun", "late"])),
        returned=_count(connection, legs.c.label == "returned"),
    )


def _one(connection: sa.Connection, name: str, where: sa.ColumnElement[bool]) -> Line:
    return _line(name, connection.execute(sa.select(*_sums).where(where)).one())


def _by(connection: sa.Connection, *columns: sa.Column[str]) -> tuple[Line, ...]:
    """The sums by some columns, the dearest first."""
    rows = connection.execute(sa.select(*_sums, *columns).group_by(*columns)).all()
    lines = [_line("/".join(row[len(_sums) :]), row[: len(_sums)]) for row in rows]
    return tuple(sorted(lines, key=lambda line: (-line.spent_usd, line.name)))


def _count(connection: sa.Connection, where: sa.ColumnElement[bool]) -> int:
    found = connection.execute(sa.select(sa.func.count()).select_from(legs).where(where))
    return int(found.scalar_one())


def _line(name: str, sums: Any) -> Line:
    count, spent, reserved, estimated = sums
    return Line(name, int(count), usd(int(spent)), usd(int(reserved)), usd(int(estimated)))
