"""Vectors in the store, what waits for one, and what the vector index has not seen yet.

Plain functions over one transaction. Invariant: a vector and its line in the outbox are written
together (a trigger does it), so an index that follows the outbox misses nothing; a line leaves the
outbox only after the index has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vanta.memory.index import Partition
from vanta.memory.store.repository import hold, remember_state, state

if TYPE_CHECKING:
    import sqlalchemy as sa

    from vanta.memory.index import Vectors

AT_ONCE = 400
"""Parameters of one statement; SQLite takes 999 in its older builds."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A text that has no vector yet, and whose it is."""

    id: int
    text: str
    user: str
    private: bool


@dataclass(frozen=True, slots=True)
class Change:
    """What the index has to be told: `vectors` of ids that are there, ids that are gone, and up to
    which line of the outbox that goes for the partition."""

    partition: Partition
    ids: tuple[int, ...]
    vectors: Vectors
    gone: tuple[int, ...]
    lines: tuple[int, ...]


def adopt(connection: sa.Connection, embedder: str) -> int:
    """Queue all that has no vector of `embedder`, if another one was in use before; returns how
    many texts wait."""
    hold(connection)
    if state(connection, "embedder") != embedder:
        connection.exec_driver_sql(
            "INSERT OR IGNORE INTO embedding_queue (memory_id) SELECT id FROM memories WHERE NOT "
            "EXISTS (SELECT 1 FROM memory_vectors WHERE memory_id = id AND embedder = ?)",
            (embedder,),
        )
        remember_state(connection, "embedder", embedder)
    return count_waiting(connection)


def count_waiting(connection: sa.Connection) -> int:
    """How many texts wait for a vector."""
    return int(connection.exec_driver_sql("SELECT count(*) FROM embedding_queue").scalar() or 0)


def waiting(connection: sa.Connection, limit: int, *, private: bool) -> list[Waiting]:
    """The texts that wait, the newest first. private: private ones, too."""
    rows = connection.exec_driver_sql(
        "SELECT m.id, m.text, m.user, m.private FROM embedding_queue q "
        "JOIN memories m ON m.id = q.memory_id WHERE m.private <= ? "
        "ORDER BY q.memory_id DESC LIMIT ?",
        (int(private), limit),
    )
    return [Waiting(row.id, row.text, row.user, bool(row.private)) for row in rows]


def save(
    connection: sa.Connection, embedder: str, ids: Sequence[int], vectors: Sequence[bytes]
) -> None:
    """Store vectors of texts that waited; those forgotten meanwhile are passed over."""
    hold(connection)
    connection.exec_driver_sql(
        "INSERT OR IGNORE INTO memory_vectors (memory_id, embedder, vector) "
        "SELECT id, ?, ? FROM memories WHERE id = ?",
        [(embedder, vector, identity) for identity, vector in zip(ids, vectors, strict=True)],
    )
    connection.exec_driver_sql(
        "DELETE FROM embedding_queue WHERE memory_id = ?", [(identity,) for identity in ids]
    )


def changes(connection: sa.Connection, embedder: str, dimension: int, limit: int) -> list[Change]:
    """The oldest lines of the outbox that are of `embedder`, a change for each partition."""
    rows = connection.exec_driver_sql(
        "SELECT o.seq, o.user, o.private, o.memory_id, v.vector FROM index_outbox o "
        "LEFT JOIN memory_vectors v ON v.memory_id = o.memory_id AND v.embedder = o.embedder "
        "WHERE o.embedder = ? ORDER BY o.seq LIMIT ?",
        (embedder, limit),
    ).all()
    parts: dict[tuple[str, bool], list[Any]] = {}
    for row in rows:
        parts.setdefault((row.user, bool(row.private)), []).append(row)
    return [
        _change(Partition(user, private, embedder, dimension), lines)
        for (user, private), lines in parts.items()
    ]


def done(connection: sa.Connection, lines: Sequence[int]) -> None:
    """The index has what these lines of the outbox say."""
    connection.exec_driver_sql(
        "DELETE FROM index_outbox WHERE seq = ?", [(line,) for line in lines]
    )


def drop_outbox(connection: sa.Connection, embedder: str | None) -> None:
    """Throw away the lines of all other embedders, or all if no index follows them: whoever comes
    later compares ids."""
    connection.exec_driver_sql(
        "DELETE FROM index_outbox WHERE ? IS NULL OR embedder <> ?", (embedder, embedder)
    )


def compare(connection: sa.Connection, partition: Partition, there: frozenset[int]) -> int:
    """Put into the outbox what an index that has the ids `there` lacks or has too much; returns how
    many lines that took."""
    hold(connection)
    rows = connection.exec_driver_sql(
        "SELECT m.id FROM memories m JOIN memory_vectors v ON v.memory_id = m.id "
        "WHERE m.user = ? AND m.private = ? AND v.embedder = ?",
        (partition.user, int(partition.private), partition.embedder),
    )
    wanted = {row.id for row in rows}
    told = connection.exec_driver_sql(
        "SELECT memory_id FROM index_outbox WHERE user = ? AND private = ? AND embedder = ?",
        (partition.user, int(partition.private), partition.embedder),
    )
    differs = sorted((wanted ^ there) - {row.memory_id for row in told})
    if differs:
        connection.exec_driver_sql(
            "INSERT INTO index_outbox (user, private, embedder, memory_id) VALUES (?, ?, ?, ?)",
            [
                (partition.user, int(partition.private), partition.embedder, identity)
                for identity in differs
            ],
        )
    return len(differs)


def of_partition(
    connection: sa.Connection, partition: Partition, after_id: int, limit: int
) -> tuple[list[int], Vectors]:
    """Up to `limit` ids above `after_id` and their vectors, shape (ids, dimension)."""
    rows = connection.exec_driver_sql(
        "SELECT m.id, v.vector FROM memories m JOIN memory_vectors v ON v.memory_id = m.id "
        "WHERE m.user = ? AND m.private = ? AND v.embedder = ? AND m.id > ? ORDER BY m.id LIMIT ?",
        (partition.user, int(partition.private), partition.embedder, after_id, limit),
    ).all()
    return [row.id for row in rows], matrix([row.vector for row in rows], partition.dimension)


def partition_of(user: str, *, private: bool, embedder: str) -> Partition:
    """The partition of a fingerprint, which names its dimension."""
    return Partition(user, private, embedder, int(embedder.split("/")[-2]))


def matrix(blobs: Sequence[bytes], dimension: int) -> Vectors:
    """Stored vectors as a float32 matrix of shape (len(blobs), dimension)."""
    import numpy as np

    joined: Vectors = np.frombuffer(b"".join(blobs), dtype="<f4").reshape(len(blobs), dimension)
    return joined


def _change(partition: Partition, rows: Sequence[Any]) -> Change:
    last = {row.memory_id: row for row in rows}
    there = [row for row in last.values() if row.vector is not None]
    return Change(
        partition,
        ids=tuple(row.memory_id for row in there),
        vectors=matrix([row.vector for row in there], partition.dimension),
        gone=tuple(row.memory_id for row in last.values() if row.vector is None),
        lines=tuple(row.seq for row in rows),
    )
