"""Items in and out of the store, in plain functions over one transaction.

Messages are copied from the store's `messages` (`copy_messages`), so a turn pays nothing for
memory, and a durable exchange is remembered no matter when the process dies. Invariants: every
statement names the user whose items it reads, except those for exports and background work; a text
that is repeated makes the earlier item point at the later one (`same_as`), unless it is too short
to be meaningful on its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from vanta.errors import UsageError
from vanta.language import comparable, parts, terms
from vanta.memory.dates.resolution import resolve_dates
from vanta.memory.items import (
    ITEM_CHARACTERS,
    Filters,
    MemoryItem,
    NewItem,
    RecalledItem,
    Scope,
)
from vanta.memory.store.tables import session_token, user_token

if TYPE_CHECKING:
    import sqlalchemy as sa

BATCH = 500
"""Messages that one transaction copies at most, so that it never holds the store for long."""

MIN_REPEATED = 20
"""Characters below which a text ("Yes.") depends on its context, so that it is never a repetition.
"""

COLUMNS = "id, user, session, turn_id, kind, role, text, said_at, private, tags, source, dates"

_ADD = """INSERT INTO memories (user, session, turn_id, kind, role, text, said_at, private, tags,
    source, dates, scope, digest, message_id)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (message_id) DO NOTHING"""
_ADD_WORDS = "INSERT OR REPLACE INTO memory_words (id, text, parts, scope) VALUES (?, ?, ?, ?)"
_QUEUED = "SELECT EXISTS (SELECT 1 FROM message_queue) OR EXISTS (SELECT 1 FROM word_queue)"
_QUEUED_FOR = """SELECT EXISTS (
        SELECT 1 FROM message_queue q CROSS JOIN messages m ON m.id = q.message_id
        WHERE m.user = ? AND m.turn_id IS NOT (
            SELECT latest.turn_id FROM messages latest
            WHERE latest.user = ? AND latest.session = ? ORDER BY latest.id DESC LIMIT 1
        )
    ) OR EXISTS (
        SELECT 1 FROM word_queue w CROSS JOIN memories m ON m.id = w.memory_id WHERE m.user = ?
    )"""


def fetch(connection: sa.Connection, query: str, values: Sequence[Any] = ()) -> list[Any]:
    """Return the rows of a query as tuples, read by the driver itself: a recall reads hundreds of
    rows with a dozen statements, which takes SQLAlchemy longer than SQLite.

    values: well-formed Unicode, as all types of memory are.
    """
    rows: list[Any] = connection.connection.cursor().execute(query, values).fetchall()
    return rows


def has_queued(connection: sa.Connection) -> bool:
    """Return whether there are messages that memory has not copied yet, or items without terms.
    Reads only."""
    return bool(fetch(connection, _QUEUED)[0][0])


def has_queued_for(connection: sa.Connection, user: str, session: str) -> bool:
    """Return whether the user has messages that memory has not copied yet, or items without terms.
    Reads only.

    session: the one that asks. Its latest turn, which is in its history, does not count.
    """
    return bool(fetch(connection, _QUEUED_FOR, (user, user, session, user))[0][0])


def copy_batch(connection: sa.Connection) -> bool:
    """Copy up to `BATCH` queued messages, and store the terms of as many items that have none;
    return whether more may be queued."""
    if not has_queued(connection):
        return False
    return BATCH in (copy_messages(connection), segment_items(connection))


def copy_messages(connection: sa.Connection) -> int:
    """Copy up to `BATCH` queued messages; return how many. Tools' results are not remembered."""
    take_write_lock(connection)
    rows = connection.exec_driver_sql(
        "SELECT m.id, m.user, m.session, m.turn_id, m.role, m.content, m.private, t.finished_at "
        "FROM message_queue q JOIN messages m ON m.id = q.message_id "
        "JOIN turns t ON t.id = m.turn_id ORDER BY m.id LIMIT ?",
        (BATCH,),
    ).all()
    if rows:
        said = [row for row in rows if row.role != "tool" and row.content]
        add_items(connection, [_from_message(row) for row in said])
        connection.exec_driver_sql(
            "DELETE FROM message_queue WHERE message_id = ?", [(row.id,) for row in rows]
        )
    return len(rows)


def segment_items(connection: sa.Connection) -> int:
    """Store the terms of up to `BATCH` items that have none, newest first; return how many.

    These are items of another version of vanta. Their digest is computed anew, so that one which
    was taken for a repetition of a later text is found again if it is none.
    """
    take_write_lock(connection)
    rows = connection.exec_driver_sql(
        f"SELECT {COLUMNS}, scope FROM word_queue JOIN memories ON id = memory_id "  # noqa: S608
        "ORDER BY id DESC LIMIT ?",
        (BATCH,),
    ).all()
    for row in rows:
        item = to_item(row)
        connection.exec_driver_sql(_ADD_WORDS, (item.id, *_words(item.text), row.scope))
        connection.exec_driver_sql(
            "UPDATE memories SET digest = ? WHERE id = ?", (content_digest(item), item.id)
        )
        connection.exec_driver_sql(
            "UPDATE memories SET same_as = NULL WHERE id = ? AND digest IS NOT "
            "(SELECT digest FROM memories later WHERE later.id = memories.same_as)",
            (item.id,),
        )
    if not rows:
        connection.exec_driver_sql("DELETE FROM word_queue")  # of items that are gone
    return len(rows)


def add_items(connection: sa.Connection, items: Sequence[NewItem]) -> list[int]:
    """Add items; return their ids, 0 for a message that was already copied."""
    return [add_item(connection, item) for item in items]


def add_item(connection: sa.Connection, item: NewItem) -> int:
    """Add an item; return its id, 0 for a message that was already copied.

    Raises UsageError for a text of more than `ITEM_CHARACTERS`.
    """
    if len(item.text) > ITEM_CHARACTERS:
        raise UsageError(
            f"an item of memory has {len(item.text)} characters, more than {ITEM_CHARACTERS}. "
            "Split the text, for example with vanta.memory.chunk_document."
        )
    digest, scope = content_digest(item), _scope(item)
    values = (*_values(item), scope, digest, item.message_id)
    result = connection.exec_driver_sql(_ADD, values)
    if not result.rowcount:
        return 0
    item_id = int(result.lastrowid)
    connection.exec_driver_sql(_ADD_WORDS, (item_id, *_words(item.text), scope))
    if len(item.text) >= MIN_REPEATED:
        connection.exec_driver_sql(
            "UPDATE memories SET same_as = ? WHERE digest = ? AND id < ? AND same_as IS NULL",
            (item_id, digest, item_id),
        )
    return item_id


def items_after(
    connection: sa.Connection, scope: Scope, filters: Filters, after_id: int, limit: int
) -> list[MemoryItem]:
    """Return items of a scope with an id greater than `after_id`, in the order of their ids."""
    where, values = conditions(scope, filters)
    rows = connection.exec_driver_sql(
        f"SELECT {COLUMNS} FROM memories m WHERE {where} AND m.id > ? ORDER BY m.id LIMIT ?",  # noqa: S608
        (*values, after_id, limit),
    )
    return [to_item(row) for row in rows]


def newest_items(
    connection: sa.Connection, scope: Scope, filters: Filters, limit: int
) -> list[MemoryItem]:
    """Return the `limit` latest items of a scope, in chronological order."""
    where, values = conditions(scope, filters)
    rows = connection.exec_driver_sql(
        f"SELECT {COLUMNS} FROM memories m WHERE {where} "  # noqa: S608
        "ORDER BY m.said_at DESC, m.id DESC LIMIT ?",
        (*values, limit),
    )
    return [to_item(row) for row in rows][::-1]


def items_by_id(connection: sa.Connection, scope: Scope, ids: Sequence[int]) -> list[MemoryItem]:
    """Return the items of a scope with these ids, in their order; unknown ids are left out."""
    where, values = conditions(scope, Filters())
    rows = connection.exec_driver_sql(
        f"SELECT {COLUMNS} FROM memories m WHERE {where} "  # noqa: S608
        "AND m.id IN (SELECT value FROM json_each(?))",
        (*values, json.dumps(list(ids))),
    )
    items = {row.id: to_item(row) for row in rows}
    return [items[item_id] for item_id in ids if item_id in items]


def session_summaries(connection: sa.Connection, scope: Scope, session: str) -> list[RecalledItem]:
    """Return the newest public and the newest private summary of a session, with score 0."""
    where, values = conditions(scope, Filters(kinds=("summary",)))
    rows = fetch(
        connection,
        f"SELECT {COLUMNS}, max(m.id) FROM memories m WHERE {where} AND m.session = ? "  # noqa: S608
        "GROUP BY m.private",
        (*values, session),
    )
    return [RecalledItem(to_item(row), 0.0) for row in rows]


def has_private_text(connection: sa.Connection, scope: Scope, session: str) -> bool:
    """Return whether a scope has a private item, or the conversation that asks a private message.

    session: the conversation that asks, "" for none.
    """
    where, values = conditions(scope, Filters())
    item = f"SELECT 1 FROM memories m WHERE {where} AND m.private = 1 LIMIT 1"  # noqa: S608
    message = "SELECT 1 FROM messages WHERE user = ? AND session = ? AND private LIMIT 1"
    return (
        connection.exec_driver_sql(item, values).first() is not None
        or connection.exec_driver_sql(message, (scope.user, session)).first() is not None
    )


def all_items(
    connection: sa.Connection, user: str | None, after_id: int, limit: int
) -> list[MemoryItem]:
    """Return items of one user, or of all if None, private ones included, in the order of their
    ids."""
    rows = connection.exec_driver_sql(
        f"SELECT {COLUMNS} FROM memories m WHERE (? IS NULL OR m.user = ?) AND m.id > ? "  # noqa: S608
        "ORDER BY m.id LIMIT ?",
        (user, user, after_id, limit),
    )
    return [to_item(row) for row in rows]


def retag(connection: sa.Connection, user: str, item_id: int, tags: Sequence[str]) -> None:
    """Set the tags of an item of a user."""
    connection.exec_driver_sql(
        "UPDATE memories SET tags = ? WHERE id = ? AND user = ?",
        (json.dumps(list(tags)), item_id, user),
    )


def count_items(connection: sa.Connection, user: str | None) -> dict[str, Any]:
    """Return figures of one user, or of all if None; times are seconds since the epoch."""
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
        "waiting_for_a_vector": _scalar(connection, "SELECT count(*) FROM embedding_queue"),
        "waiting_for_the_index": _scalar(connection, "SELECT count(*) FROM index_outbox"),
    }


def list_users(connection: sa.Connection) -> list[str]:
    """Return all users who have items."""
    rows = connection.exec_driver_sql("SELECT DISTINCT user FROM memories ORDER BY user")
    return [row.user for row in rows]


def conditions(scope: Scope, filters: Filters) -> tuple[str, tuple[Any, ...]]:
    """Return a scope and filters as a condition on `memories m`, and its parameters."""
    terms: list[tuple[str, tuple[Any, ...]]] = [("m.user = ?", (scope.user,))]
    if scope.session is not None:
        terms.append(("m.session = ?", (scope.session,)))
    if not scope.private:
        terms.append(("m.private = 0", ()))
    if filters.since is not None:
        terms.append(("m.said_at >= ?", (filters.since,)))
    if filters.until is not None:
        terms.append(("m.said_at < ?", (filters.until,)))
    terms += [_any_of("m.role", filters.roles), _any_of("m.kind", filters.kinds)]
    for tag in filters.tags:
        terms.append(("EXISTS (SELECT 1 FROM json_each(m.tags) WHERE value = ?)", (tag,)))
    where = " AND ".join(text for text, _ in terms if text)
    return where, tuple(value for _, values in terms for value in values)


def to_item(row: Any) -> MemoryItem:
    """Convert a row that begins with `COLUMNS`."""
    item_id, user, session, turn_id, kind, role, text, said_at, private, tags, source, dates = row[
        :12
    ]
    return MemoryItem(
        item_id,
        user,
        session,
        turn_id,
        kind,
        role,
        text,
        said_at,
        bool(private),
        () if tags == "[]" else tuple(json.loads(tags)),
        source,
        {} if dates == "{}" else json.loads(dates),
    )


def get_state(connection: sa.Connection, key: str) -> str | None:
    """Return the value stored under a key, or None."""
    result = connection.exec_driver_sql("SELECT value FROM memory_state WHERE key = ?", (key,))
    return result.scalar()


def set_state(connection: sa.Connection, key: str, value: str) -> None:
    """Store `value` under a key."""
    connection.exec_driver_sql(
        "INSERT INTO memory_state (key, value) VALUES (?, ?) "
        "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )


def take_write_lock(connection: sa.Connection) -> None:
    """Take SQLite's write lock, so that no other connection changes what this transaction reads.
    Without it, a transaction that reads first fails if another connection writes before it does."""
    set_state(connection, "writer", "")


def content_digest(item: NewItem | MemoryItem) -> str:
    """Return a digest that is equal for items of one user with the same words, whatever spaces and
    punctuation separate them."""
    words = comparable(item.text)
    content = "\0".join((item.user, str(item.private), item.kind, item.role, item.source, words))
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _from_message(row: Any) -> NewItem:
    return NewItem(
        user=row.user,
        kind="message",
        text=row.content[:ITEM_CHARACTERS],
        said_at=row.finished_at,
        session=row.session,
        turn_id=row.turn_id,
        role=row.role,
        private=bool(row.private),
        message_id=row.id,
    )


def _values(item: NewItem) -> tuple[Any, ...]:
    dates = resolve_dates(item.text, item.said_at) if item.dates is None else dict(item.dates)
    return (
        item.user,
        item.session,
        item.turn_id,
        item.kind,
        item.role,
        item.text,
        item.said_at,
        int(item.private),
        json.dumps(item.tags),
        item.source,
        json.dumps(dates),
    )


def _scope(item: NewItem) -> str:
    scope = user_token(item.user, private=item.private)
    return f"{scope} {session_token(item.user, item.session)}" if item.session else scope


def _words(text: str) -> tuple[str, str]:
    """Return the terms of a text and the parts of its words, as the full-text index reads them."""
    return " ".join(terms(text)), " ".join(parts(text))


def _any_of(column: str, values: Iterable[str]) -> tuple[str, tuple[str, ...]]:
    allowed = tuple(values)
    return (f"{column} IN ({', '.join('?' * len(allowed))})" if allowed else "", allowed)


def _scalar(connection: sa.Connection, query: str) -> int:
    return int(connection.exec_driver_sql(query).scalar() or 0)
