"""Embedding and indexing: on request, and in the background.

Invariant: one task at a time loads the embedder or synchronises the index. It holds the lock that
`Memory.forget` holds, too.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup

from vanta.errors import EmbedderError, StoreError, VantaError, describe
from vanta.memory.items import Scope
from vanta.memory.search.semantic import Progress, SemanticSearch
from vanta.memory.store import repository, vectors

if TYPE_CHECKING:
    from vanta.storage import Database

_log = logging.getLogger("vanta.memory")


async def copy_queued(database: Database) -> None:
    """Copy queued messages into memory, and store the terms of items that have none. Raises
    StoreError."""
    if await database.read(repository.has_queued):
        await _copy(database)


async def _copy(database: Database) -> None:
    while await database.transact(repository.copy_batch):
        pass


async def copy_quietly(database: Database) -> None:
    """Copy queued messages in the background, so that the next recall need not. Never raises."""
    try:
        await _copy(database)
    except StoreError as error:  # the next recall tries again, and reports it
        _log.debug("messages are not copied for now: %s", error)


class Indexer:
    """Synchronises `semantic` with the store. lock: see above. catch_up: awaited first, so that the
    store has every message."""

    def __init__(
        self,
        database: Database,
        semantic: SemanticSearch,
        lock: anyio.Lock,
        catch_up: Callable[[], Awaitable[None]],
    ) -> None:
        self._database = database
        self._semantic = semantic
        self._lock = lock
        self._catch_up = catch_up
        self._work_arrived = anyio.Event()
        self._started = False

    def request(self, tasks: TaskGroup | None) -> None:
        """Request work in the background; the first call with a task group starts the task."""
        self._work_arrived.set()
        if tasks is not None and not self._started:
            self._started = True
            tasks.start_soon(self._work)

    async def complete(self, scope: Scope, progress: Progress | None) -> str:
        """Synchronise a scope; return why it is incomplete, "" if it is complete."""
        semantic = self._semantic
        try:
            async with self._lock:
                await self._catch_up()
                await self._load()
                semantic.request_check(scope)
                await semantic.sync(progress)
        except EmbedderError as error:
            semantic.embedder_error = str(error)
            return str(error)
        return semantic.index_error

    async def reindex(self, progress: Progress | None, *, anew: bool) -> None:
        """Synchronise all users and delete the vectors of other embedders. anew: delete the vectors
        of the current one first, too. Raises EmbedderError."""
        try:
            async with self._lock:
                await self._reindex(progress, anew=anew)
            self._semantic.embedder_error = ""
        except EmbedderError as error:
            self._semantic.embedder_error = str(error)
            raise

    async def _reindex(self, progress: Progress | None, *, anew: bool) -> None:
        semantic = self._semantic
        await self._catch_up()
        await self._load()
        for user in await self._database.read(repository.list_users):
            semantic.request_check(Scope(user, private=True))
        if anew:
            await self._database.transact(vectors.drop_all_vectors)
        else:
            await semantic.sync(progress)
            fingerprint = semantic.embedder.fingerprint
            drop = partial(vectors.drop_other_vectors, embedder=fingerprint)
            await self._database.transact(drop)
        await semantic.sync(progress)

    async def _work(self) -> None:
        """Synchronise whenever there is work, until cancelled."""
        semantic = self._semantic
        while True:
            await self._work_arrived.wait()
            self._work_arrived = anyio.Event()
            try:
                async with self._lock:
                    await self._load()
                    await self._catch_up()
                    await semantic.sync()
                semantic.embedder_error = ""
            except Exception as error:  # noqa: BLE001 - background work must not end the runtime
                problem = str(error) if isinstance(error, VantaError) else describe(error)
                if problem != semantic.embedder_error:
                    _log.warning("memory is not indexed for now: %s", problem)
                semantic.embedder_error = problem

    async def _load(self) -> None:
        if not self._semantic.loaded:
            await self._semantic.load()
