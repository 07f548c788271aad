"""One SQL database: connections, transactions on a worker thread, and errors in words.

SQLite by default, any database by SQLAlchemy URL. SQLite runs in WAL mode with `synchronous =
NORMAL`: a committed transaction survives the death of the process (not the loss of power, which
would cost one fsync per turn). Invariants: writes run on a worker thread, one at a time, and a
transaction that has begun is completed or rolled back before its caller continues. A caller with a
deadline (`vanta.storage.waiting`) waits no longer than that: what a lock or a slow disk holds up is
a StoreError, and is rolled back as soon as it can be.
"""

from __future__ import annotations

import functools
import json
import math
import sqlite3
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import anyio
import anyio.to_thread
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from vanta.concurrency import HomeProcess
from vanta.errors import StoreError, describe, errors_as, refused_resource
from vanta.storage.ownership import APPLICATION_ID, prepare_file
from vanta.storage.waiting import BUSY_TIMEOUT_S, WORK_S, store_wait_s
from vanta.text import redact_text, redact_url, secrets_of, well_formed_data

_BUSY_MS = math.ceil(1000 * BUSY_TIMEOUT_S)
READERS = 2
"""Read transactions that may run at the same time beside the writer."""

READ_CACHE_KB = 32_000
"""Page cache of a reading connection; SQLite's default of 2 MB holds few vectors."""

T = TypeVar("T")


@dataclass(slots=True)
class _Wait:
    """How long one call may wait for a lock. is_over: its caller has given up."""

    seconds: float = math.inf
    is_over: bool = False

    @property
    def lock_s(self) -> float:
        return -1 if math.isinf(self.seconds) else self.seconds


class Database:
    """One open database, shared by the rooms that keep tables in it.

    :param url: a SQLAlchemy URL; a file of SQLite is created if it does not exist.
    :raises StoreError: if the URL is invalid or its driver is not installed.
    """

    def __init__(self, url: str | sa.URL) -> None:
        self._one_at_a_time = anyio.CapacityLimiter(1)
        self._lock = threading.Lock()
        self._threads = anyio.CapacityLimiter(math.inf)
        self._home = HomeProcess("the store")
        try:
            self._url = sa.make_url(url)
            self._prepare_file()
            self._engine = _writing_engine(self._url)
        except StoreError:
            raise
        except Exception as error:  # an invalid port is a ValueError, a driver may raise anything
            raise StoreError(
                f"the store URL {_without_password(url)!r} cannot be used: "
                f"{redact_text(str(error), secrets_of(str(url)))}. Check "
                "store_url; a database other than SQLite needs its driver installed."
            ) from error
        self._readers = self._engine
        self._reads = self._one_at_a_time
        if self._file is not None:
            self._readers = _reading_engine(self._url)
            self._reads = anyio.CapacityLimiter(READERS)

    @property
    def _file(self) -> Path | None:
        """The file of an SQLite database, None for one in memory or on a server."""
        name = self._url.database or ":memory:"
        if "uri" in self._url.query:  # the driver reads the name as a URI
            name = unquote(name.removeprefix("file:").partition("?")[0])
        in_memory = name == ":memory:" or self._url.query.get("mode") == "memory"
        return None if in_memory or not self.is_sqlite else Path(name)

    def _prepare_file(self) -> None:
        """Refuse the file of another program before the driver touches it."""
        if self._file is not None:
            prepare_file(self._file, _without_password(self._url))

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is SQLite, which memory requires."""
        return self._url.get_backend_name() == "sqlite"

    async def transact(self, work: Callable[[sa.Connection], T]) -> T:
        """Run `work` in one transaction on the worker thread.

        Cancelled before it has begun, it does not begin; later, it is waited for.

        :param work: called with a connection; an exception rolls the transaction back.
        :returns: the result of `work`.
        :raises StoreError: if the database fails; the message names the store and the next step.
        """
        self._require_home()
        return await self._on_thread(
            functools.partial(self._guarded, self._transact, work), self._one_at_a_time
        )

    def transact_now(self, work: Callable[[sa.Connection], T]) -> T:
        """Run `work` in one transaction on the current thread, for code that opens a store.

        :param work: as in `transact`.
        :returns: the result of `work`.
        :raises StoreError: if the database fails.
        """
        result: T = self._guarded(self._transact, work, _Wait())
        return result

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Run `work` beside the writer. When cancelled, it is waited for.

        :param work: called with a connection that can only read.
        :returns: the result of `work`.
        :raises StoreError: if the database fails.
        """
        if self._readers is self._engine:
            return await self.transact(work)
        self._require_home()
        return await self._on_thread(functools.partial(self._read_only, work), self._reads)

    async def rewrite(self) -> bool:
        """Rewrite an SQLite database, so that neither its file nor its log holds deleted data.

        :returns: True if that is certain; False while another process still reads the old log.
        :raises StoreError: if the database fails.
        """
        self._require_home()
        call = functools.partial(self._guarded, self._vacuum, _Wait())
        return await anyio.to_thread.run_sync(call, limiter=self._one_at_a_time)

    async def aclose(self) -> None:
        """Close all connections, after the running statement."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.close, limiter=self._one_at_a_time)

    def close(self) -> None:
        """Close all connections; blocking, for a database that was never used asynchronously."""
        self._readers.dispose()
        self._engine.dispose()

    async def _on_thread(self, call: Callable[[_Wait], T], limiter: anyio.CapacityLimiter) -> T:
        """Run `call` on a worker thread once `limiter` has room, within the time that is left."""
        limit_s = store_wait_s()
        if limit_s is None:
            # What has begun is waited for even if cancelled: no thread writes afterwards.
            work = functools.partial(call, _Wait())
            return await anyio.to_thread.run_sync(work, limiter=limiter)
        ends_at = anyio.current_time() + limit_s
        with anyio.move_on_at(ends_at) as waiting:
            await limiter.acquire()
        if waiting.cancelled_caught:
            raise self._timed_out(limit_s)
        try:
            wait = _Wait(max(0.0, ends_at - anyio.current_time()))
            with anyio.CancelScope(shield=True, deadline=ends_at + WORK_S):
                work = functools.partial(call, wait)
                return await anyio.to_thread.run_sync(
                    work, limiter=self._threads, abandon_on_cancel=True
                )
            wait.is_over = True
            raise self._timed_out(limit_s)
        finally:
            limiter.release()

    def _timed_out(self, limit_s: float) -> StoreError:
        return StoreError(
            f"the store {_without_password(self._url)!r} did not answer within the {limit_s:.2g} s "
            "that were left: another process holds it, or its disk is slow. Close that process, or "
            "raise deadline_s."
        )

    def _guarded(self, work: Callable[..., T], *args: Any) -> T:
        # The lock, because asyncio's own cancellation frees the limiter while the thread runs.
        wait: _Wait = args[-1]
        with self._own_errors():
            if not self._lock.acquire(timeout=wait.lock_s):
                raise self._timed_out(wait.seconds)
            try:
                return work(*args)
            finally:
                self._lock.release()

    def _require_home(self) -> None:
        """Refuse a forked process before it waits for a thread that it does not have."""
        if self._home.left:
            raise StoreError(self._home.problem)

    def _own_errors(self) -> AbstractContextManager[None]:
        """Turn every error of the database, its driver or the work into a StoreError."""
        self._require_home()
        return errors_as(functools.partial(_explain, url=self._url))

    def _transact(self, work: Callable[[sa.Connection], T], wait: _Wait) -> T:
        with self._engine.begin() as connection:
            self._limit(connection, wait)
            result = work(connection)
            if wait.is_over:  # the caller has given up, so that this must not be stored any more
                raise self._timed_out(wait.seconds)
            return result

    def _read_only(self, work: Callable[[sa.Connection], T], wait: _Wait) -> T:
        with self._own_errors(), self._readers.connect() as connection:
            self._limit(connection, wait)
            return work(connection)

    def _limit(self, connection: sa.Connection, wait: _Wait) -> None:
        """Limit how long the database waits for another process's lock."""
        if not self.is_sqlite:
            limit_server(connection, wait.seconds)
            return
        busy_ms = math.ceil(1000 * min(wait.seconds, BUSY_TIMEOUT_S))
        if connection.info.get("busy_ms", _BUSY_MS) != busy_ms:
            connection.exec_driver_sql(f"PRAGMA busy_timeout={busy_ms}")
            connection.info["busy_ms"] = busy_ms

    def _vacuum(self, _wait: _Wait) -> bool:
        with self._engine.connect() as connection:
            alone = connection.execution_options(isolation_level="AUTOCOMMIT")
            alone.exec_driver_sql("VACUUM")
            busy, *_ = alone.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
        return not busy


def limit_server(connection: sa.Connection, wait_s: float) -> None:
    """Limit the present transaction on a server, if it is PostgreSQL.

    A wait for a lock ends after `wait_s`, at most `BUSY_TIMEOUT_S`; with a limit, a statement that
    is still at work `WORK_S` later ends as well. The server rolls the transaction back then.

    :param connection: a connection in a transaction.
    :param wait_s: seconds that are left to wait; infinite without a limit.
    """
    if connection.dialect.name != "postgresql":
        return
    lock_s = min(wait_s, BUSY_TIMEOUT_S)
    limits = {"lock_timeout": lock_s}
    if not math.isinf(wait_s):
        limits["statement_timeout"] = wait_s + WORK_S
    for name, limit_s in limits.items():
        limit_ms = max(1, math.ceil(1000 * limit_s))  # 0 would wait for ever
        connection.execute(sa.text(f"SET LOCAL {name} = {limit_ms}"))


def _writing_engine(url: sa.URL) -> sa.Engine:
    def to_json(value: Any) -> str:
        text = json.dumps(value, separators=(",", ":"))
        # An escape of a surrogate is rare: it is the pair of an emoji, or half a pair.
        return text if "\\ud" not in text else json.dumps(well_formed_data(value))

    if url.get_backend_name() != "sqlite":
        engine = sa.create_engine(
            url, json_serializer=to_json, pool_pre_ping=True, hide_parameters=True
        )
        event.listen(engine, "before_cursor_execute", _well_formed_parameters, retval=True)
        return engine
    engine = sa.create_engine(
        url,
        json_serializer=to_json,
        hide_parameters=True,  # they are text of conversations, and errors would quote them
        poolclass=sa.StaticPool,
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_S},
    )
    event.listen(engine, "connect", _tune_writer)
    event.listen(engine, "before_cursor_execute", _well_formed_parameters, retval=True)
    return engine


def _reading_engine(url: sa.URL) -> sa.Engine:
    """Return connections that only read; in WAL mode they see the last commit and block nothing."""
    engine = sa.create_engine(
        url,
        hide_parameters=True,
        poolclass=sa.QueuePool,
        pool_size=READERS,
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_S},
    )
    event.listen(engine, "connect", _tune_reader)
    event.listen(engine, "before_cursor_execute", _well_formed_parameters, retval=True)
    return engine


def _well_formed_parameters(
    _connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any
) -> tuple[str, Any]:
    """Make the text of a statement's parameters well-formed, when it is stored and when sought."""
    return statement, well_formed_data(parameters)


def _tune_writer(connection: Any, _record: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}").close()


def _tune_reader(connection: Any, _record: Any) -> None:
    for pragma in ("query_only=ON", f"cache_size=-{READ_CACHE_KB}"):
        connection.execute(f"PRAGMA {pragma}").close()


def _without_password(url: str | sa.URL) -> str:
    """Return a URL for messages: without user, password and parameters."""
    try:
        return redact_url(sa.make_url(url).render_as_string(hide_password=False))
    except Exception:  # noqa: BLE001 - this is for the message of another error
        return "(unreadable)"


def _explain(error: Exception, url: sa.URL) -> StoreError:
    """Return the error with the store's URL and the next step."""
    of_database = isinstance(error, (SQLAlchemyError, sqlite3.Error))
    cause = str(getattr(error, "orig", None) or error) if of_database else describe(error)
    cause = redact_text(cause, secrets_of(url.render_as_string(hide_password=False)))
    default = refused_resource(error) or (
        "Check that the database exists and can be written."
        if of_database
        else "The database is unchanged. Report this with its traceback."
    )
    advice = next((advice for sign, advice in _ADVICE.items() if sign in cause), default)
    return StoreError(f"the store {_without_password(url)!r} failed: {cause}. {advice}")


_ADVICE = {
    "disk is full": "Free some space and continue: stored data is safe.",
    "not a database": "The file is damaged or belongs to another program: move it away, or name "
    "another data_dir.",
    "malformed": "The file is damaged: move it away and restore a backup.",
    "readonly": "Make the file and its folder writable, or name another data_dir.",
    "unable to open": "Make the folder writable, or name another data_dir.",
    "locked": "Another process holds it: close that one, or try again.",
}
