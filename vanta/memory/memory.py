"""The memory of a runtime: remembers messages and items, recalls what fits a question, forgets.

The store is the truth, and a turn's end pays nothing for memory: an exchange that is durable in the
store is copied with the next recall, then embedded and indexed in the background. Enter `running`
before use; background work lives in its task group and ends with it. Invariant: forgotten items
leave no byte in any file, or the receipt says what still holds them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import anyio
from anyio.abc import TaskGroup

from vanta.concurrency import HomeProcess, open_task_group
from vanta.errors import UsageError
from vanta.memory.embedder import Embedder
from vanta.memory.index import VectorIndex
from vanta.memory.items import (
    NO_FILTERS,
    Filters,
    ItemKind,
    MemoryItem,
    NewItem,
    Question,
    Recollection,
    Scope,
)
from vanta.memory.recall import PendingRecall, Recaller
from vanta.memory.search.indexing import Indexer, copy_queued, copy_quietly
from vanta.memory.search.semantic import Progress, SemanticSearch
from vanta.memory.store import forgetting, importing, repository, tables, vectors
from vanta.memory.store.forgetting import ForgetPreview, ForgetReceipt, Selection
from vanta.memory.store.importing import ReplaceCounts

if TYPE_CHECKING:
    from vanta.storage import Database

RECALL_TIMEOUT_S = 30.0
"""Default timeout of `Memory.recall` in seconds."""

PAGE = 500
"""Items that one transaction reads or writes."""


class Memory:
    """The memory of one runtime. Every method except `recall` may raise StoreError.

    Create it with `open`, then enter `running`.

    :param database: the store; its tables exist (see `open`).
    :param semantic: search by meaning; None for recall by words alone.
    :param index: the vector index that `semantic` uses; closed with the memory.
    :param index_folder: where an index keeps its files, even if none is configured now.
    :param why_lexical: why there is no `semantic`; "" if there is.
    :param clock: seconds since the epoch.
    """

    def __init__(
        self,
        database: Database,
        semantic: SemanticSearch | None = None,
        *,
        index: VectorIndex | None = None,
        index_folder: Path | None = None,
        why_lexical: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.semantic = semantic
        self.why_lexical = why_lexical
        self._home = HomeProcess("memory")
        self._database = database
        self._index = index
        self._index_folder = index_folder
        self._recaller = Recaller(
            database,
            semantic,
            clock=clock,
            catch_up=self._catch_up,
            request_sync=self.nudge,
        )
        self._sync_lock = anyio.Lock()
        self._indexer = (
            Indexer(database, semantic, self._sync_lock, self._catch_up) if semantic else None
        )
        self._tasks: TaskGroup | None = None
        self._on_forgotten: list[Callable[[str], Awaitable[str]]] = []

    @classmethod
    def open(
        cls,
        database: Database,
        embedder: Embedder | None = None,
        *,
        index: VectorIndex | None = None,
        index_folder: Path | None = None,
        why_lexical: str = "",
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Create a memory on a database, with its tables if they are missing. Blocking.

        :param database: the store.
        :param embedder: owned by the memory from now on; None for recall by words alone.
        :param index: owned by the memory from now on; None compares vectors one by one.
        :param index_folder: where an index keeps its files, even if none is configured now.
        :param why_lexical: the reason for recall by words alone.
        :param clock: seconds since the epoch.
        :raises StoreError: the tables cannot be created.
        """
        database.transact_now(tables.create_tables)
        semantic = SemanticSearch(database, embedder, index) if embedder else None
        return cls(
            database,
            semantic,
            index=index,
            index_folder=index_folder,
            why_lexical=why_lexical,
            clock=clock,
        )

    @property
    def embedder(self) -> Embedder | None:
        """The embedder, or None for recall by words alone."""
        return self.semantic.embedder if self.semantic else None

    @property
    def index(self) -> VectorIndex | None:
        """The vector index, or None if vectors are compared one by one."""
        return self._index

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the background work; on exit stop it and release the embedder and the index."""
        try:
            async with open_task_group() as tasks:
                self._tasks = tasks
                try:
                    yield
                finally:
                    self._tasks = None
                    tasks.cancel_scope.cancel()
        finally:
            await self._release()

    async def _release(self) -> None:
        with anyio.CancelScope(shield=True):
            if self.semantic is not None:
                await self.semantic.aclose()
            if self._index is not None:
                await self._index.aclose()

    def begin_recall(self, question: Question, timeout_s: float) -> PendingRecall:
        """Start a recall in the background.

        :param question: what to recall for.
        :param timeout_s: seconds after which the result is empty.
        :returns: the pending recall; await its `get`.
        """
        pending, question = PendingRecall(timeout_s), question.shortened()
        if self._tasks is None:
            pending.settle(Recollection(skipped="memory is closed"))
        elif self._home.left:
            pending.settle(Recollection(skipped=self._home.problem))
        else:
            self._tasks.start_soon(self._recaller.serve, question, pending)
        return pending

    async def recall(self, question: Question, timeout_s: float = RECALL_TIMEOUT_S) -> Recollection:
        """Return the items that fit a question, best first. Never raises.

        :param question: what to recall for.
        :param timeout_s: seconds after which the result is empty.
        """
        return await self.begin_recall(question, timeout_s).get()

    async def add(self, items: Iterable[NewItem]) -> list[int]:
        """Remember items.

        :param items: the items; one transaction for every 500.
        :returns: their ids, in order.
        """
        await self._catch_up()
        new_items = list(items)
        ids: list[int] = []
        for start in range(0, len(new_items), PAGE):
            page = new_items[start : start + PAGE]
            ids += await self._database.transact(partial(repository.add_items, items=page))
        self.nudge()
        return ids

    async def add_missing(self, items: Sequence[NewItem], progress: Progress | None = None) -> int:
        """Remember the items of an export that are not stored yet.

        :param items: the items; one that the export has twice is stored twice, and a public one
            that is stored as private is not added.
        :param progress: called with the number of items examined and the total.
        :returns: the number of items added.
        """
        await self._catch_up()
        seen: Counter[Any] = Counter()
        added = 0
        for start in range(0, len(items), PAGE):
            page = items[start : start + PAGE]
            write = partial(importing.add_missing, items=page, seen=seen)
            added += len(await self._database.transact(write))
            if progress:
                progress(start + len(page), len(items))
        self.nudge()
        return added

    async def replace(
        self,
        user: str,
        tag: str,
        items: Sequence[NewItem],
        kind: ItemKind = "document",
        *,
        publish: bool = False,
    ) -> ReplaceCounts:
        """Replace all items of a user that have a kind and a tag.

        :param user: the user.
        :param tag: the tag; each of `items` has it.
        :param items: the new items; a text that was stored before keeps its vector.
        :param kind: the kind of the items.
        :param publish: True makes public what was private. Otherwise all of `items` are private
            if one that they replace is, or if a private document has one of their texts.
        :returns: how many items were added, removed and unchanged.
        """
        replace = partial(importing.replace, user=user, tag=tag, items=items, kind=kind)
        counts = await self._database.transact(partial(replace, publish=publish))
        self.nudge()
        return counts

    async def retag(self, user: str, item_id: int, tags: Sequence[str]) -> None:
        """Set the tags of an item.

        :param user: the owner of the item; no other user's item is changed.
        :param item_id: the item.
        :param tags: the new tags.
        """
        write = partial(repository.retag, user=user, item_id=item_id, tags=tags)
        await self._database.transact(write)

    async def ready(self, scope: Scope, progress: Progress | None = None) -> str:
        """Wait until recall by meaning is complete for a scope: embedder loaded, every text
        embedded, index in sync.

        :param scope: the scope whose partitions of the index are checked.
        :param progress: called with the number of embedded texts and the total.
        :returns: why recall by meaning is incomplete; "" if it is complete.
        """
        if self._indexer is None:
            return self.why_lexical
        return await self._indexer.complete(scope, progress)

    async def get(self, scope: Scope, ids: Sequence[int]) -> list[MemoryItem]:
        """Return items by id.

        :param scope: items outside it are left out.
        :param ids: the ids; unknown ids are ignored.
        :returns: the items, in the order of `ids`.
        """
        return await self._database.read(partial(repository.items_by_id, scope=scope, ids=ids))

    async def newest(
        self, scope: Scope, *, filters: Filters = NO_FILTERS, limit: int = PAGE
    ) -> list[MemoryItem]:
        """Return the latest items of a scope, in chronological order.

        :param scope: whose items.
        :param filters: conditions on the items.
        :param limit: maximum number of items.
        """
        await self._catch_up()
        read = partial(repository.newest_items, scope=scope, filters=filters, limit=limit)
        return await self._database.read(read)

    async def recent(
        self,
        scope: Scope,
        *,
        filters: Filters = NO_FILTERS,
        after_id: int = 0,
        limit: int = PAGE,
    ) -> list[MemoryItem]:
        """Return items of a scope in the order of their ids.

        :param scope: whose items.
        :param filters: conditions on the items.
        :param after_id: return only items with a greater id.
        :param limit: maximum number of items.
        """
        await self._catch_up()
        read = partial(
            repository.items_after, scope=scope, filters=filters, after_id=after_id, limit=limit
        )
        return await self._database.read(read)

    async def arrivals(self, after_id: int, limit: int = PAGE) -> list[MemoryItem]:
        """Return items of all users, private ones included, in the order of their ids; for
        background work that serves no single user.

        :param after_id: return only items with a greater id.
        :param limit: maximum number of items.
        """
        await self._catch_up()
        read = partial(repository.all_items, user=None, after_id=after_id, limit=limit)
        return await self._database.read(read)

    async def export(self, user: str | None = None) -> AsyncIterator[MemoryItem]:
        """Iterate over all items, private ones included, in the order of their ids.

        :param user: limit to one user; None for all users.
        """
        await self._catch_up()
        last_id = 0
        while page := await self._database.read(
            partial(repository.all_items, user=user, after_id=last_id, limit=PAGE)
        ):
            for item in page:
                yield item
            last_id = page[-1].id

    async def preview_forget(self, selection: Selection) -> ForgetPreview:
        """Return what `forget` would remove, without removing it.

        :param selection: what to forget.
        """
        await self._catch_up()
        return await self._database.transact(partial(forgetting.preview, selection=selection))

    async def forget(self, selection: Selection) -> ForgetReceipt:
        """Forget for good: afterwards no byte of text or vector is in any file.

        :param selection: what to forget.
        :returns: what was removed, and whether it is certain that no byte is left.
        :raises UsageError: the selection is empty.
        """
        if not selection.is_set:
            raise UsageError(
                "nothing is selected to be forgotten: name items, a session, a time, a tag, or "
                "everything."
            )
        began = time.perf_counter()
        await self._catch_up()
        async with self._sync_lock:
            removed = await self._database.transact(partial(forgetting.remove, selection=selection))
            caches = [await callback(selection.user) for callback in self._on_forgotten]
            reasons = [*filter(None, caches), *await self._clean(selection.user)]
        self.nudge()
        why = "; ".join(reasons)
        return ForgetReceipt(removed, not why, why, time.perf_counter() - began)

    def on_forgotten(self, callback: Callable[[str], Awaitable[str]]) -> None:
        """Register a callback for caches that may hold forgotten text.

        :param callback: called with the user whose items were forgotten; returns why its cache may
            still hold them, "" if it does not.
        """
        self._on_forgotten.append(callback)

    async def stats(self, user: str | None = None) -> dict[str, Any]:
        """Return JSON-ready figures: items, vectors, queues, the embedder and the index.

        :param user: limit the item figures to one user; None for all users.
        """
        await self._catch_up()
        figures = await self._database.read(partial(repository.count_items, user=user))
        trouble, semantic = self.why_lexical, self.semantic
        if semantic is not None:
            trouble = semantic.embedder_error or semantic.index_error
        return figures | {
            "embedder": semantic.embedder.name if semantic else None,
            "index": self._index.name if self._index else None,
            "trouble": trouble,
        }

    async def reindex(self, progress: Progress | None = None, *, anew: bool = False) -> None:
        """Embed every text without a vector of the current embedder and bring the index in sync.
        An interrupted run is continued by the next.

        :param progress: called with the number of embedded texts and the total.
        :param anew: delete all current vectors first.
        :raises EmbedderError: the embedder cannot be used.
        :raises UsageError: the memory has no embedder.
        """
        if self._indexer is None:
            raise UsageError(f"nothing can be indexed without an embedder: {self.why_lexical}")
        await self._indexer.reindex(progress, anew=anew)

    async def state(self, key: str) -> str | None:
        """Return the value that a companion stored under a key, or None.

        :param key: the companion's key.
        """
        return await self._database.read(partial(repository.get_state, key=f"of:{key}"))

    async def set_state(self, key: str, value: str) -> None:
        """Store a value for a companion; it survives restarts.

        :param key: the companion's key.
        :param value: the value.
        """
        write = partial(repository.set_state, key=f"of:{key}", value=value)
        await self._database.transact(write)

    def nudge(self) -> None:
        """Request what is due in the background: copies of messages, vectors, the index."""
        if self._indexer is not None:
            self._indexer.request(self._tasks)
        elif self._tasks is not None:
            self._tasks.start_soon(copy_quietly, self._database)

    async def _catch_up(self) -> None:
        """Copy queued messages into memory, and store the terms of items that have none."""
        await copy_queued(self._database)

    async def _clean(self, user: str) -> list[str]:
        """Remove every byte of the removed items; return why some may be left."""
        if self.semantic is not None and self.semantic.loaded:
            await self.semantic.invalidate(user)
        reasons = []
        if self._index is not None:
            reasons.append(await vectors.try_wipes(self._database, self._index))
        elif self._index_folder is not None and self._index_folder.exists():
            reasons.append(
                f"{str(self._index_folder)!r} belongs to an index that is off now and may hold "
                "vectors: remove it, or turn memory.index on and forget again"
            )
        await self._database.transact(forgetting.rebuild_full_text_index)
        if not await self._database.rewrite():
            reasons.append(
                "another process reads the store, so its log could not be emptied: close that "
                "process and forget again"
            )
        return [reason for reason in reasons if reason]
