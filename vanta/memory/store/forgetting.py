"""Forgetting: what goes, in one transaction; the files are cleaned by whoever calls.

What was said goes with its whole exchange, since a reply repeats its question; facts and summaries
made of it go, too. A fact that is named itself goes alone. Invariant: after the transaction no
query finds any of it; `VACUUM` and a fresh full-text index (see `Memory.forget`) then leave no byte
of it in the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vanta.memory.index import Partition
from vanta.memory.items import MemoryItem
from vanta.memory.store import index_wipes as wiping
from vanta.memory.store.repository import COLUMNS, hold, to_item
from vanta.memory.store.vectors import partition_of

if TYPE_CHECKING:
    import sqlalchemy as sa


@dataclass(frozen=True, slots=True)
class Selection:
    """What to forget of a user: items by id, a session, a time (seconds since the epoch, `until`
    excluded), what has a tag, or everything. At least one is named, and what is named must all
    hold."""

    user: str
    ids: tuple[int, ...] = ()
    session: str | None = None
    since: float | None = None
    until: float | None = None
    everything: bool = False
    tag: str | None = None

    @property
    def named(self) -> bool:
        """Whether anything says what to forget."""
        told = (self.session, self.since, self.until, self.tag)
        return self.everything or bool(self.ids) or any(one is not None for one in told)


@dataclass(frozen=True, slots=True)
class Removed:
    """What one transaction removed, in numbers."""

    items: int
    messages: int
    vectors: int
    sessions: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was forgotten. certain: no byte of it is left in any file of vanta's; else `why` says
    what still holds it and what to do. took_s: seconds."""

    removed: Removed
    certain: bool
    why: str
    took_s: float


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What forgetting would remove: the same numbers, and the items, the earliest first."""

    removed: Removed
    items: tuple[MemoryItem, ...]


def foresee(connection: sa.Connection, selection: Selection) -> Foreseen:
    """What `remove` would remove; changes nothing."""
    _choose(connection, selection)
    removed = _counted(connection)
    rows = connection.exec_driver_sql(
        f"SELECT {COLUMNS} FROM memories WHERE id IN (SELECT id FROM temp.gone) ORDER BY id"  # noqa: S608
    )
    items = tuple(to_item(row) for row in rows)
    _let_go(connection)
    return Foreseen(removed, items)


def remove(connection: sa.Connection, selection: Selection) -> Removed:
    """Remove what `selection` names, and what was made of it."""
    hold(connection)
    _choose(connection, selection)
    removed = _counted(connection)
    wiping.ask(connection, _partitions(connection, selection.user))
    for statement in _REMOVE:
        connection.exec_driver_sql(statement)
    _let_go(connection)
    return removed


def _partitions(connection: sa.Connection, user: str) -> list[Partition]:
    """Where the vectors are that go."""
    rows = connection.exec_driver_sql(
        "SELECT DISTINCT m.private, v.embedder FROM temp.gone g "
        "JOIN memories m ON m.id = g.id JOIN memory_vectors v ON v.memory_id = m.id"
    )
    return [partition_of(user, private=bool(row[0]), embedder=row[1]) for row in rows]


def clean_words(connection: sa.Connection) -> None:
    """Write the full-text index anew: SQLite before 3.42 keeps deleted words in it."""
    connection.exec_driver_sql("INSERT INTO memories_fts (memories_fts) VALUES ('rebuild')")


def _choose(connection: sa.Connection, selection: Selection) -> None:
    """Fill the temporary tables `gone` (items), `gone_turns` and `gone_messages`."""
    where, values = _condition(selection)
    for statement in _TEMPORARY:
        connection.exec_driver_sql(statement)
    connection.exec_driver_sql(
        f"INSERT INTO temp.gone SELECT id FROM memories m WHERE {where}",  # noqa: S608
        values,
    )
    connection.exec_driver_sql(
        "INSERT OR IGNORE INTO temp.gone_turns SELECT turn_id FROM memories m "
        "JOIN temp.gone g ON g.id = m.id WHERE m.turn_id <> '' AND m.kind = 'message'"
    )
    connection.exec_driver_sql(
        "INSERT OR IGNORE INTO temp.gone SELECT id FROM memories "
        "WHERE user = ? AND turn_id IN (SELECT turn_id FROM temp.gone_turns)",
        (selection.user,),
    )
    connection.exec_driver_sql(
        "INSERT OR IGNORE INTO temp.gone SELECT id FROM memories WHERE user = ? AND "
        "kind = 'summary' AND session IN (SELECT session FROM memories m "
        "JOIN temp.gone g ON g.id = m.id WHERE m.kind = 'message')",
        (selection.user,),
    )
    connection.exec_driver_sql(
        "INSERT INTO temp.gone_messages SELECT id FROM messages WHERE user = ? "
        "AND turn_id IN (SELECT turn_id FROM temp.gone_turns)",
        (selection.user,),
    )


def _condition(selection: Selection) -> tuple[str, tuple[Any, ...]]:
    told: list[tuple[str, Sequence[Any]]] = [("m.user = ?", (selection.user,))]
    if selection.ids:
        marks = ", ".join("?" * len(selection.ids))
        told.append((f"m.id IN ({marks})", selection.ids))
    if selection.session is not None:
        told.append(("m.session = ?", (selection.session,)))
    if selection.since is not None:
        told.append(("m.said_at >= ?", (selection.since,)))
    if selection.until is not None:
        told.append(("m.said_at < ?", (selection.until,)))
    if selection.tag is not None:
        having = "EXISTS (SELECT 1 FROM json_each(m.tags) WHERE value = ?)"
        told.append((having, (selection.tag,)))
    return (
        " AND ".join(text for text, _ in told),
        tuple(value for _, values in told for value in values),
    )


def _counted(connection: sa.Connection) -> Removed:
    items, vectors, sessions, messages = (_count(connection, query) for query in _COUNTED)
    return Removed(items, messages, vectors, sessions)


def _let_go(connection: sa.Connection) -> None:
    for table in ("gone", "gone_turns", "gone_messages"):
        connection.exec_driver_sql(f"DROP TABLE temp.{table}")


def _count(connection: sa.Connection, query: str) -> int:
    return int(connection.exec_driver_sql(query).scalar() or 0)


_TEMPORARY = (
    "CREATE TEMP TABLE gone (id INTEGER PRIMARY KEY)",
    "CREATE TEMP TABLE gone_turns (turn_id TEXT PRIMARY KEY)",
    "CREATE TEMP TABLE gone_messages (id INTEGER PRIMARY KEY)",
)
_COUNTED = (
    "SELECT count(*) FROM temp.gone",
    "SELECT count(*) FROM memory_vectors WHERE memory_id IN (SELECT id FROM temp.gone)",
    "SELECT count(DISTINCT nullif(m.session, '')) FROM memories m JOIN temp.gone g ON g.id = m.id",
    "SELECT count(*) FROM temp.gone_messages",
)
_REMOVE = (
    "DELETE FROM messages WHERE id IN (SELECT id FROM temp.gone_messages)",
    "DELETE FROM memories WHERE id IN (SELECT id FROM temp.gone)",
    "UPDATE memories SET same_as = NULL WHERE same_as IN (SELECT id FROM temp.gone)",
)
