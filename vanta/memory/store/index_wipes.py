"""Wiping: the partitions of the vector index from which every byte has to go.

Who forgets writes down, in the same transaction, which partitions held the vectors; who owns the
index wipes them, at once or at its next round, in this process or another, and they are built anew
from what is left. Invariant: a request is taken back only after the index has said that it is done.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from vanta.errors import VectorIndexError
from vanta.memory.index import Partition, VectorIndex
from vanta.memory.store import vectors
from vanta.memory.store.database import Database
from vanta.memory.store.repository import remember_state

if TYPE_CHECKING:
    import sqlalchemy as sa

_PREFIX = "wipe:"


def ask(connection: sa.Connection, partitions: Iterable[Partition]) -> None:
    """Write down that these have to be wiped."""
    for partition in partitions:
        told = [partition.user, partition.private, partition.embedder, partition.dimension]
        remember_state(connection, _PREFIX + partition.key, json.dumps(told))


def asked(connection: sa.Connection) -> list[Partition]:
    """What has to be wiped."""
    rows = connection.exec_driver_sql(
        "SELECT value FROM memory_state WHERE key >= ? AND key < ?", (_PREFIX, "wipe;")
    )
    return [Partition(*json.loads(row.value)) for row in rows]


async def wipe_asked(database: Database, index: VectorIndex) -> bool:
    """Wipe what was asked for; True if the index is sure that no byte is left in its files.

    Raises VectorIndexError where that is not possible now: the requests stay.
    """
    certain = True
    for partition in await database.read(asked):
        await index.load()
        certain &= await index.wipe(partition)
        await database.transact(partial(_wiped, partition=partition))
    return certain


async def try_to_wipe(database: Database, index: VectorIndex) -> str:
    """The same; returns why bytes may be left, "" if none are."""
    try:
        certain = await wipe_asked(database, index)
    except VectorIndexError as error:
        return f"the index {index.name!r} still has to be wiped, at the next chance: {error}"
    return "" if certain else f"the server of index {index.name!r} keeps files of its own"


def _wiped(connection: sa.Connection, partition: Partition) -> None:
    """Take the request back; what is left of the partition goes into the outbox."""
    vectors.compare(connection, partition, frozenset())
    connection.exec_driver_sql("DELETE FROM memory_state WHERE key = ?", (_PREFIX + partition.key,))
