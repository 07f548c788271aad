"""Vectors in the store, texts that need one, and the changes that the vector index has to apply.

Plain functions over one transaction. A vector and its entry in the outbox are written together (by
a trigger), and an entry leaves the outbox only after the index has applied it, so an index that
follows the outbox misses nothing. When items are forgotten, the same transaction requests wipes:
the process that owns the index wipes these partitions, at once or when it next synchronises, and
rebuilds them from what is left. Invariant: a request is removed only after the index has confirmed
the wipe.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from vanta.errors import VectorIndexError
from vanta.memory.embedder import Vectors
from vanta.memory.index import Partition, VectorIndex, index_errors
from vanta.memory.store.repository import get_state, set_state, take_write_lock

if TYPE_CHECKING:
    import sqlalchemy as sa

    from vanta.storage import Database

_WIPE_PREFIX = "wipe:"


@dataclass(frozen=True, slots=True)
class PendingText:
    """A text without a vector, and its owner."""

    id: int
    text: str
    user: str
    private: bool


@dataclass(frozen=True, slots=True)
class IndexChange:
    """A change that the index has to apply to a partition: `vectors` of `ids` to insert, ids that
    were removed, and the entries of the outbox that the change covers."""

    partition: Partition
    ids: tuple[int, ...]
    vectors: Vectors
    removed: tuple[int, ...]
    entries: tuple[int, ...]


def queue_for_embedder(connection: sa.Connection, embedder: str) -> None:
    """Queue all texts without a vector of `embedder` if another embedder was used before."""
    take_write_lock(connection)
    if get_state(connection, "embedder") != embedder:
        connection.exec_driver_sql(
            "INSERT OR IGNORE INTO embedding_queue (memory_id) SELECT id FROM memories WHERE NOT "
            "EXISTS (SELECT 1 FROM memory_vectors WHERE memory_id = id AND embedder = ?)",
            (embedder,),
        )
        set_state(connection, "embedder", embedder)


def count_pending(connection: sa.Connection) -> int:
    """Return the number of texts without a vector."""
    return int(connection.exec_driver_sql("SELECT count(*) FROM embedding_queue").scalar() or 0)


def pending_texts(connection: sa.Connection, limit: int, *, private: bool) -> list[PendingText]:
    """Return texts without a vector, newest first. private: include private ones."""
    rows = connection.exec_driver_sql(
        "SELECT m.id, m.text, m.user, m.private FROM embedding_queue q "
        "JOIN memories m ON m.id = q.memory_id WHERE m.private <= ? "
        "ORDER BY q.memory_id DESC LIMIT ?",
        (int(private), limit),
    )
    return [PendingText(row.id, row.text, row.user, bool(row.private)) for row in rows]


def save_vectors(
    connection: sa.Connection, embedder: str, ids: Sequence[int], vectors: Sequence[bytes]
) -> None:
    """Store vectors of pending texts; those of texts that were forgotten meanwhile are dropped."""
    take_write_lock(connection)
    connection.exec_driver_sql(
        "INSERT OR IGNORE INTO memory_vectors (memory_id, embedder, vector) "
        "SELECT id, ?, ? FROM memories WHERE id = ?",
        [(embedder, vector, item_id) for item_id, vector in zip(ids, vectors, strict=True)],
    )
    connection.exec_driver_sql(
        "DELETE FROM embedding_queue WHERE memory_id = ?", [(item_id,) for item_id in ids]
    )


def read_partition(
    connection: sa.Connection, partition: Partition, limit: int
) -> tuple[list[int], Vectors]:
    """Return up to `limit` ids of a partition and their vectors, shape (ids, dimension)."""
    rows = connection.exec_driver_sql(
        "SELECT m.id, v.vector FROM memories m JOIN memory_vectors v ON v.memory_id = m.id "
        "WHERE m.user = ? AND m.private = ? AND v.embedder = ? ORDER BY m.id LIMIT ?",
        (partition.user, int(partition.private), partition.embedder, limit),
    ).all()
    return [row.id for row in rows], _to_matrix([row.vector for row in rows], partition.dimension)


def partition_for(user: str, *, private: bool, embedder: str) -> Partition:
    """Return the partition of an embedder's fingerprint, which contains the dimension."""
    return Partition(user, private, embedder, int(embedder.split("/")[-2]))


def drop_all_vectors(connection: sa.Connection) -> None:
    """Delete all vectors and queue every text."""
    _drop(connection, None)
    connection.exec_driver_sql(
        "INSERT OR IGNORE INTO embedding_queue (memory_id) SELECT id FROM memories"
    )


def drop_other_vectors(connection: sa.Connection, embedder: str) -> None:
    """Delete the vectors of all embedders but one."""
    _drop(connection, embedder)


def _drop(connection: sa.Connection, keep: str | None) -> None:
    take_write_lock(connection)
    rows = connection.exec_driver_sql(
        "SELECT DISTINCT m.user, m.private, v.embedder FROM memory_vectors v "
        "JOIN memories m ON m.id = v.memory_id WHERE v.embedder IS NOT ?",
        (keep,),
    ).all()
    request_wipes(
        connection,
        [partition_for(row[0], private=bool(row[1]), embedder=row[2]) for row in rows],
    )
    connection.exec_driver_sql("DELETE FROM memory_vectors WHERE embedder IS NOT ?", (keep,))


def pending_changes(
    connection: sa.Connection, embedder: str, dimension: int, limit: int
) -> list[IndexChange]:
    """Return the oldest entries of the outbox for `embedder`, as one change for each partition."""
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
        _to_change(Partition(user, private, embedder, dimension), part)
        for (user, private), part in parts.items()
    ]


def mark_applied(connection: sa.Connection, entries: Sequence[int]) -> None:
    """Remove entries from the outbox that the index has applied."""
    connection.exec_driver_sql(
        "DELETE FROM index_outbox WHERE seq = ?", [(entry,) for entry in entries]
    )


def clear_outbox(connection: sa.Connection) -> None:
    """Remove all entries. For a memory without an index: one that is added later compares ids."""
    connection.exec_driver_sql("DELETE FROM index_outbox")


def queue_differences(
    connection: sa.Connection, partition: Partition, indexed: frozenset[int]
) -> int:
    """Add the differences between the store and an index that has the ids `indexed` to the outbox;
    return how many entries were added."""
    take_write_lock(connection)
    key = (partition.user, int(partition.private), partition.embedder)
    rows = connection.exec_driver_sql(
        "SELECT m.id FROM memories m JOIN memory_vectors v ON v.memory_id = m.id "
        "WHERE m.user = ? AND m.private = ? AND v.embedder = ?",
        key,
    )
    stored = {row.id for row in rows}
    queued = connection.exec_driver_sql(
        "SELECT memory_id FROM index_outbox WHERE user = ? AND private = ? AND embedder = ?", key
    )
    missing = sorted((stored ^ indexed) - {row.memory_id for row in queued})
    if missing:
        connection.exec_driver_sql(
            "INSERT INTO index_outbox (user, private, embedder, memory_id) VALUES (?, ?, ?, ?)",
            [(*key, item_id) for item_id in missing],
        )
    return len(missing)


def request_wipes(connection: sa.Connection, partitions: Iterable[Partition]) -> None:
    """Record partitions that the index has to wipe."""
    for partition in partitions:
        fields = [partition.user, partition.private, partition.embedder, partition.dimension]
        set_state(connection, _WIPE_PREFIX + partition.key, json.dumps(fields))


async def run_wipes(database: Database, index: VectorIndex) -> bool:
    """Wipe the requested partitions; return whether it is certain that no byte is left.

    :raises VectorIndexError: a partition cannot be wiped now; the remaining requests stay.
    """
    certain = True
    for partition in await database.read(_requested_wipes):
        with index_errors():
            await index.load()
            certain &= await index.wipe(partition)
        await database.transact(partial(_mark_wiped, partition=partition))
    return certain


async def try_wipes(database: Database, index: VectorIndex) -> str:
    """Wipe the requested partitions; return why bytes may be left, "" if none are."""
    try:
        certain = await run_wipes(database, index)
    except VectorIndexError as error:
        return f"the index {index.name!r} has still to be wiped when it next works: {error}"
    return "" if certain else f"the server of index {index.name!r} keeps files of its own"


def _requested_wipes(connection: sa.Connection) -> list[Partition]:
    rows = connection.exec_driver_sql(
        "SELECT value FROM memory_state WHERE key >= ? AND key < ?", (_WIPE_PREFIX, "wipe;")
    )
    return [Partition(*json.loads(row.value)) for row in rows]


def _mark_wiped(connection: sa.Connection, partition: Partition) -> None:
    """Remove a request and queue what is left of the partition."""
    queue_differences(connection, partition, frozenset())
    connection.exec_driver_sql(
        "DELETE FROM memory_state WHERE key = ?", (_WIPE_PREFIX + partition.key,)
    )


def _to_matrix(blobs: Sequence[bytes], dimension: int) -> Vectors:
    """Convert stored vectors to a float32 matrix of shape (len(blobs), dimension)."""
    import numpy as np

    joined: Vectors = np.frombuffer(b"".join(blobs), dtype="<f4").reshape(len(blobs), dimension)
    return joined


def _to_change(partition: Partition, rows: Sequence[Any]) -> IndexChange:
    latest = {row.memory_id: row for row in rows}
    stored = [row for row in latest.values() if row.vector is not None]
    return IndexChange(
        partition,
        ids=tuple(row.memory_id for row in stored),
        vectors=_to_matrix([row.vector for row in stored], partition.dimension),
        removed=tuple(row.memory_id for row in latest.values() if row.vector is None),
        entries=tuple(row.seq for row in rows),
    )
