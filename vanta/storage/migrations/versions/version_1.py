"""Version 1: turns with their records, messages, removals of text, and private sessions.

A process that was killed while it created them may have left some of them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables of the first version."""
    version = sa.Column("schema_version", sa.Integer, nullable=False)
    op.create_table("about", version, if_not_exists=True)
    op.create_table(
        "turns",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("user", sa.String(200), nullable=False),
        sa.Column("session", sa.String(200), nullable=False),
        sa.Column("private", sa.Boolean, nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("track", sa.String(200)),
        sa.Column("cost_usd", sa.Float, nullable=False),
        sa.Column("finished_at", sa.Float, nullable=False),
        sa.Column("trace", sa.JSON, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "messages",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("user", sa.String(200), nullable=False),
        sa.Column("session", sa.String(200), nullable=False),
        sa.Column("turn_id", sa.String(32), sa.ForeignKey("turns.id"), nullable=False),
        sa.Column("private", sa.Boolean, nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        if_not_exists=True,
    )
    op.create_index(
        "messages_of_session", "messages", ["user", "session", "id"], if_not_exists=True
    )
    create_late_tables()


def create_late_tables() -> None:
    """Create the tables that version 1 gained without a new number, if they are missing."""
    op.create_table(
        "removals",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("user", sa.String(200), nullable=False),
        sa.Column("forgotten", sa.Boolean, nullable=False),
        if_not_exists=True,
    )
    op.create_index("removals_of_user", "removals", ["user", "id"], if_not_exists=True)
    op.create_index("removals_for_good", "removals", ["forgotten", "id"], if_not_exists=True)
    op.create_table(
        "private_sessions",
        sa.Column("user", sa.String(200), primary_key=True),
        sa.Column("session", sa.String(200), primary_key=True),
        if_not_exists=True,
    )


def downgrade() -> None:
    """Refuse: an older vanta refuses a newer database, and nothing is thrown away for it.

    :raises NotImplementedError: always.
    """
    raise NotImplementedError("a store is not downgraded: restore a copy of it instead")
