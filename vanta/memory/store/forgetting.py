"""Forgetting: removes items in one transaction; `Memory.forget` cleans the files afterwards.

A message is removed with its whole exchange, since a reply repeats its question, with the
alternatives of its turn on other branches, and with the facts and summaries made from it. A fact
that is selected itself is removed alone. The records of the turns stay, also of those that failed,
without what servers wrote in them: that may quote the conversation. Tool calls stay without
arguments and results. Invariant: after the transaction no query finds any removed item; `VACUUM`
and a rebuilt full-text index then leave no byte of it in the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vanta.memory.index import Partition
from vanta.memory.items import MemoryItem
from vanta.memory.store.repository import COLUMNS, take_write_lock, to_item
from vanta.memory.store.vectors import partition_for, request_wipes
from vanta.text import make_well_formed

if TYPE_CHECKING:
    import sqlalchemy as sa


@dataclass(frozen=True, slots=True)
class Selection:
    """What to forget of a user. All conditions that are set must hold; at least one must be set.

    :param user: the user.
    :param ids: item ids; empty for no condition.
    :param session: a session id.
    :param since: earliest `said_at`, in seconds since the epoch.
    :param until: latest `said_at`, excluded.
    :param everything: True to select all items of the user.
    :param tag: a tag.
    """

    user: str
    ids: tuple[int, ...] = ()
    session: str | None = None
    since: float | None = None
    until: float | None = None
    everything: bool = False
    tag: str | None = None

    def __post_init__(self) -> None:
        make_well_formed(self, "user", "session", "tag")

    @property
    def is_set(self) -> bool:
        """Whether at least one condition is set."""
        conditions = (self.session, self.since, self.until, self.tag)
        return (
            self.everything
            or bool(self.ids)
            or any(condition is not None for condition in conditions)
        )


@dataclass(frozen=True, slots=True)
class RemovedCounts:
    """How much was removed, or would be.

    :param items: memory items.
    :param messages: messages of the transcript.
    :param vectors: stored vectors.
    :param sessions: sessions that the items belong to.
    """

    items: int
    messages: int
    vectors: int
    sessions: int


@dataclass(frozen=True, slots=True)
class ForgetReceipt:
    """The result of forgetting.

    :param removed: how much was removed.
    :param certain: True if no byte of it is left in any file of vanta.
    :param why: if not certain, what still holds it and what to do; else "".
    :param took_s: duration in seconds.
    """

    removed: RemovedCounts
    certain: bool
    why: str
    took_s: float


@dataclass(frozen=True, slots=True)
class ForgetPreview:
    """What forgetting would remove.

    :param removed: how much would be removed.
    :param items: the items, in the order of their ids.
    """

    removed: RemovedCounts
    items: tuple[MemoryItem, ...]


def preview(connection: sa.Connection, selection: Selection) -> ForgetPreview:
    """Return what `remove` would remove; change nothing."""
    _select(connection, selection)
    removed = _counts(connection)
    rows = connection.exec_driver_sql(
        f"SELECT {COLUMNS} FROM memories WHERE id IN (SELECT id FROM temp.gone) ORDER BY id"  # noqa: S608
    )
    items = tuple(to_item(row) for row in rows)
    _drop_temporary_tables(connection)
    return ForgetPreview(removed, items)


def remove(connection: sa.Connection, selection: Selection) -> RemovedCounts:
    """Remove the selected items and everything derived from them."""
    take_write_lock(connection)
    _select(connection, selection)
    removed = _counts(connection)
    request_wipes(connection, _partitions(connection, selection.user))
    for statement in _REMOVE:
        connection.exec_driver_sql(statement)
    _keep_branches(connection, selection.user)
    _scrub_records(connection, selection)
    _drop_temporary_tables(connection)
    return removed


def rebuild_full_text_index(connection: sa.Connection) -> None:
    """Rebuild the full-text index: SQLite before 3.42 keeps deleted words in it."""
    connection.exec_driver_sql("INSERT INTO memories_fts (memories_fts) VALUES ('rebuild')")


def _partitions(connection: sa.Connection, user: str) -> list[Partition]:
    """Return the partitions of the vectors that will be removed."""
    rows = connection.exec_driver_sql(
        "SELECT DISTINCT m.private, v.embedder FROM temp.gone g "
        "JOIN memories m ON m.id = g.id JOIN memory_vectors v ON v.memory_id = m.id"
    )
    return [partition_for(user, private=bool(row[0]), embedder=row[1]) for row in rows]


def _select(connection: sa.Connection, selection: Selection) -> None:
    """Fill the temporary tables `gone` (items), `gone_turns` and `gone_messages`."""
    where, values = _condition(selection)
    for statement in _TEMPORARY_TABLES:
        connection.exec_driver_sql(statement)
    connection.exec_driver_sql(
        f"INSERT INTO temp.gone SELECT id FROM memories m WHERE {where}",  # noqa: S608
        values,
    )
    connection.exec_driver_sql(
        "INSERT OR IGNORE INTO temp.gone_turns SELECT turn_id FROM memories m "
        "JOIN temp.gone g ON g.id = m.id WHERE m.turn_id <> '' AND m.kind = 'message'"
    )
    _select_replaced(connection, selection)
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


def _select_replaced(connection: sa.Connection, selection: Selection) -> None:
    """Add the turns that memory has no items of, since another alternative took their place: those
    that the selection covers, and the alternatives of selected ones, which may repeat their text.
    """
    import sqlalchemy as sa

    from vanta.storage.branch_rows import read_tree
    from vanta.storage.schema import branches, messages, turns

    add = "INSERT OR IGNORE INTO temp.gone_turns (turn_id) VALUES (?)"
    if not selection.ids and selection.tag is None:
        of_selection = _at(selection, turns.c, turns.c.finished_at)
        replaced = sa.select(messages.c.turn_id).where(messages.c.replaced)
        query = sa.select(turns.c.id).where(*of_selection, turns.c.id.in_(replaced))
        for turn in connection.execute(query).scalars().all():
            connection.exec_driver_sql(add, (turn,))
    forked = sa.select(branches.c.session).where(branches.c.user == selection.user).distinct()
    for session in connection.execute(forked).scalars().all():
        tree = read_tree(connection, selection.user, session)
        selected = connection.exec_driver_sql("SELECT turn_id FROM temp.gone_turns").scalars()
        gone = {node.turn for node in tree.nodes}.intersection(selected)
        for turn in tree.alternatives(gone) - gone:
            connection.exec_driver_sql(add, (turn,))


def _condition(selection: Selection) -> tuple[str, tuple[Any, ...]]:
    conditions: list[tuple[str, Sequence[Any]]] = [("m.user = ?", (selection.user,))]
    if selection.ids:
        marks = ", ".join("?" * len(selection.ids))
        conditions.append((f"m.id IN ({marks})", selection.ids))
    if selection.session is not None:
        conditions.append(("m.session = ?", (selection.session,)))
    if selection.since is not None:
        conditions.append(("m.said_at >= ?", (selection.since,)))
    if selection.until is not None:
        conditions.append(("m.said_at < ?", (selection.until,)))
    if selection.tag is not None:
        has_tag = "EXISTS (SELECT 1 FROM json_each(m.tags) WHERE value = ?)"
        conditions.append((has_tag, (selection.tag,)))
    return (
        " AND ".join(text for text, _ in conditions),
        tuple(value for _, values in conditions for value in values),
    )


def _keep_branches(connection: sa.Connection, user: str) -> None:
    from vanta.storage.branch_rows import keep_bases

    keep_bases(connection, user)


def _scrub_records(connection: sa.Connection, selection: Selection) -> None:
    """Remove what servers wrote from the records of the turns that are forgotten, and tell other
    processes."""
    import sqlalchemy as sa

    from vanta.storage.branch_rows import record_removal
    from vanta.storage.clearing import (
        forget_calls,
        forget_parked,
        scrub_records,
    )
    from vanta.storage.schema import parked_turns, tool_calls, turns

    record_removal(connection, selection.user, forgotten=True)
    turn_id: sa.ColumnClause[str] = sa.column("turn_id")
    gone = sa.select(turn_id).select_from(sa.text("temp.gone_turns"))
    scrub_records(connection, turns.c.user == selection.user, turns.c.id.in_(gone))
    of_user = tool_calls.c.user == selection.user
    forget_calls(connection, of_user, tool_calls.c.turn.in_(gone))
    sessions = sa.select(turns.c.session).where(turns.c.id.in_(gone))
    of_user = parked_turns.c.user == selection.user
    forget_parked(connection, of_user, parked_turns.c.session.in_(sessions))
    if selection.ids or selection.tag is not None:
        return
    # A turn that failed has no items: its time and its session select it.
    scrub_records(connection, *_at(selection, turns.c, turns.c.finished_at))
    forget_calls(connection, *_at(selection, tool_calls.c, tool_calls.c.requested_at))
    forget_parked(connection, *_at(selection, parked_turns.c, parked_turns.c.parked_at))


def _at(
    selection: Selection, columns: Any, time: sa.ColumnElement[float]
) -> list[sa.ColumnElement[bool]]:
    """Return the conditions of a selection on a table that has a user, a session and a time."""
    conditions = [columns.user == selection.user]
    if selection.session is not None:
        conditions.append(columns.session == selection.session)
    if selection.since is not None:
        conditions.append(time >= selection.since)
    if selection.until is not None:
        conditions.append(time < selection.until)
    return conditions


def _counts(connection: sa.Connection) -> RemovedCounts:
    items, vectors, sessions, messages = (_count(connection, query) for query in _COUNTS)
    return RemovedCounts(items, messages, vectors, sessions)


def _drop_temporary_tables(connection: sa.Connection) -> None:
    for table in ("gone", "gone_turns", "gone_messages"):
        connection.exec_driver_sql(f"DROP TABLE temp.{table}")


def _count(connection: sa.Connection, query: str) -> int:
    return int(connection.exec_driver_sql(query).scalar() or 0)


_TEMPORARY_TABLES = (
    "CREATE TEMP TABLE gone (id INTEGER PRIMARY KEY)",
    "CREATE TEMP TABLE gone_turns (turn_id TEXT PRIMARY KEY)",
    "CREATE TEMP TABLE gone_messages (id INTEGER PRIMARY KEY)",
)
_COUNTS = (
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
