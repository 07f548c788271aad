"""Version 4: branches of sessions, and what a session has beyond its messages.

A vanta of version 3 that is still running writes messages without a branch: they are on the main
one.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Put all messages on the main branch, and add the tables of sessions and branches."""
    op.add_column(
        "messages", sa.Column("branch", sa.String(200), nullable=False, server_default="main")
    )
    op.add_column(
        "messages", sa.Column("replaced", sa.Boolean, nullable=False, server_default=sa.false())
    )
    op.create_index("turns_of_session", "turns", ["user", "session", "finished_at"])
    op.create_table(
        "sessions",
        sa.Column("user", sa.String(200), primary_key=True),
        sa.Column("session", sa.String(200), primary_key=True),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("settings", sa.JSON(none_as_null=True)),
        sa.Column("branch", sa.String(200), nullable=False),
    )
    op.create_table(
        "branches",
        sa.Column("user", sa.String(200), primary_key=True),
        sa.Column("session", sa.String(200), primary_key=True),
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("kind", sa.String(12), nullable=False),
        sa.Column("parent", sa.String(200), nullable=False),
        sa.Column("base", sa.Integer, nullable=False),
        sa.Column("replaces", sa.String(32), nullable=False),
        sa.Column("group_branch", sa.String(200), nullable=False),
        sa.Column("group_first", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
    )


def downgrade() -> None:
    """Refuse; see version 1.

    :raises NotImplementedError: always.
    """
    raise NotImplementedError("a store is not downgraded: restore a copy of it instead")
