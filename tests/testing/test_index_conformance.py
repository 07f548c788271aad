"""The conformance suite of indexes passes a good index and catches each kind of bad one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import anyio.lowlevel
import pytest

from vanta.errors import VectorIndexError
from vanta.memory import Partition, VectorIndex
from vanta.memory.search import ExactIndex
from vanta.testing import IndexConformance


class TestScanIndex(IndexConformance):
    """The suite, against the exact index."""

    lasting = False

    @pytest.fixture
    def open_index(self) -> Callable[[], VectorIndex]:
        return ExactIndex


class Disk:
    """The records of an index, which outlive it as files would."""

    def __init__(self) -> None:
        self.erase()

    def erase(self) -> None:
        self.index = ExactIndex()
        self.partitions: set[Partition] = set()


class Kept(VectorIndex):
    """An exact index whose records outlive it; subclasses break one rule each."""

    name = "kept"

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.closed = False

    def require_open(self) -> None:
        if self.closed:
            raise VectorIndexError("the vector index is closed. Open another one.")

    async def load(self) -> None:
        self.require_open()
        await self.disk.index.load()

    async def upsert(self, partition: Partition, ids: Sequence[int], vectors: Any) -> None:
        self.require_open()
        self.disk.partitions.add(partition)
        await self.disk.index.upsert(partition, ids, vectors)

    async def delete(self, partition: Partition, ids: Sequence[int]) -> None:
        self.require_open()
        await self.disk.index.delete(partition, ids)

    async def search(self, partition: Partition, vectors: Any, limit: int) -> Any:
        self.require_open()
        return await self.disk.index.search(partition, vectors, limit)

    async def ids(self, partition: Partition) -> frozenset[int]:
        self.require_open()
        return await self.disk.index.ids(partition)

    async def wipe(self, partition: Partition) -> bool:
        self.require_open()
        return await self.disk.index.wipe(partition)

    async def aclose(self) -> None:
        self.closed = True


class TestAKeptIndex(IndexConformance):
    """The suite, against an index that lasts, so that nothing is skipped."""

    @pytest.fixture
    def open_index(self) -> Callable[[], VectorIndex]:
        disk = Disk()
        return lambda: Kept(disk)


class FurthestFirst(Kept):
    async def search(self, partition: Partition, vectors: Any, limit: int) -> Any:
        return [pairs[::-1] for pairs in await super().search(partition, vectors, limit)]


class Distances(Kept):
    async def search(self, partition: Partition, vectors: Any, limit: int) -> Any:
        found = await super().search(partition, vectors, limit)
        return [[(item, 1 - cosine) for item, cosine in pairs] for pairs in found]


class LosesABatch(Kept):
    async def upsert(self, partition: Partition, ids: Sequence[int], vectors: Any) -> None:
        await super().upsert(partition, ids[:100], vectors[:100])


class Greedy(Kept):
    async def search(self, partition: Partition, vectors: Any, limit: int) -> Any:
        return await super().search(partition, vectors, limit + 1)


class NeedsAPartition(Kept):
    async def search(self, partition: Partition, vectors: Any, limit: int) -> Any:
        if partition not in self.disk.partitions:
            raise VectorIndexError("there is no such partition. Put something in.")
        return await super().search(partition, vectors, limit)


class OneForAll(Kept):
    async def search(self, partition: Partition, vectors: Any, limit: int) -> Any:
        found: list[Any] = [[] for _ in vectors]
        for other in list(self.disk.partitions):
            more = await super().search(other, vectors, limit)
            found = [[*pairs, *others] for pairs, others in zip(found, more, strict=True)]
        return [sorted(pairs, key=lambda pair: -pair[1])[:limit] for pairs in found]


class Floats(Kept):
    async def search(self, partition: Partition, vectors: Any, limit: int) -> Any:
        found = await super().search(partition, vectors, limit)
        return [[(int(float(item)), cosine) for item, cosine in pairs] for pairs in found]


class DividesByTheLength(Kept):
    async def upsert(self, partition: Partition, ids: Sequence[int], vectors: Any) -> None:
        import numpy as np

        with np.errstate(invalid="ignore"):
            scaled = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        await super().upsert(partition, ids, scaled)


class TakesAnyLength(Kept):
    async def search(self, partition: Partition, vectors: Any, limit: int) -> Any:
        return await super().search(partition, vectors[:, : partition.dimension], limit)


class OneAnswerForAll(Kept):
    """Returns the previous caller's result."""

    last: Any = None

    async def search(self, partition: Partition, vectors: Any, limit: int) -> Any:
        found = await super().search(partition, vectors, limit)
        self.last, given = found, self.last if self.last is not None else found
        return given if len(given) == len(found) else found


class LosesItsLock(Kept):
    """Stays locked after a caller was cancelled."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk)
        self.free = anyio.Event()
        self.free.set()

    async def search(self, partition: Partition, vectors: Any, limit: int) -> Any:
        await self.free.wait()
        self.free = anyio.Event()
        for _ in range(8):
            await anyio.lowlevel.checkpoint()
        found = await super().search(partition, vectors, limit)
        self.free.set()
        return found


class Adds(Kept):
    """Ignores known ids, as Chroma's `add` does."""

    async def upsert(self, partition: Partition, ids: Sequence[int], vectors: Any) -> None:
        there = await self.ids(partition)
        rows = [row for row, item in enumerate(ids) if item not in there]
        await super().upsert(partition, [ids[row] for row in rows], vectors[rows])


class FirstCounts(Kept):
    async def upsert(self, partition: Partition, ids: Sequence[int], vectors: Any) -> None:
        rows = {item: row for row, item in reversed(list(enumerate(ids)))}
        await super().upsert(partition, list(rows), vectors[list(rows.values())])


class DeletesNothing(Kept):
    async def delete(self, partition: Partition, ids: Sequence[int]) -> None:
        pass


class NeedsIds(Kept):
    async def upsert(self, partition: Partition, ids: Sequence[int], vectors: Any) -> None:
        if not len(ids):
            raise VectorIndexError("no ids. Give some.")
        await super().upsert(partition, ids, vectors)


class WipesAll(Kept):
    async def wipe(self, partition: Partition) -> bool:
        self.disk.erase()
        return True


class Forgetful(Kept):
    async def aclose(self) -> None:
        await super().aclose()
        self.disk.erase()


class LoadsAnew(Kept):
    async def load(self) -> None:
        self.disk.erase()
        await super().load()


class ClosesOnce(Kept):
    async def aclose(self) -> None:
        if self.closed:
            raise VectorIndexError("it is closed already. Close it once.")
        self.closed = True


class NeverCloses(Kept):
    async def aclose(self) -> None:
        pass


class Nameless(Kept):
    name = ""


class Impatient(IndexConformance):
    """The suite with little patience."""

    patience_s = 3.0


BROKEN: list[tuple[type[Kept], str]] = [
    (FurthestFirst, "test_the_nearest_come_first_with_their_cosines"),
    (Distances, "test_the_nearest_come_first_with_their_cosines"),
    (LosesABatch, "test_every_record_finds_itself"),
    (Greedy, "test_the_limit_is_respected_and_reached"),
    (NeedsAPartition, "test_a_missing_partition_is_empty"),
    (OneForAll, "test_partitions_are_apart"),
    (Floats, "test_large_ids_are_returned_unchanged"),
    (DividesByTheLength, "test_a_row_of_zeros_has_no_neighbours"),
    (TakesAnyLength, "test_vectors_of_another_length_are_refused"),
    (OneAnswerForAll, "test_concurrent_callers_get_their_own_results"),
    (LosesItsLock, "test_a_cancelled_caller_does_not_affect_others"),
    (Adds, "test_an_upsert_replaces_the_vector_of_an_id"),
    (FirstCounts, "test_the_last_vector_of_a_repeated_id_counts"),
    (DeletesNothing, "test_deleted_records_are_not_found"),
    (NeedsIds, "test_empty_calls_are_valid"),
    (WipesAll, "test_a_wipe_empties_one_partition"),
    (Forgetful, "test_records_last_after_closing"),
    (LoadsAnew, "test_it_can_be_loaded_twice"),
    (ClosesOnce, "test_it_can_be_closed_twice_and_without_a_load"),
    (NeverCloses, "test_a_closed_index_raises"),
    (Nameless, "test_it_has_a_name"),
]


def opener(kind: type[Kept]) -> Callable[[], VectorIndex]:
    disk = Disk()
    return lambda: kind(disk)


@pytest.mark.anyio
@pytest.mark.parametrize(("broken", "rule"), BROKEN, ids=lambda x: getattr(x, "__name__", x))
async def test_the_suite_catches(broken: type[Kept], rule: str) -> None:
    with pytest.raises((Exception, pytest.fail.Exception)) as raised:
        await getattr(Impatient(), rule)(opener(broken))
    assert not raised.errisinstance(pytest.skip.Exception)


def test_every_rule_of_the_suite_can_fail() -> None:
    rules = {name for name, _ in inspect.getmembers(IndexConformance) if name.startswith("test_")}
    assert rules == {rule for _, rule in BROKEN}
    assert not [name for name in rules if not getattr(IndexConformance, name).__doc__]


@pytest.mark.anyio
@pytest.mark.parametrize("rule", sorted({rule for _, rule in BROKEN}))
async def test_the_impatient_suite_still_passes_a_good_index(rule: str) -> None:
    with suppress(pytest.skip.Exception):
        await getattr(Impatient(), rule)(opener(Kept))
