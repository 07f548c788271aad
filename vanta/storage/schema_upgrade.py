"""Creates the tables of a new database, and upgrades those of an older one, once.

Several processes may open a database at the same moment. The first to get the lock creates or
upgrades the tables in one transaction, and the others wait for it; then they find nothing to do.
Invariant: an upgrade is complete or has changed nothing, loses no row, and never touches a database
that a newer vanta wrote. Alembic is loaded for a pending upgrade only.
"""

from __future__ import annotations

import logging

import sqlalchemy as sa
from sqlalchemy.schema import CreateIndex, CreateTable

from vanta.errors import StoreError, describe
from vanta.storage.schema import SCHEMA_VERSION, about, alembic_version, metadata
from vanta.text import redact_url

UPGRADE_WAIT_S = 300
"""Seconds to wait for another process that creates or upgrades the tables."""

_LOCK = 0x76616E74
"""The key of the advisory lock on PostgreSQL: the letters `vant`."""

_log = logging.getLogger("vanta.storage")


def bring_up_to_date(connection: sa.Connection) -> None:
    """Create missing tables, or upgrade them to `SCHEMA_VERSION`. Blocking.

    :param connection: in a transaction that has not read or written yet.
    :raises StoreError: if a newer vanta wrote the database, or an upgrade fails, which leaves it as
        it was.
    """
    if _version(connection) == SCHEMA_VERSION:
        return
    _lock(connection)
    version = _version(connection)
    if version == 0 and not sa.inspect(connection).has_table("messages"):
        _create(connection)
    elif version < SCHEMA_VERSION:
        _upgrade(connection, version)
    elif version > SCHEMA_VERSION:
        raise StoreError(
            f"the store {_shown(connection)!r} was written by a newer vanta (schema {version}; "
            f"this version supports {SCHEMA_VERSION}). Upgrade vanta, or name another store_url."
        )


def _version(connection: sa.Connection) -> int:
    """Return the schema's version; 0 for a database without one."""
    if not sa.inspect(connection).has_table("about"):
        return 0
    return connection.execute(sa.select(about.c.schema_version)).scalar() or 0


def _lock(connection: sa.Connection) -> None:
    """Wait until no other process creates or upgrades the tables; held until the transaction ends.

    On SQLite it is the lock of writers, so that nothing is written during an upgrade.
    """
    if connection.dialect.name == "sqlite":
        wait_ms = 1000 * UPGRADE_WAIT_S
        connection.exec_driver_sql(f"PRAGMA busy_timeout={wait_ms}")
        connection.info["busy_ms"] = wait_ms  # so that the next transaction sets its own
        # The driver would begin a transaction at the first change of a row only.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    elif connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{UPGRADE_WAIT_S}s'")
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))


def _create(connection: sa.Connection) -> None:
    for table in metadata.sorted_tables:
        connection.execute(CreateTable(table, if_not_exists=True))
        for index in sorted(table.indexes, key=lambda item: str(item.name)):
            connection.execute(CreateIndex(index, if_not_exists=True))
    connection.execute(sa.insert(about), {"schema_version": SCHEMA_VERSION})
    connection.execute(sa.insert(alembic_version), {"version_num": f"{SCHEMA_VERSION:04d}"})


def _upgrade(connection: sa.Connection, version: int) -> None:
    from vanta.storage.migrations.revisions import apply_revisions

    shown = _shown(connection)
    _log.info("upgrading the store %r from schema %d to %d", shown, version, SCHEMA_VERSION)
    try:
        apply_revisions(connection, version, SCHEMA_VERSION)
        connection.execute(sa.delete(about))
        connection.execute(sa.insert(about), {"schema_version": SCHEMA_VERSION})
    except Exception as error:
        raise StoreError(
            f"the store {shown!r} could not be upgraded from schema {version} to "
            f"{SCHEMA_VERSION}, and is unchanged: {describe(error)}. Make room on its disk and end "
            "other processes that use it, or open it with the vanta that wrote it."
        ) from error


def _shown(connection: sa.Connection) -> str:
    """Return the store's URL for messages."""
    return redact_url(connection.engine.url.render_as_string(hide_password=False))
