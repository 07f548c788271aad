"""Version 2: the calls of messages, the journal of tool calls, and approvals.

Before vanta used Alembic, these were added without a transaction around them, so that some may be
there although the database is of version 1.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from vanta.storage.migrations.versions.version_1 import create_late_tables

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add what version 2 added, as far as it is missing."""
    create_late_tables()
    inspector = sa.inspect(op.get_bind())
    known = {column["name"] for column in inspector.get_columns("messages")}
    for column in (
        sa.Column("calls", sa.JSON(none_as_null=True)),
        sa.Column("call_id", sa.String(200)),
    ):
        if column.name not in known:
            op.add_column("messages", column)
    _add_calls()
    _add_approvals()


def _add_calls() -> None:
    op.create_table(
        "tool_calls",
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
        if_not_exists=True,
    )
    _index("tool_calls_of_session", "tool_calls", "user", "session", "requested_at")
    _index("tool_calls_of_turn", "tool_calls", "turn")
    _index("tool_calls_by_state", "tool_calls", "state")


def _add_approvals() -> None:
    op.create_table(
        "tool_approvals",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("user", sa.String(200), nullable=False),
        sa.Column("session", sa.String(200), nullable=False),
        sa.Column("toolset", sa.String(200), nullable=False),
        sa.Column("tool", sa.String(200), nullable=False),
        sa.Column("tool_digest", sa.String(64), nullable=False),
        sa.Column("pattern", sa.Text, nullable=False),
        sa.Column("approved_at", sa.Float, nullable=False),
        if_not_exists=True,
    )
    _index("tool_approvals_of_user", "tool_approvals", "user", "toolset", "tool")


def _index(name: str, table: str, *columns: str) -> None:
    op.create_index(name, table, list(columns), if_not_exists=True)


def downgrade() -> None:
    """Refuse; see version 1.

    :raises NotImplementedError: always.
    """
    raise NotImplementedError("a store is not downgraded: restore a copy of it instead")
