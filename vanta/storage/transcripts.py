"""The transcript store: the messages of every session, and a record of every turn.

Each time that text of a user is removed, a number grows, so that other processes notice that what
they keep in memory is not in the store any more. Invariant: an exchange and the record of its turn
become durable together, or not at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, Self

import sqlalchemy as sa

from vanta.messages import Exchange, Image, Message, ToolCall
from vanta.storage import branch_rows as rows
from vanta.storage import session_rows
from vanta.storage.branches import Branch, Fork, TurnPlace
from vanta.storage.clearing import clear
from vanta.storage.database import Database
from vanta.storage.schema import (
    Removals,
    SessionState,
    messages,
    private_sessions,
    removals,
    sessions,
    turns,
)
from vanta.storage.schema_upgrade import bring_up_to_date
from vanta.storage.session_rows import SessionInfo, SessionQuery

_add_turn = sa.insert(turns)
_add_message = sa.insert(messages)


class Store(Database):
    """The database of a runtime with its transcripts. Open it with `Store.open`.

    :param url: a SQLAlchemy URL.
    :param clock: returns seconds since the epoch, for the time at which a turn finished.
    """

    def __init__(self, url: str | sa.URL, clock: Callable[[], float] = time.time) -> None:
        super().__init__(url)
        self._clock = clock

    @classmethod
    def open(cls, url: str | sa.URL, clock: Callable[[], float] = time.time) -> Self:
        """Open a store; create its tables, or upgrade those of an older vanta. Blocking.

        :param url: a SQLAlchemy URL.
        :param clock: returns seconds since the epoch.
        :returns: the open store.
        :raises StoreError: if the URL cannot be used, the database fails, or a newer vanta
            wrote it.
        """
        store = cls(url, clock)
        try:
            store.transact_now(bring_up_to_date)
        except BaseException:
            store.close()
            raise
        return store

    async def history(self, user: str, session: str) -> list[Exchange]:
        """Return the exchanges of a session, on the branch in use.

        :param user: the user's name.
        :param session: the session's id.
        :returns: the exchanges, oldest first.
        :raises StoreError: if the database fails.
        """
        return (await self.branch_history(user, session))[1]

    async def branch_history(
        self, user: str, session: str, branch: str = ""
    ) -> tuple[str, list[Exchange]]:
        """Return the exchanges of a branch.

        :param user: the user's name.
        :param session: the session's id.
        :param branch: the branch's name; "" for the one in use.
        :returns: the branch's name, and its exchanges, oldest first.
        :raises UnknownName: if the session has no branch of that name.
        :raises StoreError: if the database fails.
        """
        return await self.read(partial(_history, user=user, session=session, branch=branch))

    async def add(
        self,
        turn: Mapping[str, Any],
        trace: Mapping[str, Any],
        exchange: Exchange | None,
        place: TurnPlace | None = None,
    ) -> None:
        """Record a turn and, if it was answered, its exchange.

        :param turn: the columns of `turns` except `finished_at` and `trace`.
        :param trace: the turn's trace as JSON-ready data.
        :param exchange: the messages of the turn, or None if it failed.
        :param place: the branch that it belongs to, perhaps one that it begins; None for the one in
            use.
        :raises StoreError: if the database fails; nothing is recorded then.
        """
        row = {**turn, "finished_at": self._clock(), "trace": trace}
        texts = [_message_row(turn, message) for message in exchange.messages] if exchange else []
        await self.transact(partial(_add, turn=row, texts=texts, place=place))

    async def fork(
        self, user: str, session: str, fork: Fork
    ) -> tuple[list[Exchange], frozenset[str]]:
        """Return what a turn that replaces another one begins with.

        :param user: the user's name.
        :param session: the session's id.
        :param fork: the turn that is replaced.
        :returns: the exchanges before that turn, and the turns that will be replaced with it.
        :raises UsageError: if the session has no such turn.
        :raises StoreError: if the database fails.
        """
        return await self.read(partial(_forked, user=user, session=session, fork=fork))

    async def exchange(self, user: str, session: str, turn: str) -> Exchange:
        """Return the exchange of a turn, on whatever branch it is.

        :param user: the user's name.
        :param session: the session's id.
        :param turn: the turn's id, or the beginning of it.
        :raises UsageError: if the session has no such turn, or several.
        :raises StoreError: if the database fails.
        """
        return await self.read(partial(_exchange, user=user, session=session, turn=turn))

    async def branches(self, user: str, session: str) -> list[Branch]:
        """Return the branches of a session, the main one first.

        :param user: the user's name.
        :param session: the session's id.
        :raises StoreError: if the database fails.
        """
        tree = await self.read(partial(rows.read_tree, user=user, session=session))
        return tree.described()

    async def add_branch(self, user: str, session: str, after: str | None, name: str = "") -> str:
        """Begin a branch beside the others, and use it.

        :param user: the user's name.
        :param session: the session's id.
        :param after: the turn that it continues, or the beginning of its id; None for a branch from
            the beginning of the session.
        :param name: the branch's name; "" for a number.
        :returns: the branch's name.
        :raises UsageError: for a turn that does not exist, or a name that cannot be used.
        :raises StoreError: if the database fails.
        """
        work = partial(rows.begin_branch, user=user, session=session, after=after, name=name)
        return await self.transact(partial(work, now=self._clock()))

    async def use_branch(self, user: str, session: str, branch: str) -> None:
        """Have the next turn of a session continue a branch.

        :param user: the user's name.
        :param session: the session's id.
        :param branch: the branch's name.
        :raises UnknownName: if the session has no such branch.
        :raises StoreError: if the database fails.
        """
        await self.transact(partial(rows.use_branch, user=user, session=session, branch=branch))

    async def answered(self, turns: Collection[str]) -> frozenset[str]:
        """Return which turns were answered.

        :param turns: ids of turns.
        :raises StoreError: if the database fails.
        """
        return await self.read(partial(_answered, ids=list(turns)))

    async def session_state(self, user: str, session: str) -> SessionState:
        """Return whether a session is private, and the latest removals of text.

        :param user: the user's name.
        :param session: the session's id.
        :raises StoreError: if the database fails.
        """
        return await self.read(partial(_session_state, user=user, session=session))

    async def open_session(
        self, user: str, session: str
    ) -> tuple[SessionState, str, list[Exchange]]:
        """Return what `session_state` and `branch_history` do, in one step.

        :param user: the user's name.
        :param session: the session's id.
        :raises StoreError: if the database fails.
        """

        def read(connection: sa.Connection) -> tuple[SessionState, str, list[Exchange]]:
            # First the removals: text that is removed after them is not in the history.
            state = _session_state(connection, user=user, session=session)
            return state, *_history(connection, user=user, session=session)

        return await self.read(read)

    async def set_private(self, user: str, session: str, *, private: bool) -> None:
        """Set whether the turns of a session are private unless they say otherwise.

        :param user: the user's name.
        :param session: the session's id.
        :param private: False makes later turns public again; earlier ones stay as they are.
        :raises StoreError: if the database fails.
        """
        write = partial(_set_private, user=user, session=session, private=private)
        await self.transact(write)

    async def clear(self, user: str, session: str) -> int:
        """Delete the messages of a session, on all branches. The records of its turns stay, without
        what servers wrote in them.

        :param user: the user's name.
        :param session: the session's id.
        :returns: the number of deleted messages.
        :raises StoreError: if the database fails.
        """
        return await self.transact(partial(clear, user=user, session=session))

    async def rename_session(self, user: str, session: str, title: str) -> None:
        """Give a session a title.

        :param user: the user's name.
        :param session: the session's id.
        :param title: the title; "" for none.
        :raises UsageError: if the title is too long, or has several lines.
        :raises StoreError: if the database fails.
        """
        title = session_rows.checked_title(title)
        await self.transact(partial(session_rows.write, user=user, session=session, title=title))

    async def keep_settings(
        self, user: str, session: str, settings: Mapping[str, Any] | None
    ) -> None:
        """Keep settings for the turns of a session.

        :param user: the user's name.
        :param session: the session's id.
        :param settings: JSON-ready data; None for nothing.
        :raises StoreError: if the database fails.
        """
        write = partial(session_rows.write, user=user, session=session, settings=settings)
        await self.transact(write)

    async def delete_session(self, user: str, session: str) -> int:
        """Delete a session: what `clear` deletes, and its title, settings and branches.

        :param user: the user's name.
        :param session: the session's id.
        :returns: the number of deleted messages.
        :raises StoreError: if the database fails.
        """

        def work(connection: sa.Connection) -> int:
            session_rows.delete(connection, user, session)
            return clear(connection, user=user, session=session)

        return await self.transact(work)

    async def sessions(self, query: SessionQuery) -> list[SessionInfo]:
        """Return sessions, the latest first.

        :param query: which ones.
        :raises StoreError: if the database fails.
        """
        return await self.read(partial(session_rows.find, query=query))

    async def records(
        self,
        *,
        user: str | None = None,
        session: str | None = None,
        turn: str = "",
        since: float = 0.0,
        limit: int = 0,
    ) -> list[dict[str, Any]]:
        """Return the records of turns.

        :param user: the user's name; None for all users.
        :param session: the session's id; None for all sessions.
        :param turn: the beginning of the turn's id.
        :param since: only turns that ended then or later, in seconds since 1970.
        :param limit: at most this many of the latest records; 0 for all.
        :returns: the records as JSON-ready data, oldest first.
        :raises StoreError: if the database fails.
        """
        query = sa.select(turns).where(turns.c.id.startswith(turn, autoescape=True))
        if user is not None:
            query = query.where(turns.c.user == user)
        if session is not None:
            query = query.where(turns.c.session == session)
        if since:
            query = query.where(turns.c.finished_at >= since)
        newest = query.order_by(turns.c.finished_at.desc(), turns.c.id)
        found = await self.transact(partial(_rows, query=newest.limit(limit) if limit else newest))
        return found[::-1]


def _history(
    connection: sa.Connection, *, user: str, session: str, branch: str = ""
) -> tuple[str, list[Exchange]]:
    if branch:
        rows.read_tree(connection, user, session).require(branch)
    name = branch or rows.active_branch(connection, user, session)
    condition = rows.on_branch(connection, user, session, name)
    return name, _exchanges(connection, user, session, condition)


def _exchanges(
    connection: sa.Connection, user: str, session: str, condition: sa.ColumnElement[bool]
) -> list[Exchange]:
    query = sa.select(messages).where(
        messages.c.user == user, messages.c.session == session, condition
    )
    exchanges: dict[str, list[Message]] = {}
    private: dict[str, bool] = {}
    for row in connection.execute(query.order_by(messages.c.id)):
        exchanges.setdefault(row.turn_id, []).append(_message(row))
        private[row.turn_id] = row.private
    return [Exchange(tuple(parts), private[turn], turn) for turn, parts in exchanges.items()]


def _exchange(connection: sa.Connection, *, user: str, session: str, turn: str) -> Exchange:
    node = rows.read_tree(connection, user, session).find(turn)
    (exchange,) = _exchanges(connection, user, session, messages.c.turn_id == node.turn)
    return exchange


def _forked(
    connection: sa.Connection, *, user: str, session: str, fork: Fork
) -> tuple[list[Exchange], frozenset[str]]:
    past, gone = rows.forked(connection, user, session, fork)
    return _exchanges(connection, user, session, past), gone


def _answered(connection: sa.Connection, *, ids: list[str]) -> frozenset[str]:
    query = sa.select(turns.c.id).where(turns.c.id.in_(ids), turns.c.status == "answered")
    return frozenset(connection.execute(query).scalars())


def _add(
    connection: sa.Connection,
    *,
    turn: dict[str, Any],
    texts: list[dict[str, Any]],
    place: TurnPlace | None,
) -> None:
    connection.execute(_add_turn, turn)
    if not texts:
        return
    user, session = turn["user"], turn["session"]
    branch = rows.branch_of(connection, user, session, place, turn["finished_at"])
    connection.execute(_add_message, [{**text, "branch": branch} for text in texts])
    if place is not None and place.fork is not None:
        rows.mark_replaced(connection, user, session)


def _session_state(connection: sa.Connection, *, user: str, session: str) -> SessionState:
    row = connection.execute(_state_query, {"of_user": user, "of_session": session}).one()
    last, last_forgotten, private, settings = row
    return SessionState(bool(private), Removals(last, last_forgotten), settings)


def _query_of_state() -> sa.Select[Any]:
    """Return the query that every turn begins with; to build it takes longer than to run it."""
    user = sa.bindparam("of_user", type_=sa.String)
    session = sa.bindparam("of_session", type_=sa.String)
    latest = sa.func.coalesce(sa.func.max(removals.c.id), 0)
    of_user = sa.select(latest).where(removals.c.user == user)
    for_good = sa.select(latest).where(removals.c.forgotten)
    marks = sa.select(sa.func.count()).select_from(private_sessions)
    of_session = (private_sessions.c.user == user) & (private_sessions.c.session == session)
    marked = marks.where(of_session).scalar_subquery()
    kept = sa.select(sessions.c.settings)
    kept_of = kept.where(sessions.c.user == user, sessions.c.session == session).scalar_subquery()
    return sa.select(of_user.scalar_subquery(), for_good.scalar_subquery(), marked, kept_of)


_state_query = _query_of_state()


def _of_session(user: str, session: str) -> sa.ColumnElement[bool]:
    return (private_sessions.c.user == user) & (private_sessions.c.session == session)


def _is_private(connection: sa.Connection, *, user: str, session: str) -> bool:
    query = sa.select(private_sessions.c.user).where(_of_session(user, session))
    return connection.execute(query).first() is not None


def _set_private(connection: sa.Connection, *, user: str, session: str, private: bool) -> None:
    if private == _is_private(connection, user=user, session=session):
        return
    if private:
        row = {"user": user, "session": session}
        connection.execute(sa.insert(private_sessions), row)
    else:
        connection.execute(sa.delete(private_sessions).where(_of_session(user, session)))


def _rows(connection: sa.Connection, *, query: sa.Select[Any]) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(query).mappings()]


def _message_row(turn: Mapping[str, Any], message: Message) -> dict[str, Any]:
    return {
        "user": turn["user"],
        "session": turn["session"],
        "turn_id": turn["id"],
        "private": turn["private"],
        "role": message.role,
        "content": message.content,
        "calls": [asdict(call) for call in message.tool_calls] or None,
        "call_id": message.tool_call_id,
        "images": [
            [image.url, place]
            for image, place in zip(message.images, message.image_places, strict=True)
        ]
        or None,
    }


def _message(row: sa.Row[Any]) -> Message:
    calls = tuple(ToolCall(call["id"], call["name"], call["arguments"]) for call in row.calls or ())
    stored = row.images or ()
    images = tuple(Image.from_url(url) for url, _ in stored)
    places = tuple(place for _, place in stored)
    return Message(row.role, row.content, calls, row.call_id, images=images, image_places=places)
