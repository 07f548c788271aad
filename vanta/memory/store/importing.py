"""What is brought in from outside: documents that replace their earlier selves, lines of an export.

Plain functions over one transaction. Invariant: bringing the same thing twice leaves what bringing
it once left.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vanta.memory.items import Kind
from vanta.memory.store.repository import NewItem, add_one, digest_of, hold

if TYPE_CHECKING:
    import sqlalchemy as sa


@dataclass(frozen=True, slots=True)
class Replaced:
    """What became of a document's items. vectors: how many of the new ones had a vector already."""

    added: int = 0
    removed: int = 0
    unchanged: int = 0
    vectors: int = 0


def replace(
    connection: sa.Connection,
    user: str,
    tag: str,
    items: Sequence[NewItem],
    kind: Kind = "document",
) -> Replaced:
    """Put a user's `items`, which all have `tag`, in the place of all of that kind that have it.

    They stay together and in order: if anything differs, all are stored anew; a text that was there
    keeps its vector.
    """
    hold(connection)
    before = _tagged(connection, user, tag, kind)
    if [_content(row) for row in before] == [_content_of(item) for item in items]:
        return Replaced(unchanged=len(before))
    owners = {row.text: row.id for row in before}
    vectors = 0
    for item in items:
        identity = add_one(connection, item)
        if item.text in owners:
            vectors += _take_vectors(connection, owners[item.text], identity)
    _remove(connection, [row.id for row in before])
    return Replaced(len(items), len(before), 0, vectors)


def add_missing(
    connection: sa.Connection, items: Sequence[NewItem], seen: Counter[Any]
) -> list[int]:
    """Store the items that are not there yet; returns their ids. seen: how often each was brought
    so far: what an export has twice is stored twice."""
    hold(connection)
    added = []
    for item in items:
        seen[_as_stored(item)] += 1
        if _how_often(connection, item) < seen[_as_stored(item)]:
            added.append(add_one(connection, item))
    return added


def _tagged(connection: sa.Connection, user: str, tag: str, kind: Kind) -> Sequence[Any]:
    return connection.exec_driver_sql(
        "SELECT id, text, source, private, tags FROM memories m WHERE user = ? AND kind = ? "
        "AND EXISTS (SELECT 1 FROM json_each(m.tags) WHERE value = ?) ORDER BY id",
        (user, kind, tag),
    ).all()


def _content(row: Any) -> tuple[str, str, bool, tuple[str, ...]]:
    return row.text, row.source, bool(row.private), tuple(json.loads(row.tags))


def _content_of(item: NewItem) -> tuple[str, str, bool, tuple[str, ...]]:
    return item.text, item.source, item.private, item.tags


def _take_vectors(connection: sa.Connection, owner: int, heir: int) -> int:
    """Give a text the vectors that it had under an earlier id; returns 1 if there were any."""
    done = connection.exec_driver_sql(
        "INSERT INTO memory_vectors (memory_id, embedder, vector) "
        "SELECT ?, embedder, vector FROM memory_vectors WHERE memory_id = ?",
        (heir, owner),
    )
    waits = connection.exec_driver_sql(
        "SELECT count(*) FROM embedding_queue WHERE memory_id = ?", (owner,)
    ).scalar()
    if not done.rowcount or waits:
        return 0
    connection.exec_driver_sql("DELETE FROM embedding_queue WHERE memory_id = ?", (heir,))
    return 1


def _remove(connection: sa.Connection, ids: Sequence[int]) -> None:
    gone = json.dumps(list(ids))
    for statement in (
        "DELETE FROM memories WHERE id IN (SELECT value FROM json_each(?))",
        "UPDATE memories SET same_as = NULL WHERE same_as IN (SELECT value FROM json_each(?))",
    ):
        connection.exec_driver_sql(statement, (gone,))


def _how_often(connection: sa.Connection, item: NewItem) -> int:
    found = connection.exec_driver_sql(
        "SELECT count(*) FROM memories WHERE digest = ? AND session = ? AND turn_id = ? "
        "AND text = ? AND said_at = ? AND tags = ?",
        (
            digest_of(item),
            item.session,
            item.turn_id,
            item.text,
            item.said_at,
            json.dumps(item.tags),
        ),
    )
    return int(found.scalar() or 0)


def _as_stored(item: NewItem) -> tuple[Any, ...]:
    """What makes it the same item."""
    return (digest_of(item), item.session, item.turn_id, item.text, item.said_at, item.tags)
