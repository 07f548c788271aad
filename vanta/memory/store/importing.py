"""Items from outside: documents that replace their previous version, lines of an export.

Plain functions over one transaction. Invariants: importing the same thing twice has the same result
as importing it once; what was private stays private unless the caller says `publish`.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vanta.memory.items import ItemKind, NewItem
from vanta.memory.store.repository import (
    MIN_REPEATED,
    add_item,
    content_digest,
    take_write_lock,
)

if TYPE_CHECKING:
    import sqlalchemy as sa


@dataclass(frozen=True, slots=True)
class ReplaceCounts:
    """What replacing a document did, in items.

    :param added: items that were added.
    :param removed: items of the previous version that were removed.
    :param unchanged: items that were kept, because nothing differs.
    :param vectors: added items that took over a vector.
    :param kept_private: whether the items are private although they were not passed as such.
    """

    added: int = 0
    removed: int = 0
    unchanged: int = 0
    vectors: int = 0
    kept_private: bool = False


def replace(
    connection: sa.Connection,
    user: str,
    tag: str,
    items: Sequence[NewItem],
    kind: ItemKind = "document",
    *,
    publish: bool = False,
) -> ReplaceCounts:
    """Replace all items of a user that have `kind` and `tag` by `items`, which all have `tag`.

    Items stay together and in order: if anything differs, all are stored again, and a text that was
    stored before keeps its vector. Unless `publish` is set, they stay private if any of those that
    they replace is private, or if a private document of the user has one of their texts.
    """
    take_write_lock(connection)
    previous = _tagged(connection, user, tag, kind)
    lowers = not publish and not all(item.private for item in items)
    kept_private = lowers and (
        any(row.private for row in previous)
        or (kind == "document" and _has_private_twin(connection, user, items))
    )
    if kept_private:
        items = [_as_private(item) for item in items]
    if [_stored_content(row) for row in previous] == [_content(item) for item in items]:
        return ReplaceCounts(unchanged=len(previous), kept_private=kept_private)
    owners = {row.text: row.id for row in previous}
    vectors = 0
    for item in items:
        item_id = add_item(connection, item)
        if item.text in owners:
            vectors += _copy_vectors(connection, owners[item.text], item_id)
    _remove(connection, [row.id for row in previous])
    return ReplaceCounts(len(items), len(previous), 0, vectors, kept_private)


def add_missing(
    connection: sa.Connection, items: Sequence[NewItem], seen: Counter[Any]
) -> list[int]:
    """Add the items that are not stored yet; return their ids. seen: how often each item occurred
    so far, because one that an export has twice is stored twice. A public item that is stored as
    private counts as stored."""
    take_write_lock(connection)
    added = []
    for item in items:
        if not item.private and _count_stored(connection, _as_private(item)):
            continue
        key = _identity(item)
        seen[key] += 1
        if _count_stored(connection, item) < seen[key]:
            added.append(add_item(connection, item))
    return added


def _as_private(item: NewItem) -> NewItem:
    return dataclasses.replace(item, private=True)


def _has_private_twin(connection: sa.Connection, user: str, items: Sequence[NewItem]) -> bool:
    """Return whether a private document of a user has the text of any of `items`."""
    texts = [item.text for item in items if len(item.text) >= MIN_REPEATED]
    twin = connection.exec_driver_sql(
        "SELECT 1 FROM memories WHERE user = ? AND kind = 'document' AND private = 1 "
        "AND text IN (SELECT value FROM json_each(?)) LIMIT 1",
        (user, json.dumps(texts)),
    )
    return twin.first() is not None


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
