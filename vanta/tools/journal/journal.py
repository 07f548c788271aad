"""The journal: the durable record of tool calls, written before and after each runs.

A call is `requested`, perhaps `approved`, `started`, and then `finished` or `failed`; or it is
`denied`. A step is one transaction that checks the state it comes from, so of two processes that
start the same call, one is refused. A call that was started by a process that is gone becomes
`unknown`: whether it took effect cannot be known here. It is not started again unless running it
twice changes nothing, and a person may settle it, which makes it `resolved`.

Invariant: when `start` returns, the start is committed; when it raises, the call may not run. So a
call whose effect matters runs at most once, wherever the process ends.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar, get_args

import anyio
import sqlalchemy as sa

from vanta.errors import CallStateError, StoreError, UsageError, did_you_mean
from vanta.money import Owner, this_process
from vanta.storage import Database
from vanta.storage.schema import tool_calls
from vanta.tools.journal.call_record import CallOutcome, CallRecord, CallState, EndState

LEASE_S = 900.0
"""Seconds after which a call of a process that cannot be inspected is taken for abandoned."""

LONGEST_RESULT = 1 << 20
"""Characters of a result that are kept; of a longer one, only its beginning is."""

T = TypeVar("T")
_log = logging.getLogger("vanta")
_calls = tool_calls.c
_COMES_FROM: dict[str, tuple[str, ...]] = {
    # A late end is the truth about a call whose process was taken for dead.
    "finished": ("started", "unknown", "resolved"),
    "failed": ("started", "unknown", "resolved"),
    "unknown": ("started",),
    "denied": ("requested", "approved"),
    "approved": ("requested",),
    "resolved": ("unknown",),
}
_FIELDS = [tool_calls.c[name] for name in CallRecord.__slots__]


class Journal:
    """The journal of a runtime's tool calls.

    :param store: the open store, which has the table.
    :param owner: the process that starts calls; None is the current one.
    :param clock: returns seconds since the epoch.
    """

    def __init__(
        self,
        store: Database,
        *,
        owner: Owner | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._given_owner = owner
        self._clock = clock
        self._unwritten: dict[str, Callable[[sa.Connection], Any]] = {}

    async def request(self, *entries: CallRecord) -> None:
        """Record calls as `requested`, all or none.

        :param entries: new records; their state and times are set here.
        :raises StoreError: if the database fails, or a key is in use.
        """
        if not entries:
            return
        now = self._clock()
        rows = [_new_row(entry, now) for entry in entries]
        await self._write(lambda connection: connection.execute(sa.insert(tool_calls), rows))

    async def approve(self, call_key: str, reason: str = "") -> None:
        """Record that a rule or a person allows a call.

        :param call_key: the call's key.
        :param reason: what allowed it.
        :raises CallStateError: if the call is not `requested`.
        :raises StoreError: if the database fails.
        """
        step = partial(_step, key=call_key, state="approved", changes={"reason": reason})
        await self._write(step)

    async def start(self, call_key: str, *, lease_s: float = LEASE_S) -> None:
        """Record that a call starts now. It is durable when this returns.

        :param call_key: the call's key.
        :param lease_s: seconds after which the call of an unreachable process counts as abandoned;
            more than the tool's time limit.
        :raises CallStateError: if the call was started before and is not repeatable, was denied, or
            does not exist. It must not run.
        :raises StoreError: if the database fails. The call must not run.
        """
        changes = self._claim(lease_s)
        await self._begin(partial(_start, key=call_key, changes=changes), changes["claim"])

    async def begin(self, entry: CallRecord, *, lease_s: float = LEASE_S) -> None:
        """Record a call that no one has to approve, and its start, in one transaction.

        :param entry: a new record; its state and times are set here.
        :param lease_s: as for `start`.
        :raises StoreError: if the database fails, or the key is in use. The call must not run.
        """
        changes = self._claim(lease_s)
        row = _new_row(entry, changes["started_at"]) | changes | {"attempts": 1}
        insert = sa.insert(tool_calls).values(row)
        await self._begin(lambda connection: connection.execute(insert), changes["claim"])

    async def finish(
        self,
        call_key: str,
        result_json: str,
        state: EndState = "finished",
        *,
        private: bool = False,
    ) -> None:
        """Record the end of a call. The same end again is a no-op.

        Never raises StoreError: if the database fails, the next call of this journal writes the
        end. A result beyond `LONGEST_RESULT` characters is kept as `{"cut": true, "text": ...}`.

        :param call_key: the call's key.
        :param result_json: the result as JSON, "" for none.
        :param state: `finished`; `failed` if it certainly has no further effect; `unknown` if a
            call was interrupted, such as by its time limit, which for a `read` call is recorded as
            `failed`, since it has no effect; `denied` if it never started.
        :param private: whether the result is private, which makes the call private.
        :raises CallStateError: if the call is in a state that has no such end.
        """
        changes: dict[str, Any] = {"result": _bounded(result_json), "ended_at": self._clock()}
        if private:
            changes["private"] = True
        end = partial(_step, key=call_key, state=state, changes=changes)
        await self._write_even_later(call_key, end)

    async def abandoned(self) -> Sequence[CallRecord]:
        """Make the started calls of dead processes `unknown`.

        :returns: the calls that became unknown now.
        :raises StoreError: if the database fails.
        """
        return await self._write(partial(_abandon, owner=self._owner, now=self._clock()))

    async def list(
        self,
        *,
        key: str = "",
        user: str | None = None,
        session: str | None = None,
        turn: str | None = None,
        states: Collection[CallState] = (),
        limit: int = 0,
    ) -> Sequence[CallRecord]:
        """Return calls, in the order of their requests.

        :param key: the beginning of the call's key.
        :param user: the user; None for all.
        :param session: the session's id; None for all.
        :param turn: the turn's id; None for all.
        :param states: the states to return; empty for all.
        :param limit: at most this many of the latest calls; 0 for all.
        :raises StoreError: if the database fails.
        """
        query = sa.select(*_FIELDS).where(_calls.key.startswith(key, autoescape=True))
        for column, value in ((_calls.user, user), (_calls.session, session), (_calls.turn, turn)):
            if value is not None:
                query = query.where(column == value)
        if states:
            query = query.where(_calls.state.in_(list(states)))
        newest = query.order_by(_calls.requested_at.desc(), _calls.key.desc())
        await self._catch_up()
        read = partial(_records, query=newest.limit(limit) if limit else newest)
        return (await self._store.read(read))[::-1]

    async def resolve(self, call_key: str, outcome: CallOutcome) -> None:
        """Settle an unknown call.

        :param call_key: the call's key.
        :param outcome: what a person found out.
        :raises UsageError: if the outcome is not one of `CallOutcome`.
        :raises CallStateError: if the call is not unknown.
        :raises StoreError: if the database fails.
        """
        if outcome not in get_args(CallOutcome):
            known = did_you_mean(outcome, get_args(CallOutcome))
            raise UsageError(f"{outcome!r} is not an outcome of a call. {known}")
        await self._write(
            partial(_step, key=call_key, state="resolved", changes={"outcome": outcome})
        )

    async def aclose(self) -> None:
        """Write the ends that could not be written; those that fail again are logged."""
        try:
            await self._catch_up()
        except StoreError as error:
            count = len(self._unwritten)
            _log.error("%d ends of tool calls could not be written: %s", count, error)

    @property
    def _owner(self) -> Owner:
        return self._given_owner or this_process()

    def _claim(self, lease_s: float) -> dict[str, Any]:
        """Return the columns of a start by this process."""
        now, owner = self._clock(), self._owner
        return {
            "state": "started",
            "started_at": now,
            "ended_at": None,
            "claim": uuid.uuid4().hex,
            "host": owner.host,
            "process": owner.process,
            "expires_at": now + lease_s,
        }

    async def _begin(self, work: Callable[[sa.Connection], Any], claim: str) -> None:
        try:
            await self._write(work)
        except CallStateError:
            raise
        except BaseException:
            # The transaction may have been committed, and the call does not run.
            await self._write_even_later(claim, partial(_release, claim=claim))
            raise

    async def _write(self, work: Callable[[sa.Connection], T]) -> T:
        await self._catch_up()
        return await self._store.transact(work)

    async def _write_even_later(self, name: str, work: Callable[[sa.Connection], Any]) -> None:
        """Write even if the caller is cancelled; if the store fails, with the next call."""
        try:
            with anyio.CancelScope(shield=True):
                await self._store.transact(work)
        except CallStateError:
            raise
        except BaseException as error:
            self._unwritten[name] = work
            if not isinstance(error, StoreError):
                raise
            _log.warning("a step of a tool call is kept until it can be written: %s", error)

    async def _catch_up(self) -> None:
        """Write the kept steps. Raises StoreError."""
        for name, work in list(self._unwritten.items()):
            try:
                await self._store.transact(work)
            except CallStateError as error:
                _log.warning("a kept step of a tool call is dropped: %s", error)
            self._unwritten.pop(name, None)


def _new_row(entry: CallRecord, now: float) -> dict[str, Any]:
    changes = {"state": "requested", "requested_at": now, "started_at": None, "ended_at": None}
    holder = {"claim": "", "host": "", "process": "", "expires_at": 0.0}
    return asdict(entry) | changes | holder | {"attempts": 0, "result": "", "outcome": ""}


def _start(connection: sa.Connection, *, key: str, changes: dict[str, Any]) -> None:
    fresh = _calls.state.in_(["requested", "approved"])
    repeatable = (_calls.state == "unknown") & (_calls.effect != "write")
    update = sa.update(tool_calls).where(_calls.key == key, fresh | repeatable)
    if not connection.execute(update.values(changes | {"attempts": _calls.attempts + 1})).rowcount:
        raise CallStateError(key, _state(connection, key), "started")


def _release(connection: sa.Connection, *, claim: str) -> None:
    """Take back a start whose call does not run. No-op if the start was not committed."""
    before = sa.case((_calls.attempts > 1, "unknown"), else_="approved")
    update = sa.update(tool_calls).where(_calls.claim == claim, _calls.state == "started")
    connection.execute(update.values(state=before, attempts=_calls.attempts - 1, claim=""))


def _step(
    connection: sa.Connection, *, key: str, state: CallState, changes: dict[str, Any]
) -> None:
    """Move a call to a state, if it is in one that leads there. A repeated step is a no-op."""
    if "result" in changes:  # a call that ends after its conversation was forgotten has no text
        kept = sa.case((_calls.forgotten, ""), else_=changes["result"])
        changes = changes | {"result": kept}
    becomes: Any = state
    if state == "unknown":
        becomes = sa.case((_calls.effect == "read", "failed"), else_=state)
    leads = _calls.state.in_(_COMES_FROM[state])
    update = sa.update(tool_calls).where(_calls.key == key, leads)
    if connection.execute(update.values(changes | {"state": becomes})).rowcount:
        return
    outcome = changes.get("outcome")
    same = sa.true() if outcome is None else _calls.outcome == outcome
    query = sa.select(_calls.key).where(_calls.key == key, _calls.state == becomes, same)
    if connection.execute(query).first() is None:
        raise CallStateError(key, _state(connection, key), state)


def _state(connection: sa.Connection, key: str) -> str:
    return str(connection.execute(sa.select(_calls.state).where(_calls.key == key)).scalar() or "")


def _abandon(connection: sa.Connection, *, owner: Owner, now: float) -> Sequence[CallRecord]:
    """Make the calls unknown whose process is gone; of another host, whose lease is over."""
    of_others = (_calls.host != owner.host) | (_calls.process != owner.process)
    query = sa.select(tool_calls).where(_calls.state == "started", of_others)
    gone: dict[Owner, bool] = {}
    keys = []
    for row in connection.execute(query.order_by(_calls.requested_at, _calls.key)).all():
        holder = Owner(row.host, row.process)
        is_far = row.host != owner.host
        if (row.expires_at < now) if is_far else gone.setdefault(holder, holder.gone):
            mine = sa.update(tool_calls).where(_calls.claim == row.claim, _calls.state == "started")
            if connection.execute(mine.values(state="unknown", ended_at=now)).rowcount:
                keys.append(row.key)
    return [record for key in keys for record in _records(connection, query=_one(key))]


def _one(key: str) -> sa.Select[Any]:
    return sa.select(*_FIELDS).where(_calls.key == key)


def _records(connection: sa.Connection, *, query: sa.Select[Any]) -> Sequence[CallRecord]:
    return [CallRecord(**row) for row in connection.execute(query).mappings()]


def _bounded(result_json: str) -> str:
    if len(result_json) <= LONGEST_RESULT:
        return result_json
    return json.dumps({"cut": True, "text": result_json[:LONGEST_RESULT]})
