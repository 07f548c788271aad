"""Version 5: images of messages, in their rows, so that they are removed with them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column; earlier messages have no image."""
    op.add_column("messages", sa.Column("images", sa.JSON(none_as_null=True)))


def downgrade() -> None:
    """Refuse; see version 1.

    :raises NotImplementedError: always.
    """
    raise NotImplementedError("a store is not downgraded: restore a copy of it instead")
