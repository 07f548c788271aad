"""The conformance suite of vector indexes.

    from vanta.testing import IndexConformance

    class TestMyIndex(IndexConformance):
        @pytest.fixture
        def open_index(self, tmp_path):
            return lambda: MyIndex(tmp_path)

Each call of `open_index` returns an index that is not loaded yet, over the same data; a test opens
one at a time.

Invariant: a test needs nothing but the fixture and the hints, and no hint weakens a rule of
`vanta.memory.index`.
"""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

import anyio
import anyio.lowlevel
import pytest

from vanta.errors import VectorIndexError
from vanta.memory import Partition, VectorIndex

if TYPE_CHECKING:
    from vanta.memory import Vectors


OpenIndex = Callable[[], VectorIndex]

DIMENSION = 16
ADA = Partition("ada", private=False, embedder="hash/16/1", dimension=DIMENSION)
OTHERS = (
    Partition("bob", private=False, embedder="hash/16/1", dimension=DIMENSION),
    Partition("ada", private=True, embedder="hash/16/1", dimension=DIMENSION),
    Partition("ada", private=False, embedder="hash/16/2", dimension=DIMENSION),
)
"""Partitions that differ from `ADA` in one thing each."""


class IndexHints:
    """What a subclass may set.

    :cvar lasting: records are kept when the index is closed and opened again.
    :cvar patience_s: seconds that no step of the suite may take.
    """

    lasting: ClassVar[bool] = True
    patience_s: ClassVar[float] = 60.0

    @asynccontextmanager
    async def opened(self, open_index: OpenIndex) -> AsyncIterator[VectorIndex]:
        """Open a context with a loaded index."""
        index = open_index()
        try:
            with anyio.fail_after(self.patience_s):
                await index.load()
                yield index
        finally:
            with anyio.CancelScope(shield=True):
                await index.aclose()


def vectors(count: int, *, seed: int = 0) -> Vectors:
    """Return rows of length 1, the same ones each time."""
    import numpy as np

    rows = np.random.default_rng(seed).standard_normal((count, DIMENSION))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)


class FindingTests(IndexHints):
    """What a search returns."""

    async def test_the_nearest_come_first_with_their_cosines(self, open_index: OpenIndex) -> None:
        """Ids and cosines are those of an exact search."""
        rows, queries = vectors(40), vectors(3, seed=1)
        async with self.opened(open_index) as index:
            await index.upsert(ADA, range(100, 140), rows)
            found = await index.search(ADA, queries, 10)
        assert len(found) == 3, "not one list for each row"
        for pairs, true in zip(found, queries @ rows.T, strict=True):
            order = (-true).argsort()[:10].tolist()
            assert [item for item, _ in pairs] == [100 + row for row in order]
            for (_, cosine), row in zip(pairs, order, strict=True):
                assert math.isclose(cosine, float(true[row]), abs_tol=1e-3)

    async def test_every_record_finds_itself(self, open_index: OpenIndex) -> None:
        """However an index batches many records, none is lost."""
        rows = vectors(350)
        async with self.opened(open_index) as index:
            await index.upsert(ADA, range(350), rows)
            found = await index.search(ADA, rows, 1)
        assert [pairs[0][0] for pairs in found] == list(range(350))

    async def test_the_limit_is_respected_and_reached(self, open_index: OpenIndex) -> None:
        """As many as requested, or all that exist."""
        async with self.opened(open_index) as index:
            await index.upsert(ADA, range(20), vectors(20))
            few, all_of_them = [
                await index.search(ADA, vectors(1, seed=1), limit) for limit in (7, 100)
            ]
        assert [len(few[0]), len(all_of_them[0])] == [7, 20]

    async def test_a_missing_partition_is_empty(self, open_index: OpenIndex) -> None:
        """Searching, listing and deleting work without a partition."""
        async with self.opened(open_index) as index:
            assert await index.search(ADA, vectors(2), 5) == [[], []]
            assert await index.ids(ADA) == frozenset()
            await index.delete(ADA, [1])

    async def test_partitions_are_apart(self, open_index: OpenIndex) -> None:
        """Records of another user, privacy or embedder are not found."""
        rows = vectors(4)
        async with self.opened(open_index) as index:
            for row, partition in enumerate((ADA, *OTHERS)):
                await index.upsert(partition, [row], rows[row : row + 1])
            for row, partition in enumerate((ADA, *OTHERS)):
                found = await index.search(partition, rows, 10)
                assert {item for pairs in found for item, _ in pairs} == {row}
                assert await index.ids(partition) == {row}

    async def test_large_ids_are_returned_unchanged(self, open_index: OpenIndex) -> None:
        """An id is any integer from 0 to 2**63 - 1."""
        large = [0, 2**31, 2**53 + 1, 2**63 - 1]
        async with self.opened(open_index) as index:
            await index.upsert(ADA, large, vectors(4))
            assert await index.ids(ADA) == set(large)
            found = await index.search(ADA, vectors(4), 1)
        assert [pairs[0][0] for pairs in found] == large

    async def test_a_row_of_zeros_has_no_neighbours(self, open_index: OpenIndex) -> None:
        """It stands for a text without words; it may be found, but with a cosine of 0."""
        zeros = vectors(1) * 0
        async with self.opened(open_index) as index:
            await index.upsert(ADA, range(5), vectors(5))
            await index.upsert(ADA, [5], zeros)
            assert await index.ids(ADA) == set(range(6))
            found = await index.search(ADA, vectors(1), 6)
            found_for_zeros = await index.search(ADA, zeros, 6)
        assert found[0][0][0] == 0
        cosines = [cosine for item, cosine in found[0] if item == 5]
        cosines += [cosine for _, cosine in found_for_zeros[0]]
        assert all(math.isclose(cosine, 0.0, abs_tol=1e-3) for cosine in cosines), cosines

    async def test_vectors_of_another_length_are_refused(self, open_index: OpenIndex) -> None:
        """They come from another embedder."""
        long = vectors(2).repeat(2, axis=1)
        assert long.shape == (2, 2 * DIMENSION)
        async with self.opened(open_index) as index:
            await index.upsert(ADA, [1], vectors(1))
            with pytest.raises(VectorIndexError):
                await index.upsert(ADA, [1, 2], long)
            with pytest.raises(VectorIndexError):
                await index.search(ADA, long, 1)
            assert (await index.search(ADA, vectors(1), 1))[0][0][0] == 1

    async def test_concurrent_callers_get_their_own_results(self, open_index: OpenIndex) -> None:
        """Concurrent searches and upserts are not mixed up."""
        rows = vectors(60)

        async def ask(index: VectorIndex, item: int) -> None:
            await index.upsert(ADA, [item], rows[item : item + 1])
            (pairs,) = await index.search(ADA, rows[item : item + 1], 1)
            assert pairs[0][0] == item

        async with self.opened(open_index) as index, anyio.create_task_group() as group:
            for item in range(60):
                group.start_soon(ask, index, item)

    async def test_a_cancelled_caller_does_not_affect_others(self, open_index: OpenIndex) -> None:
        """Wherever a request is cancelled, later ones get their own answers."""
        rows = vectors(200)
        async with self.opened(open_index) as index:
            await index.upsert(ADA, range(50), rows[:50])
            for steps in range(12):
                async with anyio.create_task_group() as group:
                    group.start_soon(index.search, ADA, rows, 5)
                    group.start_soon(index.upsert, ADA, range(50, 200), rows[50:])
                    for _ in range(steps):
                        await anyio.lowlevel.checkpoint()
                    group.cancel_scope.cancel()
                (pairs,) = await index.search(ADA, rows[steps : steps + 1], 1)
                assert pairs[0][0] == steps


class KeepingTests(IndexHints):
    """What is stored and deleted, and what closing leaves behind."""

    async def test_an_upsert_replaces_the_vector_of_an_id(self, open_index: OpenIndex) -> None:
        """The new vector is found, the old one is not."""
        rows, later = vectors(150), vectors(150, seed=1)
        async with self.opened(open_index) as index:
            await index.upsert(ADA, range(150), rows)
            await index.upsert(ADA, range(0, 150, 2), later[::2])
            assert await index.ids(ADA) == set(range(150))
            old = await index.search(ADA, rows, 1)
            new = await index.search(ADA, later[::2], 1)
        kept = {row for row in range(150) if old[row][0] == pytest.approx((row, 1.0), abs=1e-3)}
        assert kept == set(range(1, 150, 2))
        assert [pairs[0][0] for pairs in new] == list(range(0, 150, 2))

    async def test_the_last_vector_of_a_repeated_id_counts(self, open_index: OpenIndex) -> None:
        """The same as in two calls."""
        rows = vectors(3)
        async with self.opened(open_index) as index:
            await index.upsert(ADA, [1, 2, 1], rows)
            assert await index.ids(ADA) == {1, 2}
            found = await index.search(ADA, rows, 1)
        assert [pairs[0][0] for pairs in found[1:]] == [2, 1]
        assert found[0][0][1] < 0.99

    async def test_deleted_records_are_not_found(self, open_index: OpenIndex) -> None:
        """Unknown ids are ignored; other records stay."""
        rows = vectors(120)
        async with self.opened(open_index) as index:
            await index.upsert(ADA, range(120), rows)
            await index.delete(ADA, [*range(0, 120, 2), 999])
            assert await index.ids(ADA) == set(range(1, 120, 2))
            found = await index.search(ADA, rows, 3)
            await index.upsert(ADA, [0], rows[:1])
            (back,) = await index.search(ADA, rows[:1], 1)
        assert not [item for pairs in found for item, _ in pairs if item % 2 == 0]
        assert [found[row][0][0] for row in range(1, 120, 2)] == list(range(1, 120, 2))
        assert back[0][0] == 0

    async def test_empty_calls_are_valid(self, open_index: OpenIndex) -> None:
        """Empty lists of ids and rows are valid."""
        async with self.opened(open_index) as index:
            await index.upsert(ADA, [], vectors(0))
            await index.delete(ADA, [])
            assert await index.search(ADA, vectors(0), 5) == []
            assert await index.ids(ADA) == frozenset()

    async def test_a_wipe_empties_one_partition(self, open_index: OpenIndex) -> None:
        """Others stay, it can be filled again, and a partition that does not exist can be wiped."""
        rows = vectors(10)
        async with self.opened(open_index) as index:
            assert isinstance(await index.wipe(ADA), bool)
            for partition in (ADA, *OTHERS):
                await index.upsert(partition, range(10), rows)
            await index.wipe(ADA)
            assert await index.ids(ADA) == frozenset()
            assert await index.search(ADA, rows[:1], 5) == [[]]
            for partition in OTHERS:
                assert await index.ids(partition) == set(range(10))
            await index.upsert(ADA, [77], rows[:1])
            assert await index.ids(ADA) == {77}

    async def test_records_last_after_closing(self, open_index: OpenIndex) -> None:
        """Upserts and deletions survive closing and opening."""
        if not self.lasting:
            pytest.skip("lasting is False")
        rows = vectors(130)
        async with self.opened(open_index) as index:
            await index.upsert(ADA, range(130), rows)
            await index.delete(ADA, range(30))
        async with self.opened(open_index) as index:
            assert await index.ids(ADA) == set(range(30, 130))
            found = await index.search(ADA, rows[30:], 1)
        assert [pairs[0][0] for pairs in found] == list(range(30, 130))

    async def test_it_can_be_loaded_twice(self, open_index: OpenIndex) -> None:
        """The second call changes nothing."""
        async with self.opened(open_index) as index:
            await index.upsert(ADA, [1], vectors(1))
            await index.load()
            assert await index.ids(ADA) == {1}

    async def test_it_can_be_closed_twice_and_without_a_load(self, open_index: OpenIndex) -> None:
        """Cleaning up does not depend on how far the index was opened."""
        index = open_index()
        await index.aclose()
        await index.aclose()

    async def test_a_closed_index_raises(self, open_index: OpenIndex) -> None:
        """Calls after closing raise VectorIndexError."""
        async with self.opened(open_index) as index:
            await index.upsert(ADA, [1], vectors(1))
        with pytest.raises(VectorIndexError):
            await index.search(ADA, vectors(1), 1)
        with pytest.raises(VectorIndexError):
            await index.upsert(ADA, [1], vectors(1))

    async def test_it_has_a_name(self, open_index: OpenIndex) -> None:
        """Messages can name the index."""
        index = open_index()
        assert index.name
        await index.aclose()


class IndexConformance(FindingTests, KeepingTests):
    """Derive from it, define an `open_index` fixture, and set the hints that differ."""

    pytestmark = pytest.mark.anyio
