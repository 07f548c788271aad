"""The transcript store: what was said, and a record of every turn.

SQLite by default, any database by SQLAlchemy URL. SQLite runs in WAL mode with `synchronous =
NORMAL`: what was committed survives the death of the process (not the loss of power, which would
cost an fsync a turn). Invariant: an exchange and its turn's record become durable together, or
not at all; every statement runs on a worker thread, one at a time.
"""

from __future__ import annotations

import functools
import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import anyio
import anyio.to_thread
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from vanta.context.assembly import Exchange
from vanta.errors import StoreError
from vanta.messages import Message

SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 5.0
READERS = 2
"""Threads that may read at a time beside the one that writes."""

READ_CACHE_KB = 32_000
"""What a reading connection may keep of the file in memory; SQLite's own 2 MB hold few vectors."""

T = TypeVar("T")

_tables = sa.MetaData()
_about = sa.Table("about", _tables, sa.Column("schema_version", sa.Integer, nullable=False))
_turns = sa.Table(
    "turns",
    _tables,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("user", sa.String(200), nullable=False),
    sa.Column("session", sa.String(200), nullable=False),
    sa.Column("private", sa.Boolean, nullable=False),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("track", sa.String(200)),
    sa.Column("cost_usd", sa.Float, nullable=False),
    sa.Column("finished_at", sa.Float, nullable=False),
    sa.Column("trace", sa.JSON, nullable=False),
)
_messages = sa.Table(
    "messages",
    _tables,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("user", sa.String(200), nullable=False),
    sa.Column("session", sa.String(200), nullable=False),
    sa.Column("turn_id", sa.String(32), sa.ForeignKey("turns.id"), nullable=False),
    sa.Column("private", sa.Boolean, nullable=False),
    sa.Column("role", sa.String(20), nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Index("messages_of_session", "user", "session", "id"),
)
_add_turn = sa.insert(_turns)
_add_message = sa.insert(_messages)


class Store:
    """One open store. All methods may raise StoreError, which names the store and the next step.

    clock: seconds since the epoch, for when a turn finished.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        self._url = sa.make_url(url)
        self._clock = clock
        self._one_at_a_time = anyio.CapacityLimiter(1)
        self._lock = threading.Lock()
        self._engine = sa.create_engine(
            self._url,
            json_serializer=lambda value: json.dumps(value, separators=(",", ":")),
            **_pooling(self._url),
        )
        self._readers = self._engine
        self._reads = self._one_at_a_time
        if self.is_sqlite:
            event.listen(self._engine, "connect", _tune_sqlite)
        if self.is_sqlite and self._url.database not in {None, "", ":memory:"}:
            self._readers = _reading(self._url)
            self._reads = anyio.CapacityLimiter(READERS)

    @classmethod
    def open(cls, url: str, clock: Callable[[], float] = time.time) -> Self:
        """Open or create the store at a SQLAlchemy URL. Blocking. Raises StoreError."""
        try:
            store = cls(url, clock)
        except (SQLAlchemyError, ImportError) as error:
            raise StoreError(
                f"the store URL {_shown(url)!r} cannot be used: {error}. Check store_url; "
                "a database other than SQLite needs its driver installed."
            ) from error
        store._guarded(store._create)
        return store

    @property
    def is_sqlite(self) -> bool:
        """Whether it is SQLite, where memory can live."""
        return self._url.get_backend_name() == "sqlite"

    async def history(self, user: str, session: str) -> list[Exchange]:
        """The exchanges of a session, oldest first."""
        return await self._run(self._read, user, session)

    async def add(
        self, turn: Mapping[str, Any], trace: Mapping[str, Any], exchange: Exchange | None
    ) -> None:
        """Record a turn (the columns of `turns`) and, if it was answered, its exchange."""
        await self._run(self._write, turn, trace, exchange)

    async def clear(self, user: str, session: str) -> int:
        """Forget the messages of a session; returns how many there were. Records of turns stay,
        since they hold no text."""
        return await self._run(self._clear, user, session)

    async def turns(self, user: str, session: str) -> list[dict[str, Any]]:
        """The records of a session's turns, oldest first, as JSON-ready data."""
        return await self._run(self._read_turns, user, session)

    async def transact(self, work: Callable[[sa.Connection], T]) -> T:
        """Run `work` in one transaction, for a room that keeps tables of its own here: what it
        raises takes back what it wrote. Cancelled before it began, it does not begin."""
        return await self._run(self._transact, work)

    def transact_now(self, work: Callable[[sa.Connection], T]) -> T:
        """The same, blocking; for what opens a store."""
        done: T = self._guarded(self._transact, work)
        return done

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Run `work`, which only reads, beside whoever writes. Cancelled, it is waited for."""
        if self._readers is self._engine:
            return await self.transact(work)
        call: Callable[[], T] = functools.partial(self._read_only, work)
        return await anyio.to_thread.run_sync(call, limiter=self._reads)

    async def rewrite(self) -> bool:
        """Write an SQLite database anew, so that nothing deleted is left in its file or its log;
        False while another process still reads what was there."""
        return await self._run(self._rewrite)

    async def records(
        self, *, user: str | None = None, session: str | None = None, turn: str = "", limit: int = 0
    ) -> list[dict[str, Any]]:
        """The records of turns as JSON-ready data, oldest first: of a user, of a session, with an
        id that begins with `turn`; the last `limit` of them, 0 for all."""
        return await self._run(self._read_records, user, session, turn, limit)

    async def aclose(self) -> None:
        """Close all connections; waits for a statement that is running."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.close, limiter=self._one_at_a_time)

    def close(self) -> None:
        """Close all connections, blocking; for a store that never saw an event loop."""
        self._readers.dispose()
        self._engine.dispose()

    async def _run(self, work: Callable[..., T], *args: Any) -> T:
        # A statement that has begun is waited for, cancelled or not: no thread writes behind us.
        call: Callable[[], T] = functools.partial(self._guarded, work, *args)
        return await anyio.to_thread.run_sync(call, limiter=self._one_at_a_time)

    def _guarded(self, work: Callable[..., T], *args: Any) -> T:
        # The lock, since asyncio's own cancellation frees the limiter while the thread still works.
        try:
            with self._lock:
                return work(*args)
        except SQLAlchemyError as error:
            raise _explain(error, self._url) from error

    def _transact(self, work: Callable[[sa.Connection], T]) -> T:
        with self._engine.begin() as connection:
            return work(connection)

    def _read_only(self, work: Callable[[sa.Connection], T]) -> T:
        try:
            with self._readers.connect() as connection:
                return work(connection)
        except SQLAlchemyError as error:
            raise _explain(error, self._url) from error

    def _rewrite(self) -> bool:
        with self._engine.connect() as connection:
            alone = connection.execution_options(isolation_level="AUTOCOMMIT")
            alone.exec_driver_sql("VACUUM")
            busy, *_ = alone.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
        return not busy

    def _create(self) -> None:
        with self._engine.begin() as connection:
            # Not `create_all`: it looks first and creates then, and two processes may look at once.
            for statement in _schema(self._engine.dialect):
                connection.exec_driver_sql(statement)
            found = connection.execute(sa.select(_about.c.schema_version)).scalar()
            if found is None:
                connection.execute(sa.insert(_about), {"schema_version": SCHEMA_VERSION})
        if found is not None and found > SCHEMA_VERSION:
            raise StoreError(
                f"the store {_shown(self._url)!r} was written by a newer vanta (schema {found}, "
                f"this one knows {SCHEMA_VERSION}). Upgrade vanta, or name another store_url."
            )

    def _read(self, user: str, session: str) -> list[Exchange]:
        of_session = sa.select(
            _messages.c.turn_id, _messages.c.private, _messages.c.role, _messages.c.content
        ).where(_messages.c.user == user, _messages.c.session == session)
        turns: dict[str, list[Message]] = {}
        private: dict[str, bool] = {}
        with self._engine.connect() as connection:
            for row in connection.execute(of_session.order_by(_messages.c.id)):
                turns.setdefault(row.turn_id, []).append(Message(row.role, row.content))
                private[row.turn_id] = row.private
        return [Exchange(tuple(said), private[turn], turn) for turn, said in turns.items()]

    def _write(
        self, turn: Mapping[str, Any], trace: Mapping[str, Any], exchange: Exchange | None
    ) -> None:
        with self._engine.begin() as connection:
            connection.execute(_add_turn, {**turn, "finished_at": self._clock(), "trace": trace})
            if exchange:
                connection.execute(_add_message, [_row(turn, m) for m in exchange.messages])

    def _clear(self, user: str, session: str) -> int:
        of_session = sa.delete(_messages).where(
            _messages.c.user == user, _messages.c.session == session
        )
        with self._engine.begin() as connection:
            return connection.execute(of_session).rowcount

    def _read_turns(self, user: str, session: str) -> list[dict[str, Any]]:
        of_session = sa.select(_turns).where(_turns.c.user == user, _turns.c.session == session)
        with self._engine.connect() as connection:
            rows = connection.execute(of_session.order_by(_turns.c.finished_at))
            return [dict(row._mapping) for row in rows]  # noqa: SLF001 - its documented name

    def _read_records(
        self, user: str | None, session: str | None, turn: str, limit: int
    ) -> list[dict[str, Any]]:
        wanted = sa.select(_turns).where(_turns.c.id.startswith(turn, autoescape=True))
        if user is not None:
            wanted = wanted.where(_turns.c.user == user)
        if session is not None:
            wanted = wanted.where(_turns.c.session == session)
        newest = wanted.order_by(_turns.c.finished_at.desc(), _turns.c.id)
        with self._engine.connect() as connection:
            rows = connection.execute(newest.limit(limit) if limit else newest)
            found = [dict(row._mapping) for row in rows]  # noqa: SLF001 - its documented name
        return found[::-1]


def sqlite_url(folder: Path) -> str:
    """The URL of the default store in a data directory, which is created. Raises StoreError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink(missing_ok=True)  # another process may be opening it, too
    except OSError as error:
        raise StoreError(
            f"the data directory {str(folder)!r} cannot be written: {error.strerror}. "
            "Make it writable, or name another with data_dir or VANTA_DATA_DIR."
        ) from error
    return f"sqlite:///{folder / 'vanta.db'}"


_schemas: dict[str, tuple[str, ...]] = {}


def _schema(dialect: sa.Dialect) -> tuple[str, ...]:
    """The statements that create what is not there yet, in a dialect; made once, since that takes
    as long as running them."""
    if dialect.name not in _schemas:
        made: list[CreateTable | CreateIndex] = []
        for table in _tables.sorted_tables:
            made.append(CreateTable(table, if_not_exists=True))
            made += [CreateIndex(index, if_not_exists=True) for index in table.indexes]
        _schemas[dialect.name] = tuple(str(one.compile(dialect=dialect)) for one in made)
    return _schemas[dialect.name]


def _row(turn: Mapping[str, Any], message: Message) -> dict[str, Any]:
    return {
        "user": turn["user"],
        "session": turn["session"],
        "turn_id": turn["id"],
        "private": turn["private"],
        "role": message.role,
        "content": message.content,
    }


def _pooling(url: sa.URL) -> dict[str, Any]:
    if url.get_backend_name() != "sqlite":
        return {"pool_pre_ping": True}
    arguments = {"check_same_thread": False, "timeout": BUSY_TIMEOUT_S}
    return {"poolclass": sa.StaticPool, "connect_args": arguments}


def _reading(url: sa.URL) -> sa.Engine:
    """Connections that only read; in WAL mode they see the last commit and block nobody."""
    engine = sa.create_engine(
        url,
        poolclass=sa.QueuePool,
        pool_size=READERS,
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_S},
    )
    event.listen(engine, "connect", _only_read)
    return engine


def _only_read(connection: Any, _record: Any) -> None:
    for pragma in ("query_only=ON", f"cache_size=-{READ_CACHE_KB}"):
        connection.execute(f"PRAGMA {pragma}").close()


def _tune_sqlite(connection: Any, _record: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _shown(url: str | sa.URL) -> str:
    try:
        return sa.make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return "(unreadable)"


def _explain(error: SQLAlchemyError, url: sa.URL) -> StoreError:
    """The error in words that a person can act on."""
    cause = str(getattr(error, "orig", None) or error)
    advice = "Check that the database is there and can be written."
    for sign, words in _ADVICE.items():
        if sign in cause:
            advice = words
            break
    return StoreError(f"the store {_shown(url)!r} failed: {cause}. {advice}")


_ADVICE = {
    "disk is full": "Free some space, then go on: what was stored before is safe.",
    "not a database": "The file is damaged or of another program: move it away, or name another "
    "data_dir.",
    "malformed": "The file is damaged: move it away and restore a copy.",
    "readonly": "Make the file and its folder writable, or name another data_dir.",
    "unable to open": "Make the folder writable, or name another data_dir.",
    "locked": f"Another process held it for {BUSY_TIMEOUT_S:g} s: close that one, or try again.",
}
