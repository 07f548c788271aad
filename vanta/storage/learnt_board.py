"""What running processes have learnt about tracks, where `vanta doctor` can read it.

Invariant: a row has no text of a server, belongs to one process, and is removed once its time is
over. A person removes rows with `vanta learnt forget`; the process that wrote them then forgets
what they say with its next turn.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy.schema import CreateTable

from vanta.learning import Learnt
from vanta.storage.database import Database

CHECK_S = 2.0
"""Seconds between two looks at the board, while nothing new was learnt."""

WRITE_S = 60.0
"""Seconds after which facts that are still believed are written again, with their new time."""

Fact = tuple[str, str]
"""A track and what was learnt about it."""

_facts = sa.Table(
    "learnt_facts",
    sa.MetaData(),
    sa.Column("process", sa.String(60), primary_key=True),
    sa.Column("track", sa.String(200), primary_key=True),
    sa.Column("what", sa.String(40), primary_key=True),
    sa.Column("detail", sa.String(300), nullable=False),
    sa.Column("until", sa.Float, nullable=False),
)
_create = CreateTable(_facts, if_not_exists=True)


class LearntBoard:
    """The board of one database, as one process writes it.

    :param database: the open database.
    :param clock: returns seconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._process = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self._written: frozenset[Fact] = frozenset()
        self._written_at = self._checked_at = 0.0

    async def publish(self, learnt: Iterable[Learnt]) -> frozenset[Fact]:
        """Write what this process has learnt.

        Nothing is read or written as long as there is nothing. While nothing changes, the board is
        read every `CHECK_S` seconds and written every `WRITE_S` seconds at most.

        :param learnt: all that it has learnt.
        :returns: what a person has removed from the board since, and is to be forgotten.
        :raises StoreError: if the database fails.
        """
        facts = {(item.track, item.what): item for item in learnt}
        now = self._clock()
        if not (facts or self._written):
            return frozenset()
        if facts.keys() == self._written and now - self._written_at < WRITE_S:
            if now - self._checked_at < CHECK_S:
                return frozenset()
            self._checked_at = now
            if self._written <= await self._database.read(self._own):
                return frozenset()

        def work(connection: sa.Connection) -> frozenset[Fact]:
            connection.execute(_create)
            removed = self._written - self._own(connection)
            own = _facts.c.process == self._process
            connection.execute(sa.delete(_facts).where(own | (_facts.c.until < now)))
            values = [self._row(item, now) for fact, item in facts.items() if fact not in removed]
            if values:
                connection.execute(sa.insert(_facts), values)
            return removed

        removed = await self._database.transact(work)
        self._written, self._written_at, self._checked_at = frozenset(facts) - removed, now, now
        return removed

    def _own(self, connection: sa.Connection) -> frozenset[Fact]:
        """Return the facts of this process that are on the board."""
        own = _facts.c.process == self._process
        rows = connection.execute(sa.select(_facts.c.track, _facts.c.what).where(own))
        return frozenset((row.track, row.what) for row in rows)

    def _row(self, item: Learnt, now: float) -> dict[str, object]:
        return {
            "process": self._process,
            "track": item.track[:200],
            "what": item.what[:40],
            "detail": item.detail[:300],
            "until": now + item.left_s,
        }

    async def read(self) -> Sequence[Learnt]:
        """Return what all processes have learnt, the newest fact of each kind and track.

        :raises StoreError: if the database fails.
        """
        now = self._clock()

        def work(connection: sa.Connection) -> Sequence[Learnt]:
            if not sa.inspect(connection).has_table(_facts.name):
                return []
            order = (_facts.c.track, _facts.c.what, _facts.c.until)
            rows = connection.execute(
                sa.select(_facts).where(_facts.c.until > now).order_by(*order)
            )
            newest = {(row.track, row.what): row for row in rows}
            return [
                Learnt(row.track, row.what, row.detail, row.until - now) for row in newest.values()
            ]

        return await self._database.read(work)

    async def forget(self, track: str | None = None) -> int:
        """Remove facts; the processes that know them forget them with their next turn.

        :param track: the track, or None for all.
        :returns: the number of facts removed.
        :raises StoreError: if the database fails.
        """

        def work(connection: sa.Connection) -> int:
            connection.execute(_create)
            which = sa.true() if track is None else _facts.c.track == track
            return connection.execute(sa.delete(_facts).where(which)).rowcount

        return await self._database.transact(work)
