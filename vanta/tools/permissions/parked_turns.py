"""Turns that wait for a person, as the store keeps them, so that a question outlives its process.

A turn is parked before its question is put, and taken out when every call of the question is
decided, before any of them runs. From then on it is a turn like any other. While its process waits,
or resumes it, that process holds it; the hold of a process that is gone counts for nothing.

Invariants: of two processes that resume one turn, one does and the other gets an error. An answer
counts once, and only for the call that was shown: `digest` and `why` say which that was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

import sqlalchemy as sa

from vanta.errors import InvalidValue, RunError
from vanta.money import Owner, this_process
from vanta.storage import Database
from vanta.storage.schema import parked_calls, parked_turns, turns

HOLD_S = 900.0
"""Seconds after which the hold of a process that cannot be inspected ends, unless it is renewed."""

EXPIRE_S = 604_800.0
"""Seconds after which a turn that no process holds is dropped, unless configured otherwise."""

SCOPES = ("once", "session", "always")
CallAnswer = Literal["", "approved", "denied", "answered"]
_turns, _calls = parked_turns.c, parked_calls.c


class ApprovalError(RunError):
    """An approval, a denial or an answer that does not fit a waiting call, or a turn that cannot be
    resumed."""


class ApprovalPending(RunError):  # noqa: N818 - the name states the error
    """A turn was parked: it waits for a person, and its caller does not.

    :param turn_id: the turn, for `Runtime.resume`.
    :param calls: the keys of the calls that a person has to decide about.
    :ivar turn_id: the turn.
    :ivar calls: the calls.
    """

    def __init__(self, turn_id: str, calls: Sequence[str]) -> None:
        super().__init__(
            f"turn {turn_id!r} waits for a person's decision about {len(calls)} call(s): "
            f"{', '.join(calls)}. Decide with `vanta approvals approve KEY` or `deny KEY`, then "
            f"`vanta approvals resume {turn_id[:12]}`, or Runtime.resume(turn_id)."
        )
        self.turn_id = turn_id
        self.calls = tuple(calls)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedCall:
    """A call of a parked turn about which a person is asked.

    :param key: the call's key, also in the journal later.
    :param turn: the turn's id.
    :param toolset: name of the toolset.
    :param tool: the tool's own name.
    :param effect: what running the call twice would do.
    :param arguments: the arguments as canonical JSON.
    :param digest: the digest of tool and arguments, as a person is shown them.
    :param why: the rule because of which a person is asked.
    :param is_question: whether it is a question that is answered in words, see `Tool.asks_person`.
    :param answer: what a person decided; "" while the call waits.
    :param scope: for how long an approval counts; "" without one.
    :param text: the reason of a denial, or the answer to a question.
    :param decided_at: seconds since the epoch; None while the call waits.
    """

    key: str
    turn: str
    toolset: str
    tool: str
    effect: str
    arguments: str
    digest: str
    why: str
    is_question: bool = False
    answer: CallAnswer = ""
    scope: str = ""
    text: str = ""
    decided_at: float | None = None

    @property
    def name(self) -> str:
        """The tool's name with its toolset's, as rules name it."""
        return f"{self.toolset}.{self.tool}"

    def to_dict(self) -> dict[str, Any]:
        """Return the call as JSON-ready data."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedTurn:
    """A turn that waits for a person.

    :param turn: the turn's id.
    :param user: the user of the conversation.
    :param session: the session's id.
    :param private: whether its text must not leave this machine.
    :param state: what it is resumed from, as JSON.
    :param calls: the calls that a person is asked about, in the order of the questions.
    :param parked_at: seconds since the epoch.
    :param expires_at: seconds since the epoch at which it is dropped, if no process holds it then.
    :param holder: the process that waits or resumes it; None if none does.
    """

    turn: str
    user: str
    session: str
    private: bool
    state: str
    calls: tuple[ParkedCall, ...]
    parked_at: float = 0.0
    expires_at: float = 0.0
    holder: Owner | None = None

    @property
    def open_calls(self) -> tuple[ParkedCall, ...]:
        """The calls that no one has decided about."""
        return tuple(call for call in self.calls if not call.answer)

    def to_dict(self) -> dict[str, Any]:
        """Return the turn as JSON-ready data, without its state."""
        return {
            "turn": self.turn,
            "user": self.user,
            "session": self.session,
            "private": self.private,
            "parked_at": self.parked_at,
            "expires_at": self.expires_at,
            "is_held": self.holder is not None,
            "calls": [call.to_dict() for call in self.calls],
        }


class ParkedTurns:
    """The parked turns in a store. A turn that has waited too long is none of them.

    :param store: the open store, which has the tables.
    :param expire_s: seconds after which a turn that no process holds is dropped.
    :param owner: the process that waits for and resumes turns; None is the current one.
    :param clock: returns seconds since the epoch.
    """

    def __init__(
        self,
        store: Database,
        *,
        expire_s: float = EXPIRE_S,
        owner: Owner | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._expire_s = expire_s
        self._given_owner = owner
        self._clock = clock

    async def park(self, turn: ParkedTurn) -> None:
        """Keep a turn, held by this process. It is durable when this returns.

        :param turn: the turn; one of the same id is replaced.
        :raises StoreError: if the database fails.
        """
        rows = [
            {**asdict(call), "turn": turn.turn, "place": place}
            for place, call in enumerate(turn.calls)
        ]
        row = {
            "turn": turn.turn,
            "user": turn.user,
            "session": turn.session,
            "private": turn.private,
            "state": turn.state,
            "parked_at": self._clock(),
            **self._hold(),
        }

        def write(connection: sa.Connection) -> None:
            _remove(connection, turn.turn)
            connection.execute(sa.insert(parked_turns), row)
            if rows:
                connection.execute(sa.insert(parked_calls), rows)

        await self._store.transact(write)

    async def list(self, *, user: str | None = None, start: str = "") -> Sequence[ParkedTurn]:
        """Return the parked turns, oldest first.

        :param user: the user; None for all.
        :param start: the beginning of the turn's id.
        :raises StoreError: if the database fails.
        """
        query = sa.select(parked_turns).where(_turns.turn.startswith(start, autoescape=True))
        if user is not None:
            query = query.where(_turns.user == user)
        query = query.order_by(_turns.parked_at, _turns.turn)
        await self._drop_expired()
        return await self._read(query)

    async def decide(
        self, key: str, answer: CallAnswer, *, scope: str = "", text: str = ""
    ) -> ParkedCall:
        """Record what a person decided about a call. Its turn may wait in another process.

        :param key: the call's key.
        :param answer: `approved`, `denied` or `answered`.
        :param scope: for how long an approval counts.
        :param text: the reason of a denial, or the answer to a question.
        :returns: the call.
        :raises ApprovalError: if no such call waits, it is decided, or the answer does not fit it.
        :raises StoreError: if the database fails.
        """
        await self._drop_expired()
        changes = {"answer": answer, "scope": scope, "text": text, "decided_at": self._clock()}
        return await self._store.transact(partial(_decide, key=key, changes=changes))

    async def approve(self, key: str, scope: str = "once") -> ParkedCall:
        """Approve a call of a parked turn; it runs when the turn continues.

        :param key: the call's key.
        :param scope: `once`, `session` or `always`.
        :raises ApprovalError: as for `decide`.
        :raises InvalidValue: for another scope.
        :raises StoreError: if the database fails.
        """
        if scope not in SCOPES:
            raise InvalidValue(f"scope is one of {', '.join(map(repr, SCOPES))}, not {scope!r}")
        return await self.decide(key, "approved", scope=scope)

    async def deny(self, key: str, reason: str = "") -> ParkedCall:
        """Deny a call of a parked turn, or decline to answer a question.

        :param key: the call's key.
        :param reason: why, for the model.
        :raises ApprovalError: as for `decide`.
        :raises StoreError: if the database fails.
        """
        return await self.decide(key, "denied", text=reason)

    async def answer(self, key: str, text: str) -> ParkedCall:
        """Answer a question of a parked turn.

        :param key: the call's key.
        :param text: the answer.
        :raises ApprovalError: as for `decide`.
        :raises InvalidValue: for an empty answer.
        :raises StoreError: if the database fails.
        """
        if not text.strip():
            raise InvalidValue("an answer is a text that is not empty; deny the question otherwise")
        return await self.decide(key, "answered", text=text)

    async def answers(self, turn: str, *, renew: bool = False) -> Mapping[str, ParkedCall] | None:
        """Return the calls of a parked turn by key, with what was decided about them so far.

        :param turn: the turn's id.
        :param renew: whether to renew the hold of this process.
        :returns: the calls; None if the turn was removed, as with its conversation.
        :raises StoreError: if the database fails.
        """
        if renew:
            hold = sa.update(parked_turns).where(_turns.turn == turn).values(self._hold())
            await self._store.transact(lambda connection: connection.execute(hold))
        query = sa.select(parked_turns).where(_turns.turn == turn)
        rows = await self._read(query)
        return {call.key: call for call in rows[0].calls} if rows else None

    async def claim(self, turn: str) -> ParkedTurn:
        """Hold a parked turn, to resume it in this process.

        :param turn: the turn's id.
        :raises ApprovalError: if the turn is not parked, or a process holds it.
        :raises StoreError: if the database fails.
        """
        await self._drop_expired()
        step = partial(_claim, turn=turn, hold=self._hold(), now=self._clock())
        return self._dated(await self._store.transact(step))

    async def release(self, turn: str) -> None:
        """Stop holding a turn: another process may resume it.

        :param turn: the turn's id.
        :raises StoreError: if the database fails.
        """
        free = {"host": "", "process": "", "expires_at": 0.0}
        update = sa.update(parked_turns).where(_turns.turn == turn).values(free)
        await self._store.transact(lambda connection: connection.execute(update))

    async def take(self, turn: str) -> bool:
        """Remove a turn, since its calls are decided or it is not wanted any more.

        :param turn: the turn's id.
        :returns: False if it was removed before: none of its calls may run.
        :raises StoreError: if the database fails.
        """
        return await self._store.transact(lambda connection: _remove(connection, turn))

    async def _read(self, query: sa.Select[Any]) -> Sequence[ParkedTurn]:
        parked = await self._store.read(partial(_parked, query=query, now=self._clock()))
        return [self._dated(turn) for turn in parked]

    def _dated(self, turn: ParkedTurn) -> ParkedTurn:
        return replace(turn, expires_at=turn.parked_at + self._expire_s)

    async def _drop_expired(self) -> None:
        """Drop the turns that have waited too long. Raises StoreError."""
        now = self._clock()
        expired = partial(_expired, before=now - self._expire_s, now=now)
        if await self._store.read(expired):  # else there is nothing to write
            await self._store.transact(lambda connection: _expire(connection, expired(connection)))

    def _hold(self) -> dict[str, Any]:
        owner = self._given_owner or this_process()
        expires_at = self._clock() + HOLD_S
        return {"host": owner.host, "process": owner.process, "expires_at": expires_at}


def _remove(connection: sa.Connection, turn: str) -> bool:
    connection.execute(sa.delete(parked_calls).where(_calls.turn == turn))
    parked = (turns.c.id == turn) & (
        turns.c.status == "parked"
    )  # the record of its end replaces it
    connection.execute(sa.delete(turns).where(parked))
    return connection.execute(sa.delete(parked_turns).where(_turns.turn == turn)).rowcount > 0


def _expired(connection: sa.Connection, *, before: float, now: float) -> Sequence[str]:
    """Return the turns that were parked before a time and that no process holds."""
    columns = (_turns.turn, _turns.host, _turns.process, _turns.expires_at)
    query: sa.Select[Any] = sa.select(*columns).where(_turns.parked_at < before)
    rows = connection.execute(query).all()
    return [row.turn for row in rows if _holder(row, now) is None]


def _expire(connection: sa.Connection, ids: Sequence[str]) -> None:
    """Drop turns; their records say that they have expired."""
    of_turns = turns.c.id.in_(ids) & (turns.c.status == "parked")
    for row in connection.execute(sa.select(turns.c.id, turns.c.trace).where(of_turns)).all():
        ended = {"status": "expired", "trace": {**row.trace, "status": "expired"}}
        connection.execute(sa.update(turns).where(turns.c.id == row.id).values(ended))
    connection.execute(sa.delete(parked_calls).where(_calls.turn.in_(ids)))
    connection.execute(sa.delete(parked_turns).where(_turns.turn.in_(ids)))


def _decide(connection: sa.Connection, *, key: str, changes: dict[str, Any]) -> ParkedCall:
    call = _call(connection, key)
    answer = changes["answer"]
    if call is None:
        raise ApprovalError(
            f"no call {key!r} waits for a person: its turn has gone on, was stopped, was removed "
            "or has expired. `vanta approvals list` shows the calls that wait."
        )
    if call.is_question and answer == "approved":
        raise ApprovalError(
            f"call {key!r} is a question to a person: answer it in words, or deny it."
        )
    if not call.is_question and answer == "answered":
        raise ApprovalError(f"call {key!r} is not a question: approve or deny it.")
    update = sa.update(parked_calls).where(_calls.key == key, _calls.answer == "")
    if not connection.execute(update.values(changes)).rowcount:
        raise ApprovalError(f"call {key!r} of {call.name!r} is {call.answer} already.")
    decided = _call(connection, key)
    assert decided is not None  # noqa: S101 - it was updated in this transaction
    return decided


def _claim(connection: sa.Connection, *, turn: str, hold: dict[str, Any], now: float) -> ParkedTurn:
    query = sa.select(parked_turns).where(_turns.turn == turn)
    row = connection.execute(query).first()
    status = sa.select(turns.c.status).where(turns.c.id == turn)
    if row is None and connection.execute(status).scalar() == "expired":
        raise ApprovalError(
            f"turn {turn!r} has expired: it waited for a person for longer than "
            "'tools.approvals_expire_s'. None of its waiting calls has run. Send the message again."
        )
    if row is None:
        raise ApprovalError(
            f"no turn {turn!r} waits for a person: it has gone on, was stopped or was removed. "
            "`vanta approvals list` shows the turns that wait."
        )
    if _holder(row, now) is not None:
        raise ApprovalError(
            f"turn {turn!r} waits in process {row.process.partition(':')[0]} on this or another "
            "host, or is being resumed there. Decide about its calls with "
            "`vanta approvals approve KEY`, and it continues by itself."
        )
    same = (_turns.host == row.host) & (_turns.process == row.process)
    update = sa.update(parked_turns).where(_turns.turn == turn, same)
    if not connection.execute(update.values(hold)).rowcount:
        raise ApprovalError(f"turn {turn!r} is being resumed by another process.")
    return _parked(connection, query=query, now=now)[0]


def _holder(row: sa.Row[Any], now: float) -> Owner | None:
    """Return the process that holds a turn, None if it is free or its process is gone."""
    holder = Owner(row.host, row.process)
    if not row.host:
        return None
    is_far = row.host != this_process().host
    return None if (row.expires_at < now if is_far else holder.gone) else holder


def _parked(
    connection: sa.Connection, *, query: sa.Select[Any], now: float
) -> Sequence[ParkedTurn]:
    return [
        ParkedTurn(
            turn=row.turn,
            user=row.user,
            session=row.session,
            private=row.private,
            state=row.state,
            parked_at=row.parked_at,
            holder=_holder(row, now),
            calls=tuple(_calls_where(connection, _calls.turn == row.turn)),
        )
        for row in connection.execute(query).all()
    ]


def _call(connection: sa.Connection, key: str) -> ParkedCall | None:
    return next(iter(_calls_where(connection, _calls.key == key)), None)


def _calls_where(
    connection: sa.Connection, condition: sa.ColumnElement[bool]
) -> Sequence[ParkedCall]:
    query = sa.select(*_FIELDS).where(condition).order_by(_calls.turn, _calls.place)
    return [ParkedCall(**row) for row in connection.execute(query).mappings()]


_FIELDS = [_calls[name] for name in ParkedCall.__slots__]
