"""Branches in the store: read as a tree, begun, chosen, and kept right when messages are removed.

Invariant: a change of the branch in use is numbered like a removal of text, so that every process
reads the history again before its next turn.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from vanta.storage import session_rows
from vanta.storage.branches import (
    MAIN,
    BranchRow,
    BranchTree,
    Fork,
    TurnNode,
    TurnPlace,
    plain_branch,
)
from vanta.storage.schema import branches, messages, removals, sessions


def read_tree(connection: sa.Connection, user: str, session: str) -> BranchTree:
    """Return the tree of a session; one that does not exist has an empty main branch."""
    own = (messages.c.user == user, messages.c.session == session)
    first, last = sa.func.min(messages.c.id), sa.func.max(messages.c.id)
    query = sa.select(messages.c.turn_id, messages.c.branch, first, last).where(*own)
    grouped = query.group_by(messages.c.turn_id, messages.c.branch).order_by(first)
    nodes = [TurnNode(*row) for row in connection.execute(grouped)]
    active = active_branch(connection, user, session)
    return BranchTree(nodes, _rows(connection, user, session), active)


def _rows(connection: sa.Connection, user: str, session: str) -> list[BranchRow]:
    table = branches.c
    query = sa.select(branches).where(table.user == user, table.session == session)
    ordered = query.order_by(table.created_at, table.base, table.name)
    return [
        BranchRow(
            row.name,
            row.kind,
            row.parent,
            row.base,
            row.replaces,
            (row.group_branch, row.group_first) if row.group_branch else None,
        )
        for row in connection.execute(ordered)
    ]


def active_branch(connection: sa.Connection, user: str, session: str) -> str:
    """Return the name of the branch that a session's next turn continues."""
    query = sa.select(sessions.c.branch).where(
        sessions.c.user == user, sessions.c.session == session
    )
    return connection.execute(query).scalar() or MAIN


def on_branch(
    connection: sa.Connection, user: str, session: str, branch: str
) -> sa.ColumnElement[bool]:
    """Return the condition on `messages` for the history of a branch."""
    if branch == MAIN:
        return messages.c.branch == MAIN
    tree = BranchTree((), _rows(connection, user, session), branch)
    return _within(tree.segments(branch))


def _within(segments: Iterable[tuple[str, float]]) -> sa.ColumnElement[bool]:
    """Return the condition on `messages` for the parts of a history."""
    parts = [
        (messages.c.branch == name)
        & (sa.true() if math.isinf(upto) else messages.c.id <= int(upto))
        for name, upto in segments
    ]
    return sa.or_(*parts)


def _add_branch(
    connection: sa.Connection, owner: Mapping[str, str], row: BranchRow, created_at: float
) -> None:
    """Store a branch.

    :param owner: the columns `user` and `session`.
    """
    latest = sa.select(sa.func.max(branches.c.created_at)).where(
        branches.c.user == owner["user"], branches.c.session == owner["session"]
    )
    after = connection.execute(latest).scalar()
    if after is not None and created_at <= after:  # a clock that was set back, or is coarse
        created_at = math.nextafter(after, math.inf)
    group_branch, group_first = row.group or ("", 0)
    values: dict[str, Any] = {
        **owner,
        "name": row.name,
        "kind": row.kind,
        "parent": row.parent,
        "base": row.base,
        "replaces": row.replaces,
        "group_branch": group_branch,
        "group_first": group_first,
        "created_at": created_at,
    }
    connection.execute(sa.insert(branches), values)


def mark_replaced(connection: sa.Connection, user: str, session: str) -> None:
    """Mark the messages that are replaced now, and no others."""
    tree = read_tree(connection, user, session)
    gone = tree.replaced()
    own = (messages.c.user == user, messages.c.session == session)
    query = sa.select(messages.c.turn_id).where(*own, messages.c.replaced).distinct()
    marked = set(connection.execute(query).scalars())
    for turns, is_replaced in ((gone - marked, True), (marked - gone, False)):
        for turn in sorted(turns):
            update = sa.update(messages).where(*own, messages.c.turn_id == turn)
            connection.execute(update.values(replaced=is_replaced))
    record_removal(connection, user, forgotten=False)  # so that others read their history again


def keep_bases(connection: sa.Connection, user: str) -> None:
    """Let branches begin at messages that exist, after some of a user were removed.

    Ids of removed messages may be given to new ones, which must not become part of older branches.
    """
    query = sa.select(branches).where(branches.c.user == user, branches.c.base > 0)
    for row in connection.execute(query).all():
        latest = sa.select(sa.func.max(messages.c.id)).where(
            messages.c.user == user,
            messages.c.session == row.session,
            messages.c.branch == row.parent,
            messages.c.id <= row.base,
        )
        base = connection.execute(latest).scalar() or 0
        if base != row.base:
            of_branch = (
                (branches.c.user == user)
                & (branches.c.session == row.session)
                & (branches.c.name == row.name)
            )
            connection.execute(sa.update(branches).where(of_branch).values(base=base))


def branch_of(
    connection: sa.Connection, user: str, session: str, place: TurnPlace | None, now: float
) -> str:
    """Return the branch that a new turn is stored on; begin it if the turn replaces another one."""
    if place is None:
        return active_branch(connection, user, session)
    if place.fork is None and place.branch == MAIN:
        return place.branch
    return _new_branch(connection, user, session, place, now)


def forked(
    connection: sa.Connection, user: str, session: str, fork: Fork
) -> tuple[sa.ColumnElement[bool], frozenset[str]]:
    """Return the condition on `messages` for what comes before a turn that is replaced, and the
    turns that are replaced with it. Raises UsageError if there is no such turn."""
    tree = read_tree(connection, user, session)
    row = tree.fork(tree.new_name(), fork)
    after = tree.with_branch(row)
    return _within(after.segments(row.name)), frozenset(after.replaced())


def _new_branch(
    connection: sa.Connection, user: str, session: str, place: TurnPlace, now: float
) -> str:
    """Return the branch of a turn that is not on the main one. If it was removed meanwhile, with
    all of the session's messages, that is the branch in use."""
    if place.fork is not None:
        session_rows.lock(connection, user, session)
    tree = read_tree(connection, user, session)
    if place.fork is None or not any(node.turn == place.fork.turn for node in tree.nodes):
        return place.branch if place.branch in tree.names else tree.active
    row = tree.fork(tree.new_name(), place.fork)
    owner = {"user": user, "session": session}
    _add_branch(connection, owner, row, now)
    session_rows.write(connection, user, session, branch=row.name)
    return row.name


def begin_branch(
    connection: sa.Connection, *, user: str, session: str, after: str | None, name: str, now: float
) -> str:
    session_rows.lock(connection, user, session)
    tree = read_tree(connection, user, session)
    at = None if after is None else tree.find(after)
    row = plain_branch(tree.new_name(name), at)
    _add_branch(connection, {"user": user, "session": session}, row, now)
    use_branch(connection, user=user, session=session, branch=row.name)
    return row.name


def use_branch(connection: sa.Connection, *, user: str, session: str, branch: str) -> None:
    session_rows.lock(connection, user, session)
    tree = read_tree(connection, user, session)
    session_rows.write(connection, user, session, branch=tree.require(branch))
    mark_replaced(connection, user, session)


def record_removal(connection: sa.Connection, user: str, *, forgotten: bool) -> None:
    """Record, in the transaction that does it, that text of a user is removed."""
    connection.execute(sa.insert(removals), {"user": user, "forgotten": forgotten})
