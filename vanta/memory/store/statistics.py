"""What memory holds, in numbers; and vectors that are kept or thrown away as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vanta.memory.store import index_wipes as wiping
from vanta.memory.store.repository import hold
from vanta.memory.store.vectors import partition_of

if TYPE_CHECKING:
    import sqlalchemy as sa


def count(connection: sa.Connection, user: str | None) -> dict[str, Any]:
    """Figures of one user, or of all; times are seconds since the epoch."""
    kinds = connection.exec_driver_sql(
        "SELECT kind, count(*), sum(private) FROM memories WHERE (? IS NULL OR user = ?) "
        "GROUP BY kind",
        (user, user),
    ).all()
    users, sessions, first, last = connection.exec_driver_sql(
        "SELECT count(DISTINCT user), count(DISTINCT user || char(0) || nullif(session, '')), "
        "min(said_at), max(said_at) FROM memories WHERE (? IS NULL OR user = ?)",
        (user, user),
    ).one()
    embedders = connection.exec_driver_sql(
        "SELECT embedder, count(*) FROM memory_vectors v JOIN memories m ON m.id = v.memory_id "
        "WHERE (? IS NULL OR user = ?) GROUP BY embedder",
        (user, user),
    ).all()
    return {
        "items": sum(row[1] for row in kinds),
        "private": sum(row[2] for row in kinds),
        "kinds": {row[0]: row[1] for row in kinds},
        "users": users,
        "sessions": sessions,
        "first_said_at": first,
        "last_said_at": last,
        "vectors": {row[0]: row[1] for row in embedders},
        "waiting_for_a_vector": _number(connection, "SELECT count(*) FROM embedding_queue"),
        "waiting_for_the_index": _number(connection, "SELECT count(*) FROM index_outbox"),
    }


def users(connection: sa.Connection) -> list[str]:
    """All of whom something is remembered."""
    rows = connection.exec_driver_sql("SELECT DISTINCT user FROM memories ORDER BY user")
    return [row.user for row in rows]


def drop_vectors(connection: sa.Connection) -> None:
    """Throw all vectors away; every text waits for a new one."""
    _drop(connection, None)
    connection.exec_driver_sql(
        "INSERT OR IGNORE INTO embedding_queue (memory_id) SELECT id FROM memories"
    )


def keep_vectors(connection: sa.Connection, embedder: str) -> None:
    """Throw the vectors of all other embedders away."""
    _drop(connection, embedder)


def _drop(connection: sa.Connection, but: str | None) -> None:
    hold(connection)
    rows = connection.exec_driver_sql(
        "SELECT DISTINCT m.user, m.private, v.embedder FROM memory_vectors v "
        "JOIN memories m ON m.id = v.memory_id WHERE v.embedder IS NOT ?",
        (but,),
    ).all()
    wiping.ask(
        connection,
        [partition_of(row[0], private=bool(row[1]), embedder=row[2]) for row in rows],
    )
    connection.exec_driver_sql("DELETE FROM memory_vectors WHERE embedder IS NOT ?", (but,))


def _number(connection: sa.Connection, query: str) -> int:
    return int(connection.exec_driver_sql(query).scalar() or 0)
