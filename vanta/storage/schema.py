"""The tables of turns, messages, removals, tool calls and approvals, and the schema's version.

Version 2 added the calls of messages, and the tables of tool calls and of parked turns. Invariant:
`create_tables` may run in several processes at once, upgrades what an older vanta wrote without
loss, and never changes a database that a newer vanta wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.schema import CreateIndex, CreateTable

from vanta.errors import StoreError
from vanta.text import redact_url

SCHEMA_VERSION = 2

_metadata = sa.MetaData()
_about = sa.Table("about", _metadata, sa.Column("schema_version", sa.Integer, nullable=False))
turns = sa.Table(
    "turns",
    _metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("user", sa.String(200), nullable=False),
    sa.Column("session", sa.String(200), nullable=False),
    sa.Column("private", sa.Boolean, nullable=False),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("track", sa.String(200)),
    sa.Column("cost_usd", sa.Float, nullable=False),
    sa.Column("finished_at", sa.Float, nullable=False),
    sa.Column("trace", sa.JSON, nullable=False),
)
messages = sa.Table(
    "messages",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("user", sa.String(200), nullable=False),
    sa.Column("session", sa.String(200), nullable=False),
    sa.Column("turn_id", sa.String(32), sa.ForeignKey("turns.id"), nullable=False),
    sa.Column("private", sa.Boolean, nullable=False),
    sa.Column("role", sa.String(20), nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("calls", sa.JSON(none_as_null=True)),
    sa.Column("call_id", sa.String(200)),
    sa.Index("messages_of_session", "user", "session", "id"),
)
removals = sa.Table(
    "removals",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("user", sa.String(200), nullable=False),
    sa.Column("forgotten", sa.Boolean, nullable=False),
    sa.Index("removals_of_user", "user", "id"),
    sa.Index("removals_for_good", "forgotten", "id"),
)
"""A row for each time that text of a user was removed; `forgotten`: for good, from caches too."""

private_sessions = sa.Table(
    "private_sessions",
    _metadata,
    sa.Column("user", sa.String(200), primary_key=True),
    sa.Column("session", sa.String(200), primary_key=True),
)
"""The sessions whose turns are private unless they say otherwise."""

tool_calls = sa.Table(
    "tool_calls",
    _metadata,
    sa.Column("key", sa.String(32), primary_key=True),
    sa.Column("turn", sa.String(200), nullable=False),
    sa.Column("user", sa.String(200), nullable=False),
    sa.Column("session", sa.String(200), nullable=False),
    sa.Column("call_id", sa.Text, nullable=False),
    sa.Column("toolset", sa.String(200), nullable=False),
    sa.Column("tool", sa.String(200), nullable=False),
    sa.Column("effect", sa.String(12), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("arguments", sa.Text, nullable=False),
    sa.Column("private", sa.Boolean, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("result", sa.Text, nullable=False),
    sa.Column("outcome", sa.String(12), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("forgotten", sa.Boolean, nullable=False),
    sa.Column("requested_at", sa.Float, nullable=False),
    sa.Column("started_at", sa.Float),
    sa.Column("ended_at", sa.Float),
    sa.Column("claim", sa.String(32), nullable=False),
    sa.Column("host", sa.String(200), nullable=False),
    sa.Column("process", sa.String(60), nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
    sa.Index("tool_calls_of_session", "user", "session", "requested_at"),
    sa.Index("tool_calls_of_turn", "turn"),
    sa.Index("tool_calls_by_state", "state"),
)
"""The journal of tool calls. `claim` names one start of a call; host and process hold it."""

tool_approvals = sa.Table(
    "tool_approvals",
    _metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("user", sa.String(200), nullable=False),
    sa.Column("session", sa.String(200), nullable=False),
    sa.Column("toolset", sa.String(200), nullable=False),
    sa.Column("tool", sa.String(200), nullable=False),
    sa.Column("tool_digest", sa.String(64), nullable=False),
    sa.Column("pattern", sa.Text, nullable=False),
    sa.Column("approved_at", sa.Float, nullable=False),
    sa.Index("tool_approvals_of_user", "user", "toolset", "tool"),
)
"""What a person approved for a session, or, with an empty one, until it is revoked."""

parked_turns = sa.Table(
    "parked_turns",
    _metadata,
    sa.Column("turn", sa.String(32), primary_key=True),
    sa.Column("user", sa.String(200), nullable=False),
    sa.Column("session", sa.String(200), nullable=False),
    sa.Column("private", sa.Boolean, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("parked_at", sa.Float, nullable=False),
    sa.Column("host", sa.String(200), nullable=False),
    sa.Column("process", sa.String(60), nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
    sa.Index("parked_turns_of_session", "user", "session"),
)
"""The turns that wait for a person; host and process hold one while they wait or resume it."""

parked_calls = sa.Table(
    "parked_calls",
    _metadata,
    sa.Column("key", sa.String(32), primary_key=True),
    sa.Column("turn", sa.String(32), nullable=False),
    sa.Column("place", sa.Integer, nullable=False),
    sa.Column("toolset", sa.String(200), nullable=False),
    sa.Column("tool", sa.String(200), nullable=False),
    sa.Column("effect", sa.String(12), nullable=False),
    sa.Column("arguments", sa.Text, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("is_question", sa.Boolean, nullable=False),
    sa.Column("answer", sa.String(12), nullable=False),
    sa.Column("scope", sa.String(12), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("decided_at", sa.Float),
    sa.Index("parked_calls_of_turn", "turn", "place"),
)
"""The calls of parked turns about which a person is asked, and what was answered so far."""


@dataclass(frozen=True, slots=True)
class Removals:
    """The latest removals of text: numbers that only grow.

    :param last: the latest one of the user's text.
    :param last_forgotten: the latest one of any user's text that was for good.
    """

    last: int = 0
    last_forgotten: int = 0


@dataclass(frozen=True, slots=True)
class SessionState:
    """What a turn has to know of the store before it begins.

    :param private: whether the session's turns are private unless they say otherwise.
    :param removals: the latest removals.
    """

    private: bool
    removals: Removals


def _add_columns(connection: sa.Connection, *columns: sa.Column[Any]) -> None:
    """Add columns that an older version's table lacks; another process may have been first."""
    for column in columns:
        table = column.table.name
        if column.name in {known["name"] for known in sa.inspect(connection).get_columns(table)}:
            continue
        kind = column.type.compile(connection.dialect)
        if connection.dialect.name == "sqlite":
            _add_column_to_sqlite(connection, f"{table} ADD COLUMN {column.name} {kind}")
        else:
            add = f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {column.name} {kind}"
            connection.exec_driver_sql(add)


def _add_column_to_sqlite(connection: sa.Connection, change: str) -> None:
    """Add a column, unless another process does so at the same moment."""
    try:
        connection.exec_driver_sql(f"ALTER TABLE {change}")
    except sa.exc.OperationalError as error:
        if "duplicate column name" not in str(error):
            raise


_statements: dict[str, tuple[str, ...]] = {}


def create_tables(connection: sa.Connection) -> None:
    """Create missing tables. Raises StoreError if a newer vanta wrote the database."""
    # Not `create_all`: it checks first and creates later, and two processes may check at once.
    for statement in _creation(connection.dialect):
        connection.exec_driver_sql(statement)
    version = connection.execute(sa.select(_about.c.schema_version)).scalar()
    if version == 1:
        _add_columns(connection, messages.c.calls, messages.c.call_id)
        connection.execute(sa.update(_about), {"schema_version": SCHEMA_VERSION})
    elif version is None:
        connection.execute(sa.insert(_about), {"schema_version": SCHEMA_VERSION})
    elif version > SCHEMA_VERSION:
        url = redact_url(connection.engine.url.render_as_string(hide_password=False))
        raise StoreError(
            f"the store {url!r} was written by a newer vanta (schema {version}; this version "
            f"supports {SCHEMA_VERSION}). Upgrade vanta, or name another store_url."
        )


def _creation(dialect: sa.Dialect) -> tuple[str, ...]:
    """Return the statements that create missing tables; cached, as compiling them takes as long
    as running them."""
    if dialect.name not in _statements:
        elements: list[CreateTable | CreateIndex] = []
        for table in _metadata.sorted_tables:
            elements.append(CreateTable(table, if_not_exists=True))
            elements += [CreateIndex(index, if_not_exists=True) for index in table.indexes]
        _statements[dialect.name] = tuple(str(item.compile(dialect=dialect)) for item in elements)
    return _statements[dialect.name]
