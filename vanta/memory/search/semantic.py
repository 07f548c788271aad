"""Meaning: the embedder, the vector index, and how both are kept in step with the store.

A question becomes a vector, and the nearest items are looked up in the vector index once that is
known to be in step; until then, and wherever it fails, the store's own vectors are compared one by
one (`ScanIndex`), as far as there are not too many. Invariant: nothing here makes a recall fail, it
only makes it poorer, and says so; private texts never reach an embedder that is not private.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import anyio

from vanta.errors import EmbedderError, VectorIndexError
from vanta.memory.embedder import Embedder
from vanta.memory.index import Partition, VectorIndex
from vanta.memory.items import Scope
from vanta.memory.search.exact_index import ScanIndex
from vanta.memory.store import index_wipes as wiping
from vanta.memory.store import vectors
from vanta.memory.store.database import Database

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from vanta.memory.index import Vectors

    Vector = npt.NDArray[np.float32]

AT_ONCE = 32
"""Texts that are embedded in one go: short enough to yield to a turn soon."""

LINES = 500
"""Lines of the outbox that are taken at a time."""

SCAN_MOST = 20_000
"""Vectors of a partition that are compared one by one while the index is not there."""

SCANNED = 16
"""Partitions whose vectors are kept in memory for that."""

_log = logging.getLogger("vanta.memory")


@dataclass(frozen=True, slots=True)
class Near:
    """What meaning adds to a recall. index: who looked, None if nobody could. note: what did not
    take part, and why."""

    vector: Vector | None = None
    ids: tuple[int, ...] = ()
    index: str | None = None
    note: str = ""


class Dense:
    """The embedder and the index of one runtime. One task at a time calls `load` and `advance`."""

    def __init__(
        self, database: Database, embedder: Embedder, index: VectorIndex | None = None
    ) -> None:
        self.embedder = embedder
        self.index = index
        self.loaded = False
        self.trouble = ""
        self.index_trouble = ""
        self._database = database
        self._scan = ScanIndex()
        self._scanned: OrderedDict[Partition, None] = OrderedDict()
        self._scan_lock = anyio.Lock()
        self._trusted: set[Partition] = set()
        self._asked: set[Partition] = set()
        self._said: set[str] = set()

    @property
    def wants_to_advance(self) -> bool:
        """Whether a partition was searched that is not known to be in step."""
        return self.index is not None and bool(self._asked)

    async def load(self) -> None:
        """Make the embedder ready; the index follows with the first `advance`. Raises
        EmbedderError, StoreError."""
        await self.embedder.load()
        await self._database.transact(partial(vectors.adopt, embedder=self.embedder.fingerprint))
        self.loaded = True

    async def near(self, question: str, scope: Scope, limit: int) -> Near:
        """The question's vector and the items nearest to it in a scope; never raises."""
        try:
            (vector,) = await self.embedder.embed([question])
        except EmbedderError as error:
            self.trouble = str(error)
            return Near(note=f"embedder {self.embedder.name!r} failed: {error}")
        found: list[tuple[int, float]] = []
        looked: str | None = None
        for private in (False, True) if scope.private else (False,):
            name, hits = await self._search(self._partition(scope.user, private), vector, limit)
            looked = name or looked
            found += hits
        found.sort(key=lambda hit: -hit[1])
        return Near(vector, tuple(hit[0] for hit in found), looked, self.index_trouble)

    async def advance(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Embed all that waits and bring the index in step. progress: called with how many texts
        are done and how many there are. Raises EmbedderError, StoreError."""
        total = await self._database.read(vectors.count_waiting)
        done = 0
        while portion := await self._embed_some():
            done += portion
            total = max(total, done)
            if progress:
                progress(done, total)
            await self._feed()
        await self._feed()

    def ask(self, scope: Scope) -> None:
        """Have the next `advance` make sure that the index has all of a scope. After `load`."""
        for private in (False, True) if scope.private else (False,):
            self._asked.add(self._partition(scope.user, private))

    async def distrust(self, user: str) -> None:
        """Vectors of a user were removed: hold on to none of them, and look at the index anew."""
        for private in (False, True):
            partition = self._partition(user, private)
            self._trusted.discard(partition)
            await self._unscan(partition)

    async def aclose(self) -> None:
        """Release the embedder; the index is its owner's to close."""
        with anyio.CancelScope(shield=True):
            await self.embedder.aclose()
            await self._scan.aclose()

    def in_step(self, user: str, *, private: bool = False) -> bool:
        """Whether the index is known to have all of a user's vectors."""
        return self.loaded and self._partition(user, private) in self._trusted

    def _partition(self, user: str, private: bool) -> Partition:
        return Partition(user, private, self.embedder.fingerprint, self.embedder.dimension)

    async def _search(
        self, partition: Partition, vector: Vector, limit: int
    ) -> tuple[str | None, list[tuple[int, float]]]:
        if self.index is not None and partition in self._trusted:
            try:
                (hits,) = await self.index.search(partition, vector[None, :], limit)
            except VectorIndexError as error:
                self._distrust(partition, error)
            else:
                return self.index.name, hits
        self._asked.add(partition)
        if not await self._fill_scan(partition):
            return None, []
        (hits,) = await self._scan.search(partition, vector[None, :], limit)
        return self._scan.name, hits

    async def _fill_scan(self, partition: Partition) -> bool:
        """Take over a partition's vectors, if that was not done; False if they are too many."""
        async with self._scan_lock:
            if partition not in self._scanned:
                take = partial(
                    vectors.of_partition, partition=partition, after_id=0, limit=SCAN_MOST + 1
                )
                ids, found = await self._database.read(take)
                if len(ids) > SCAN_MOST:
                    return False
                await self._scan.upsert(partition, ids, found)
            self._scanned[partition] = None
            self._scanned.move_to_end(partition)
            if len(self._scanned) > SCANNED:
                oldest, _ = self._scanned.popitem(last=False)
                await self._scan.wipe(oldest)
        return True

    async def _add_to_scan(self, texts: Sequence[vectors.Waiting], found: Vectors) -> None:
        """Vectors that were made just now, as far as their partitions are scanned."""
        async with self._scan_lock:
            for partition in self._scanned:
                mine = [
                    row
                    for row, text in enumerate(texts)
                    if (text.user, text.private) == (partition.user, partition.private)
                ]
                if mine:
                    ids = [texts[row].id for row in mine]
                    await self._scan.upsert(partition, ids, found[mine])

    async def _unscan(self, partition: Partition) -> None:
        async with self._scan_lock:
            self._scanned.pop(partition, None)
            await self._scan.wipe(partition)

    async def _embed_some(self) -> int:
        take = partial(vectors.waiting, limit=AT_ONCE, private=self.embedder.private)
        texts = await self._database.read(take)
        if not texts:
            return 0
        found = await self.embedder.embed([waiting.text for waiting in texts])
        rows = [row.astype("<f4").tobytes() for row in found]
        ids = [waiting.id for waiting in texts]
        save = partial(vectors.save, embedder=self.embedder.fingerprint, ids=ids, vectors=rows)
        await self._database.transact(save)
        await self._add_to_scan(texts, found)
        return len(texts)

    async def _feed(self) -> None:
        """Tell the index what it has not seen yet; what it cannot do is noted, and waits."""
        if self.index is None:
            await self._database.transact(partial(vectors.drop_outbox, embedder=None))
            return
        try:
            await self.index.load()
            await wiping.wipe_asked(self._database, self.index)
            await self._follow(self.index)
            await self._check_asked(self.index)
        except VectorIndexError as error:
            self._note(error)
        else:
            self.index_trouble = ""

    async def _follow(self, index: VectorIndex) -> None:
        """Work through the outbox."""
        fingerprint, dimension = self.embedder.fingerprint, self.embedder.dimension
        take = partial(vectors.changes, embedder=fingerprint, dimension=dimension, limit=LINES)
        rebuilt: set[Partition] = set()
        while found := await self._database.read(take):
            for change in found:
                if await self._apply(index, change, rebuilt):
                    await self._database.transact(partial(vectors.done, lines=change.lines))

    async def _apply(
        self, index: VectorIndex, change: vectors.Change, rebuilt: set[Partition]
    ) -> bool:
        """One change; a partition that fails is begun anew, once, and what was to be done to it is
        still to be done. True if it is done."""
        try:
            if change.ids:
                await index.upsert(change.partition, change.ids, change.vectors)
            if change.gone:
                await index.delete(change.partition, change.gone)
        except VectorIndexError as error:
            self._distrust(change.partition, error)
            if error.owned or change.partition in rebuilt:
                raise
            rebuilt.add(change.partition)
            await self._rebuild(index, change.partition)
            return False
        return True

    async def _check_asked(self, index: VectorIndex) -> None:
        """Compare the partitions that were asked for with the store; from then on they are
        trusted, and searched in the index."""
        for partition in self._asked - self._trusted:
            try:
                there = await index.ids(partition)
            except VectorIndexError as error:
                if error.owned:
                    raise
                self._note(error)
                await self._rebuild(index, partition)
                there = await index.ids(partition)
            compare = partial(vectors.compare, partition=partition, there=there)
            if await self._database.transact(compare):
                await self._follow(index)
            self._trusted.add(partition)
            await self._unscan(partition)
        self._asked.clear()

    async def _rebuild(self, index: VectorIndex, partition: Partition) -> None:
        """Begin a partition anew: empty, and all of it in the outbox."""
        await index.wipe(partition)
        compare = partial(vectors.compare, partition=partition, there=frozenset())
        await self._database.transact(compare)

    def _distrust(self, partition: Partition, error: VectorIndexError) -> None:
        self._trusted.discard(partition)
        self._asked.add(partition)
        self._note(error)

    def _note(self, error: Exception) -> None:
        """Keep what is wrong for traces and `vanta memory stats`, and log it once."""
        self.index_trouble = str(error)
        if self.index_trouble not in self._said:
            self._said.add(self.index_trouble)
            _log.warning("memory goes on without its vector index: %s", error)
