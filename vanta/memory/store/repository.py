"""The truth of memory: items in and out of the store, in plain functions over one transaction.

What was said is copied from the store's `messages` (`catch_up`), so that a turn pays nothing for
memory and an exchange that is durable is remembered, whenever the process dies. Invariant: every
statement names the user whose items it reads; a text that comes again makes the earlier one point
at it (`same_as`), unless it is too short to mean something by itself.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vanta.memory.dates.dates import resolve
from vanta.memory.items import Filters, Kind, MemoryItem, Recalled, Scope
from vanta.memory.store.tables import session_token, user_token

if TYPE_CHECKING:
    import sqlalchemy as sa

BATCH = 500
"""Messages that one transaction takes over at the most, so that it never holds the store long."""

SAYS_LITTLE = 20
"""Characters below which a text ("Yes.") means something only where it was said."""

COLUMNS = "id, user, session, turn_id, kind, role, text, said_at, private, tags, source, dates"

_WORDS = re.compile(r"\w+")
_ADD = """INSERT INTO memories (user, session, turn_id, kind, role, text, said_at, private, tags,
    source, dates, scope, digest, message_id)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (message_id) DO NOTHING"""


@dataclass(frozen=True, slots=True)
class NewItem:
    """What is to be remembered; the fields are those of `MemoryItem`, whose id it has not yet.
    dates: None to find out what they mean."""

    user: str
    kind: Kind
    text: str
    said_at: float
    session: str = ""
    turn_id: str = ""
    role: str = ""
    private: bool = False
    tags: tuple[str, ...] = ()
    source: str = ""
    dates: Mapping[str, str] | None = None
    message_id: int | None = field(default=None, repr=False)


def behind(connection: sa.Connection) -> bool:
    """Whether there are messages that memory has not taken over yet. Reads only."""
    return connection.exec_driver_sql("SELECT 1 FROM message_queue LIMIT 1").first() is not None


def catch_up(connection: sa.Connection) -> int:
    """Take over up to `BATCH` messages; returns how many. 0: nothing is left to do."""
    hold(connection)
    rows = connection.exec_driver_sql(
        "SELECT m.id, m.user, m.session, m.turn_id, m.role, m.content, m.private, t.finished_at "
        "FROM message_queue q JOIN messages m ON m.id = q.message_id "
        "JOIN turns t ON t.id = m.turn_id ORDER BY m.id LIMIT ?",
        (BATCH,),
    ).all()
    if rows:
        add(connection, [_said(row) for row in rows])
        connection.exec_driver_sql(
            "DELETE FROM message_queue WHERE message_id = ?", [(row.id,) for row in rows]
        )
    return len(rows)


def add(connection: sa.Connection, items: Sequence[NewItem]) -> list[int]:
    """Store items and return their ids, 0 for a message that was there already."""
    return [add_one(connection, item) for item in items]


def recent(
    connection: sa.Connection, scope: Scope, filters: Filters, after_id: int, limit: int
) -> list[MemoryItem]:
    """Items of a scope with an id above `after_id`, the earliest first."""
    where, values = conditions(scope, filters)
    rows = connection.exec_driver_sql(
        f"SELECT {COLUMNS} FROM memories m WHERE {where} AND m.id > ? ORDER BY m.id LIMIT ?",  # noqa: S608
        (*values, after_id, limit),
    )
    return [to_item(row) for row in rows]


def newest(
    connection: sa.Connection, scope: Scope, filters: Filters, limit: int
) -> list[MemoryItem]:
    """The `limit` items of a scope that were said last, the earliest first."""
    where, values = conditions(scope, filters)
    rows = connection.exec_driver_sql(
        f"SELECT {COLUMNS} FROM memories m WHERE {where} "  # noqa: S608
        "ORDER BY m.said_at DESC, m.id DESC LIMIT ?",
        (*values, limit),
    )
    return [to_item(row) for row in rows][::-1]


def named(connection: sa.Connection, scope: Scope, ids: Sequence[int]) -> list[MemoryItem]:
    """The items of a scope with these ids, in their order; those that are not there are left
    out."""
    where, values = conditions(scope, Filters())
    rows = connection.exec_driver_sql(
        f"SELECT {COLUMNS} FROM memories m WHERE {where} "  # noqa: S608
        "AND m.id IN (SELECT value FROM json_each(?))",
        (*values, json.dumps(list(ids))),
    )
    found = {row.id: to_item(row) for row in rows}
    return [found[one] for one in ids if one in found]


def summaries(connection: sa.Connection, scope: Scope, session: str) -> list[Recalled]:
    """The newest public and the newest private summary of a session, with no score of their own."""
    where, values = conditions(scope, Filters(kinds=("summary",)))
    rows = connection.exec_driver_sql(
        f"SELECT {COLUMNS}, max(m.id) FROM memories m WHERE {where} AND m.session = ? "  # noqa: S608
        "GROUP BY m.private",
        (*values, session),
    )
    return [Recalled(to_item(row), 0.0) for row in rows]


def everything(
    connection: sa.Connection, user: str | None, after_id: int, limit: int
) -> list[MemoryItem]:
    """Items of one user, or of all for an export, private ones too, the earliest first."""
    rows = connection.exec_driver_sql(
        f"SELECT {COLUMNS} FROM memories m WHERE (? IS NULL OR m.user = ?) AND m.id > ? "  # noqa: S608
        "ORDER BY m.id LIMIT ?",
        (user, user, after_id, limit),
    )
    return [to_item(row) for row in rows]


def retag(connection: sa.Connection, user: str, identity: int, tags: Sequence[str]) -> None:
    """Give an item of a user other tags."""
    connection.exec_driver_sql(
        "UPDATE memories SET tags = ? WHERE id = ? AND user = ?",
        (json.dumps(list(tags)), identity, user),
    )


def conditions(scope: Scope, filters: Filters) -> tuple[str, tuple[Any, ...]]:
    """A scope and filters as a condition on `memories m`, and the values of its parameters."""
    told: list[tuple[str, tuple[Any, ...]]] = [("m.user = ?", (scope.user,))]
    if scope.session is not None:
        told.append(("m.session = ?", (scope.session,)))
    if not scope.private:
        told.append(("m.private = 0", ()))
    if filters.since is not None:
        told.append(("m.said_at >= ?", (filters.since,)))
    if filters.until is not None:
        told.append(("m.said_at < ?", (filters.until,)))
    told += [_one_of("m.role", filters.roles), _one_of("m.kind", filters.kinds)]
    for tag in filters.tags:
        told.append(("EXISTS (SELECT 1 FROM json_each(m.tags) WHERE value = ?)", (tag,)))
    where = " AND ".join(text for text, _ in told if text)
    return where, tuple(value for _, values in told for value in values)


def to_item(row: Any) -> MemoryItem:
    """A row that begins with `COLUMNS` as an item."""
    identity, user, session, turn_id, kind, role, text, said_at, private, tags, source, dates = row[
        :12
    ]
    return MemoryItem(
        identity,
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


def state(connection: sa.Connection, key: str) -> str | None:
    """What is kept under a key, None if nothing is."""
    found = connection.exec_driver_sql("SELECT value FROM memory_state WHERE key = ?", (key,))
    return found.scalar()


def remember_state(connection: sa.Connection, key: str, value: str) -> None:
    """Keep `value` under a key."""
    connection.exec_driver_sql(
        "INSERT INTO memory_state (key, value) VALUES (?, ?) "
        "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )


def hold(connection: sa.Connection) -> None:
    """Take SQLite's write lock: what this transaction reads from here on, nobody else changes. A
    transaction that reads first and writes then fails at once where another wrote between."""
    remember_state(connection, "writer", "")


def _said(row: Any) -> NewItem:
    return NewItem(
        user=row.user,
        kind="message",
        text=row.content,
        said_at=row.finished_at,
        session=row.session,
        turn_id=row.turn_id,
        role=row.role,
        private=bool(row.private),
        message_id=row.id,
    )


def add_one(connection: sa.Connection, item: NewItem) -> int:
    """Store an item and return its id, 0 for a message that was there already."""
    digest = digest_of(item)
    done = connection.exec_driver_sql(_ADD, (*_values(item), digest, item.message_id))
    if not done.rowcount:
        return 0
    identity = int(done.lastrowid)
    if len(item.text) >= SAYS_LITTLE:
        connection.exec_driver_sql(
            "UPDATE memories SET same_as = ? WHERE digest = ? AND id < ? AND same_as IS NULL",
            (identity, digest, identity),
        )
    return identity


def _values(item: NewItem) -> tuple[Any, ...]:
    scope = user_token(item.user, private=item.private)
    if item.session:
        scope = f"{scope} {session_token(item.user, item.session)}"
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
        json.dumps(resolve(item.text, item.said_at) if item.dates is None else dict(item.dates)),
        scope,
    )


def digest_of(item: NewItem) -> str:
    """Equal for items of one user that say the same in the same words, whatever lies between."""
    words = " ".join(_WORDS.findall(item.text.casefold()))
    told = "\0".join((item.user, str(item.private), item.kind, item.role, item.source, words))
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _one_of(column: str, values: Iterable[str]) -> tuple[str, tuple[str, ...]]:
    given = tuple(values)
    return (f"{column} IN ({', '.join('?' * len(given))})" if given else "", given)
