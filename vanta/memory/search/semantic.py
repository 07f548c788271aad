"""Search by meaning: the embedder, the vector index, and how both are kept in sync with the store.

A question is embedded. If a partition has few vectors, all are compared (`ExactIndex`); those of a
larger one are searched in the vector index, once that is known to be in sync. Until then, and
whenever the index fails, they are compared one by one, too, if there are not too many. Invariants:
a failure here makes a recall poorer, with a note in its result, but never makes it fail; private
texts never reach an embedder that is not private.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import anyio

from vanta.errors import EmbedderError, VectorIndexError, describe, errors_as
from vanta.memory.embedder import CosineScale, Embedder, Vectors
from vanta.memory.index import Partition, VectorIndex, index_errors
from vanta.memory.items import Scope
from vanta.memory.search.exact_index import ExactIndex
from vanta.memory.search.unrelated import measure_unrelated
from vanta.memory.store import vectors
from vanta.privacy import remove_quotations

if TYPE_CHECKING:
    from vanta.storage import Database

NEIGHBOURS = 100
"""Neighbours that are requested from the vector index."""

EMBED_BATCH = 32
"""Texts that are embedded in one call: few enough to yield to a turn soon."""

OUTBOX_BATCH = 500
"""Entries of the outbox that are read at a time."""

SMALL_PARTITION = 10_000
"""Vectors of a partition that are compared one by one even if there is an index: an index in
another process answers later than that takes."""

MAX_EXACT = 20_000
"""Vectors of a partition that are compared one by one while the index is unavailable."""

KNOWN_QUESTIONS = 64
"""Questions whose vectors stay in memory, such as one that is asked again."""

EXACT_PARTITIONS = 16
"""Partitions whose vectors are kept in memory for that."""

Progress = Callable[[int, int], None]
"""Called with the number of processed items and the total."""

_log = logging.getLogger("vanta.memory")


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The result of a search by meaning. vector: the question's, shape (dimension,). ids: nearest
    first. index: name of the index that was searched, None if none was. note: which part did not
    take part, and why."""

    vector: Vectors | None = None
    ids: tuple[int, ...] = ()
    index: str | None = None
    note: str = ""


class SemanticSearch:
    """The embedder and the index of one memory. Only one task at a time may call `load` and `sync`.

    :param database: the store.
    :param embedder: closed by `aclose`.
    :param index: the vector index; not closed by `aclose`. None compares vectors one by one.
    :ivar loaded: whether the embedder is ready.
    :ivar unrelated: the cosines of unrelated texts; None until it is known.
    :ivar embedder_error: the embedder's latest failure, "" if there is none.
    :ivar index_error: the index's latest failure, "" if there is none.
    """

    def __init__(
        self, database: Database, embedder: Embedder, index: VectorIndex | None = None
    ) -> None:
        self.embedder = embedder
        self.index = index
        self.loaded = False
        self.embedder_error = ""
        self.index_error = ""
        self.unrelated: CosineScale | None = None
        self._database = database
        self._exact = ExactIndex()
        self._exact_partitions: OrderedDict[Partition, int] = OrderedDict()
        self._exact_lock = anyio.Lock()
        self._larger_than: dict[Partition, int] = {}
        self._in_sync: set[Partition] = set()
        self._unchecked: set[Partition] = set()
        self._logged: set[str] = set()
        self._questions: OrderedDict[bytes, Vectors] = OrderedDict()

    @property
    def has_unchecked(self) -> bool:
        """Whether a partition was searched without knowing that the index is in sync."""
        return self.index is not None and bool(self._unchecked)

    async def load(self) -> None:
        """Load the embedder; the first `sync` loads the index.

        :raises EmbedderError: the embedder cannot be used.
        :raises StoreError: the store cannot be read or written.
        """
        with self._embedder_errors():
            await self.embedder.load()
            if self.unrelated is None:
                self.unrelated = self.embedder.unrelated or await measure_unrelated(self.embedder)
        queue = partial(vectors.queue_for_embedder, embedder=self.embedder.fingerprint)
        await self._database.transact(queue)
        self.loaded = True

    async def neighbours(self, question: str, scope: Scope, limit: int) -> Neighbours:
        """Embed a question and return its nearest items. Embedder and index failures end up in the
        note.

        :param question: the text.
        :param scope: whose items are searched; its session is ignored.
        :param limit: maximum number of items for each of the public and the private partition.
        """
        try:
            vector = await self._question_vector(question)
        except EmbedderError as error:
            self.embedder_error = str(error)
            return Neighbours(note=f"embedder {self.embedder.name!r} failed: {error}")
        hits: list[tuple[int, float]] = []
        searched: str | None = None
        for partition in self._partitions(scope.user, private=scope.private):
            index, partition_hits = await self._search(partition, vector, limit)
            if searched in {None, self._exact.name}:
                searched = index or searched
            hits += partition_hits
        hits.sort(key=lambda hit: -hit[1])
        return Neighbours(vector, tuple(hit[0] for hit in hits), searched, self.index_error)

    async def sync(self, progress: Progress | None = None) -> None:
        """Embed all pending texts and bring the index in sync.

        :param progress: called with the number of embedded texts and the total.
        :raises EmbedderError: the texts cannot be embedded.
        :raises StoreError: the store cannot be read or written.
        """
        total = await self._database.read(vectors.count_pending)
        done = 0
        while embedded := await self._embed_batch():
            done += embedded
            total = max(total, done)
            if progress:
                progress(done, total)
            await self._sync_index()
        await self._sync_index()

    def request_check(self, scope: Scope) -> None:
        """Have the next `sync` check that the index has all vectors of a scope; after `load`.

        :param scope: its session is ignored.
        """
        self._unchecked.update(self._partitions(scope.user, private=scope.private))

    async def invalidate(self, user: str) -> None:
        """Drop what is known about a user's vectors, after some were removed.

        :param user: the user.
        """
        self._questions.clear()
        for partition in self._partitions(user, private=True):
            self._in_sync.discard(partition)
            await self._drop_exact(partition)

    async def aclose(self) -> None:
        """Release the embedder."""
        with anyio.CancelScope(shield=True):
            await self.embedder.aclose()
            await self._exact.aclose()

    def _partitions(self, user: str, *, private: bool) -> list[Partition]:
        """Return the public partition of a user and, if `private`, the private one."""
        embedder = self.embedder
        return [
            Partition(user, is_private, embedder.fingerprint, embedder.dimension)
            for is_private in ((False, True) if private else (False,))
        ]

    async def _search(
        self, partition: Partition, vector: Vectors, limit: int
    ) -> tuple[str | None, list[tuple[int, float]]]:
        """Return the name of the index that was searched, and its hits."""
        is_synced = self.index is not None and partition in self._in_sync
        if not is_synced:
            self._unchecked.add(partition)
        if is_synced and not await self._fill_exact(partition, SMALL_PARTITION):
            assert self.index is not None  # noqa: S101 - it is in sync
            try:
                with index_errors():
                    (hits,) = await self.index.search(partition, vector[None, :], limit)
            except VectorIndexError as error:
                self._mark_out_of_sync(partition, error)
            else:
                return self.index.name, hits
        if not await self._fill_exact(partition, MAX_EXACT):
            return None, []
        (hits,) = await self._exact.search(partition, vector[None, :], limit)
        return self._exact.name, hits

    async def _fill_exact(self, partition: Partition, most: int) -> bool:
        """Load a partition into the exact index if necessary; return False if it has more vectors
        than `most`."""
        async with self._exact_lock:
            if partition not in self._exact_partitions:
                if self._larger_than.get(partition, -1) >= most:
                    return False
                read = partial(vectors.read_partition, partition=partition, limit=most + 1)
                ids, rows = await self._database.read(read)
                if len(ids) > most:
                    self._larger_than[partition] = most
                    return False
                await self._exact.upsert(partition, ids, rows)
                self._exact_partitions[partition] = len(ids)
            elif self._exact_partitions[partition] > most:
                return False  # it has grown
            self._exact_partitions.move_to_end(partition)
            if len(self._exact_partitions) > EXACT_PARTITIONS:
                oldest, _ = self._exact_partitions.popitem(last=False)
                await self._exact.wipe(oldest)
        return True

    async def _add_to_exact(self, texts: Sequence[vectors.PendingText], rows: Vectors) -> None:
        """Add new vectors to those partitions that the exact index holds."""
        async with self._exact_lock:
            for partition in self._exact_partitions:
                positions = [
                    position
                    for position, text in enumerate(texts)
                    if (text.user, text.private) == (partition.user, partition.private)
                ]
                if positions:
                    ids = [texts[position].id for position in positions]
                    await self._exact.upsert(partition, ids, rows[positions])
                    self._exact_partitions[partition] += len(ids)

    async def _mirror(self, change: vectors.IndexChange) -> None:
        """Apply a change, perhaps another process's, to the exact index if it has the partition."""
        async with self._exact_lock:
            if change.partition in self._exact_partitions:
                if change.ids:
                    await self._exact.upsert(change.partition, change.ids, change.vectors)
                if change.removed:
                    await self._exact.delete(change.partition, change.removed)

    async def _drop_exact(self, partition: Partition) -> None:
        async with self._exact_lock:
            self._larger_than.pop(partition, None)
            self._exact_partitions.pop(partition, None)
            await self._exact.wipe(partition)

    async def _question_vector(self, question: str) -> Vectors:
        """Return the vector of a question; those of the latest ones are known, by their digests."""
        key = hashlib.blake2b(question.encode("utf-8", "surrogatepass")).digest()
        vector = self._questions.pop(key, None)
        if vector is None:
            (vector,) = await self._embed([question])
        self._questions[key] = vector
        if len(self._questions) > KNOWN_QUESTIONS:
            self._questions.popitem(last=False)
        return vector

    async def _embed(self, texts: Sequence[str]) -> Vectors:
        """Return the texts' vectors; an error repeats nothing of the texts."""
        try:
            with self._embedder_errors():
                return await self.embedder.embed(texts)
        except EmbedderError as error:
            problem = remove_quotations(str(error), texts)
        raise EmbedderError(problem)

    async def _embed_batch(self) -> int:
        """Embed and store the next pending texts; return how many."""
        read = partial(vectors.pending_texts, limit=EMBED_BATCH, private=self.embedder.private)
        texts = await self._database.read(read)
        if not texts:
            return 0
        rows = await self._embed([pending.text for pending in texts])
        save = partial(
            vectors.save_vectors,
            embedder=self.embedder.fingerprint,
            ids=[pending.id for pending in texts],
            vectors=[row.astype("<f4").tobytes() for row in rows],
        )
        await self._database.transact(save)
        await self._add_to_exact(texts, rows)
        return len(texts)

    async def _sync_index(self) -> None:
        """Apply all pending changes to the index; on failure note the error and leave the rest."""
        if self.index is None:
            await self._database.transact(vectors.clear_outbox)
            return
        try:
            with index_errors():
                await self.index.load()
                await vectors.run_wipes(self._database, self.index)
                await self._apply_changes(self.index)
                await self._check_partitions(self.index)
        except VectorIndexError as error:
            self._note(error)
        else:
            self.index_error = ""

    async def _apply_changes(self, index: VectorIndex) -> None:
        """Work through the outbox."""
        read = partial(
            vectors.pending_changes,
            embedder=self.embedder.fingerprint,
            dimension=self.embedder.dimension,
            limit=OUTBOX_BATCH,
        )
        rebuilt: set[Partition] = set()
        while changes := await self._database.read(read):
            for change in changes:
                if await self._apply(index, change, rebuilt):
                    await self._database.transact(
                        partial(vectors.mark_applied, entries=change.entries)
                    )

    async def _apply(
        self, index: VectorIndex, change: vectors.IndexChange, rebuilt: set[Partition]
    ) -> bool:
        """Apply one change and return True. A partition that fails is rebuilt once: the change
        stays in the outbox, and the result is False."""
        try:
            with index_errors():
                if change.ids:
                    await index.upsert(change.partition, change.ids, change.vectors)
                if change.removed:
                    await index.delete(change.partition, change.removed)
        except VectorIndexError as error:
            self._mark_out_of_sync(change.partition, error)
            if error.owned or change.partition in rebuilt:
                raise
            rebuilt.add(change.partition)
            await self._rebuild(index, change.partition)
            return False
        await self._mirror(change)
        return True

    async def _check_partitions(self, index: VectorIndex) -> None:
        """Compare the requested partitions with the store. Afterwards they are in sync, and
        searches use the index."""
        for partition in self._unchecked - self._in_sync:
            try:
                ids = await index.ids(partition)
            except VectorIndexError as error:
                if error.owned:
                    raise
                self._note(error)
                await self._rebuild(index, partition)
                ids = await index.ids(partition)
            queue = partial(vectors.queue_differences, partition=partition, indexed=ids)
            if await self._database.transact(queue):
                await self._apply_changes(index)
            self._in_sync.add(partition)
            if len(ids) > SMALL_PARTITION:
                await self._drop_exact(partition)
        self._unchecked.clear()

    async def _rebuild(self, index: VectorIndex, partition: Partition) -> None:
        """Empty a partition and queue all its vectors."""
        await index.wipe(partition)
        queue = partial(vectors.queue_differences, partition=partition, indexed=frozenset())
        await self._database.transact(queue)

    def _mark_out_of_sync(self, partition: Partition, error: VectorIndexError) -> None:
        self._in_sync.discard(partition)
        self._unchecked.add(partition)
        self._note(error)

    def _embedder_errors(self) -> AbstractContextManager[None]:
        """Turn every exception of the embedder's plugin into an EmbedderError."""
        name = self.embedder.name
        return errors_as(
            lambda error: EmbedderError(
                f"embedder {name!r} failed: {describe(error)}. Reinstall its plugin, or choose "
                "another one with memory.embedder."
            )
        )

    def _note(self, error: Exception) -> None:
        """Keep an error for traces and `vanta memory stats`, and log it once."""
        self.index_error = str(error)
        if self.index_error not in self._logged:
            self._logged.add(self.index_error)
            _log.warning("memory continues without its vector index: %s", error)
