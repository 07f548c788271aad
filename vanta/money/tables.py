"""The ledger's two tables.

`money_legs` has a row for each leg that was paid for; `money_accounts` the running totals that caps
are checked against. Invariant: an account is the sum of its legs, since both change in one
transaction. All amounts are nano-USD.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from vanta.errors import StoreError

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


def create(connection: sa.Connection) -> None:
    """Create what is missing; several processes may do so at once. Raises StoreError."""
    if connection.dialect.name not in ("sqlite", "postgresql"):
        raise StoreError(
            f"budgets need SQLite or PostgreSQL, not {connection.dialect.name!r}. "
            "Name another store_url."
        )
    for table in _metadata.sorted_tables:
        connection.execute(CreateTable(table, if_not_exists=True))
        for index in sorted(table.indexes, key=lambda one: str(one.name)):
            connection.execute(CreateIndex(index, if_not_exists=True))


ADD_ACCOUNT = {
    "sqlite": sqlite.insert(accounts).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(accounts).on_conflict_do_nothing(),
}
"""Insert accounts that are missing, by dialect."""
