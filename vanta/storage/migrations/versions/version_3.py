"""Version 3: turns that wait for a person, and their calls."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the tables of parked turns, which a database of version 2 may have already."""
    op.create_table(
        "parked_turns",
        sa.Column("turn", sa.String(32), primary_key=True),
        sa.Column("user", sa.String(200), nullable=False),
        sa.Column("session", sa.String(200), nullable=False),
        sa.Column("private", sa.Boolean, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("parked_at", sa.Float, nullable=False),
        sa.Column("host", sa.String(200), nullable=False),
        sa.Column("process", sa.String(60), nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        if_not_exists=True,
    )
    op.create_index(
        "parked_turns_of_session", "parked_turns", ["user", "session"], if_not_exists=True
    )
    op.create_table(
        "parked_calls",
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
        if_not_exists=True,
    )
    op.create_index("parked_calls_of_turn", "parked_calls", ["turn", "place"], if_not_exists=True)


def downgrade() -> None:
    """Refuse; see version 1.

    :raises NotImplementedError: always.
    """
    raise NotImplementedError("a store is not downgraded: restore a copy of it instead")
