"""Applies the revisions of the schema to a database of an older version.

Invariant: all pending revisions run in the caller's transaction, so that an upgrade that is
interrupted leaves the database as it was. This module is imported only for a pending upgrade: it
loads Alembic.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.runtime.migration import MigrationStep
from alembic.script import ScriptDirectory


def revision_of(version: int) -> str:
    """Return the identifier of a schema version's revision."""
    return f"{version:04d}"


def scripts() -> ScriptDirectory:
    """Return the revisions, as Alembic reads them."""
    folder = Path(__file__).parent
    return ScriptDirectory(folder, version_locations=[folder / "versions"])


def apply_revisions(connection: sa.Connection, version: int, target: int) -> None:
    """Upgrade the tables of the store.

    :param connection: in a transaction that holds the lock of upgrades.
    :param version: the schema version that the database has; 0 for a database without tables.
    :param target: the schema version to upgrade to.
    """
    directory = scripts()

    def steps(revision: Any, _context: MigrationContext) -> Iterable[MigrationStep]:
        to_target = directory.iterate_revisions(revision_of(target), revision or "base")
        ordered = reversed(list(to_target))
        return [MigrationStep.upgrade_from_script(directory.revision_map, item) for item in ordered]

    context = MigrationContext.configure(connection, opts={"fn": steps})
    if version and context.get_current_revision() != revision_of(version):
        context.stamp(directory, revision_of(version))  # written before vanta used Alembic
    with Operations.context(context):
        context.run_migrations()
