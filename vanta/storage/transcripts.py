"""The transcript store: the messages of every session, and a record of every turn.

Each time that text of a user is removed, a number grows, so that other processes notice that what
they keep in memory is not in the store any more. Invariant: an exchange and the record of its turn
become durable together, or not at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, Self

import sqlalchemy as sa

from vanta.messages import Exchange, Message, ToolCall
from vanta.privacy import forget_texts
from vanta.storage.database import Database
from vanta.storage.schema import (
    Removals,
    SessionState,
    messages,
    parked_calls,
    parked_turns,
    private_sessions,
    removals,
    tool_approvals,
    tool_calls,
    turns,
)
from vanta.storage.schema_upgrade import bring_up_to_date

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
        """Return the exchanges of a session.

        :param user: the user's name.
        :param session: the session's id.
        :returns: the exchanges, oldest first.
        :raises StoreError: if the database fails.
        """
        return await self.read(partial(_history, user=user, session=session))

    async def add(
        self, turn: Mapping[str, Any], trace: Mapping[str, Any], exchange: Exchange | None
    ) -> None:
        """Record a turn and, if it was answered, its exchange.

        :param turn: the columns of `turns` except `finished_at` and `trace`.
        :param trace: the turn's trace as JSON-ready data.
        :param exchange: the messages of the turn, or None if it failed.
        :raises StoreError: if the database fails; nothing is recorded then.
        """
        row = {**turn, "finished_at": self._clock(), "trace": trace}
        texts = [_message_row(turn, message) for message in exchange.messages] if exchange else []
        await self.transact(partial(_add, turn=row, texts=texts))

    async def session_state(self, user: str, session: str) -> SessionState:
        """Return whether a session is private, and the latest removals of text.

        :param user: the user's name.
        :param session: the session's id.
        :raises StoreError: if the database fails.
        """
        return await self.read(partial(_session_state, user=user, session=session))

    async def open_session(self, user: str, session: str) -> tuple[SessionState, list[Exchange]]:
        """Return what `session_state` and `history` do, in one step.

        :param user: the user's name.
        :param session: the session's id.
        :raises StoreError: if the database fails.
        """

        def read(connection: sa.Connection) -> tuple[SessionState, list[Exchange]]:
            # First the removals: text that is removed after them is not in the history.
            state = _session_state(connection, user=user, session=session)
            return state, _history(connection, user=user, session=session)

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
        """Delete the messages of a session. The records of its turns stay, without what servers
        wrote in them.

        :param user: the user's name.
        :param session: the session's id.
        :returns: the number of deleted messages.
        :raises StoreError: if the database fails.
        """
        return await self.transact(partial(_clear, user=user, session=session))

    async def records(
        self, *, user: str | None = None, session: str | None = None, turn: str = "", limit: int = 0
    ) -> list[dict[str, Any]]:
        """Return the records of turns.

        :param user: the user's name; None for all users.
        :param session: the session's id; None for all sessions.
        :param turn: the beginning of the turn's id.
        :param limit: at most this many of the latest records; 0 for all.
        :returns: the records as JSON-ready data, oldest first.
        :raises StoreError: if the database fails.
        """
        query = sa.select(turns).where(turns.c.id.startswith(turn, autoescape=True))
        if user is not None:
            query = query.where(turns.c.user == user)
        if session is not None:
            query = query.where(turns.c.session == session)
        newest = query.order_by(turns.c.finished_at.desc(), turns.c.id)
        rows = await self.transact(partial(_rows, query=newest.limit(limit) if limit else newest))
        return rows[::-1]


def _history(connection: sa.Connection, *, user: str, session: str) -> list[Exchange]:
    query = sa.select(messages).where(messages.c.user == user, messages.c.session == session)
    exchanges: dict[str, list[Message]] = {}
    private: dict[str, bool] = {}
    for row in connection.execute(query.order_by(messages.c.id)):
        exchanges.setdefault(row.turn_id, []).append(_message(row))
        private[row.turn_id] = row.private
    return [Exchange(tuple(parts), private[turn], turn) for turn, parts in exchanges.items()]


def _add(connection: sa.Connection, *, turn: dict[str, Any], texts: list[dict[str, Any]]) -> None:
    connection.execute(_add_turn, turn)
    if texts:
        connection.execute(_add_message, texts)


def _clear(connection: sa.Connection, *, user: str, session: str) -> int:
    of_session = sa.delete(messages).where(messages.c.user == user, messages.c.session == session)
    count = connection.execute(of_session).rowcount
    scrub_records(connection, turns.c.user == user, turns.c.session == session)
    forget_calls(connection, tool_calls.c.user == user, tool_calls.c.session == session)
    in_session = (tool_approvals.c.user == user, tool_approvals.c.session == session)
    connection.execute(sa.delete(tool_approvals).where(*in_session, tool_approvals.c.session != ""))
    forget_parked(connection, parked_turns.c.user == user, parked_turns.c.session == session)
    record_removal(connection, user, forgotten=False)
    return count


def record_removal(connection: sa.Connection, user: str, *, forgotten: bool) -> None:
    """Record, in the transaction that does it, that text of a user is removed."""
    connection.execute(sa.insert(removals), {"user": user, "forgotten": forgotten})


def scrub_records(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> None:
    """Remove what servers wrote from the records of the turns that meet all conditions."""
    query = sa.select(turns.c.id, turns.c.trace).where(*conditions)
    for row in connection.execute(query).all():
        trace = forget_texts(row.trace)
        if trace != row.trace:
            connection.execute(sa.update(turns).where(turns.c.id == row.id), {"trace": trace})


def forget_calls(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> None:
    """Remove the text of the tool calls that meet all conditions; their state stays.

    A call that has not started has lost what it would be started with, so it is denied.
    """
    waiting = tool_calls.c.state.in_(["requested", "approved"])
    changes = dict.fromkeys(("call_id", "digest", "arguments", "reason", "result"), "")
    state = sa.case((waiting, "denied"), else_=tool_calls.c.state)
    update = sa.update(tool_calls).where(*conditions, sa.not_(tool_calls.c.forgotten))
    connection.execute(update.values(**changes, state=state, forgotten=True))


def forget_parked(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> None:
    """Remove the parked turns that meet all conditions, with the calls that wait for a person."""
    gone = sa.select(parked_turns.c.turn).where(*conditions)
    connection.execute(sa.delete(parked_calls).where(parked_calls.c.turn.in_(gone)))
    connection.execute(sa.delete(parked_turns).where(*conditions))


def _session_state(connection: sa.Connection, *, user: str, session: str) -> SessionState:
    row = connection.execute(_state_query, {"of_user": user, "of_session": session}).one()
    last, last_forgotten, private = row
    return SessionState(bool(private), Removals(last, last_forgotten))


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
    return sa.select(of_user.scalar_subquery(), for_good.scalar_subquery(), marked)


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
    }


def _message(row: sa.Row[Any]) -> Message:
    calls = tuple(ToolCall(call["id"], call["name"], call["arguments"]) for call in row.calls or ())
    return Message(row.role, row.content, calls, row.call_id)
