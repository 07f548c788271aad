"""Items from outside: documents that replace their previous version, lines of an export.

Plain functions over one transaction. Invariant: importing the same thing twice has the same result
as importing it once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vanta.memory.items import ItemKind, NewItem
from vanta.memory.store.repository import add_item, content_digest, take_write_lock

if TYPE_CHECKING:
    import sqlalchemy as sa


@dataclass(frozen=True, slots=True)
class ReplaceCounts:
    """What replacing a document did, in items.

    :param added: items that were added.
    :param removed: items of the previous version that were removed.
    :param unchanged: items that were kept, because nothing differs.
    :param vectors: added items that took over a vector.
    """

    added: int = 0
    removed: int = 0
    unchanged: int = 0
    vectors: int = 0


def replace(
    connection: sa.Connection,
    user: str,
    tag: str,
    items: Sequence[NewItem],
    kind: ItemKind = "document",
) -> ReplaceCounts:
    """Replace all items of a user that have `kind` and `tag` by `items`, which all have `tag`.

    Items stay together and in order: if anything differs, all are stored again, and a text that was
    stored before keeps its vector.
    """
    take_write_lock(connection)
    previous = _tagged(connection, user, tag, kind)
    if [_stored_content(row) for row in previous] == [_content(item) for item in items]:
        return ReplaceCounts(unchanged=len(previous))
    owners = {row.text: row.id for row in previous}
    vectors = 0
    for item in items:
        item_id = add_item(connection, item)
        if item.text in owners:
            vectors += _copy_vectors(connection, owners[item.text], item_id)
    _remove(connection, [row.id for row in previous])
    return ReplaceCounts(len(items), len(previous), 0, vectors)


def add_missing(
    connection: sa.Connection, items: Sequence[NewItem], seen: Counter[Any]
) -> list[int]:
    """Add the items that are not stored yet; return their ids. seen: how often each item occurred
    so far, because one that an export has twice is stored twice."""
    take_write_lock(connection)
    added = []
    for item in items:
        key = _identity(item)
        seen[key] += 1
        if _count_stored(connection, item) < seen[key]:
            added.append(add_item(connection, item))
    return added


def _tagged(connection: sa.Connection, user: str, tag: str, kind: ItemKind) -> Sequence[Any]:
    return connection.exec_driver_sql(
        "SELECT id, text, source, private, tags FROM memories m WHERE user = ? AND kind = ? "
        "AND EXISTS (SELECT 1 FROM json_each(m.tags) WHERE value = ?) ORDER BY id",
        (user, kind, tag),
    ).all()


def _stored_content(row: Any) -> tuple[str, str, bool, tuple[str, ...]]:
    return row.text, row.source, bool(row.private), tuple(json.loads(row.tags))


def _content(item: NewItem) -> tuple[str, str, bool, tuple[str, ...]]:
    return item.text, item.source, item.private, item.tags


def _copy_vectors(connection: sa.Connection, old_id: int, new_id: int) -> int:
    """Copy the vectors of an item; return 1 if it had a current one, else 0."""
    copied = connection.exec_driver_sql(
        "INSERT INTO memory_vectors (memory_id, embedder, vector) "
        "SELECT ?, embedder, vector FROM memory_vectors WHERE memory_id = ?",
        (new_id, old_id),
    )
    pending = connection.exec_driver_sql(
        "SELECT count(*) FROM embedding_queue WHERE memory_id = ?", (old_id,)
    ).scalar()
    if not copied.rowcount or pending:
        return 0
    connection.exec_driver_sql("DELETE FROM embedding_queue WHERE memory_id = ?", (new_id,))
    return 1


def _remove(connection: sa.Connection, ids: Sequence[int]) -> None:
    removed = json.dumps(list(ids))
    for statement in (
        "DELETE FROM memories WHERE id IN (SELECT value FROM json_each(?))",
        "UPDATE memories SET same_as = NULL WHERE same_as IN (SELECT value FROM json_each(?))",
    ):
        connection.exec_driver_sql(statement, (removed,))


def _count_stored(connection: sa.Connection, item: NewItem) -> int:
    digest, session, turn_id, text, said_at, tags = _identity(item)
    count = connection.exec_driver_sql(
        "SELECT count(*) FROM memories WHERE digest = ? AND session = ? AND turn_id = ? "
        "AND text = ? AND said_at = ? AND tags = ?",
        (digest, session, turn_id, text, said_at, json.dumps(tags)),
    )
    return int(count.scalar() or 0)


def _identity(item: NewItem) -> tuple[Any, ...]:
    """Return what two equal items have in common."""
    return (content_digest(item), item.session, item.turn_id, item.text, item.said_at, item.tags)
