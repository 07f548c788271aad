"""Conformance of indexes: what is kept, what is taken out, and what an end leaves behind."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import pytest

from vanta.errors import VectorIndexError
from vanta.testing.conformance.index_hints import ADA, OTHERS, IndexHints, OpenIndex, vectors


class KeepingTests(IndexHints):
    """Every index keeps so."""

    async def test_an_upsert_replaces_what_the_id_had(self, open_index: OpenIndex) -> None:
        """The old vector is not found any more, the new one is."""
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

    async def test_of_an_id_that_comes_twice_the_last_counts(self, open_index: OpenIndex) -> None:
        """As if it had come in two calls."""
        rows = vectors(3)
        async with self.opened(open_index) as index:
            await index.upsert(ADA, [1, 2, 1], rows)
            assert await index.ids(ADA) == {1, 2}
            found = await index.search(ADA, rows, 1)
        assert [pairs[0][0] for pairs in found[1:]] == [2, 1]
        assert found[0][0][1] < 0.99

    async def test_what_was_deleted_is_not_found(self, open_index: OpenIndex) -> None:
        """Ids that are not there are passed over; the others stay."""
        rows = vectors(120)
        async with self.opened(open_index) as index:
            await index.upsert(ADA, range(120), rows)
            await index.delete(ADA, [*range(0, 120, 2), 999])
            assert await index.ids(ADA) == set(range(1, 120, 2))
            found = await index.search(ADA, rows, 3)
            await index.upsert(ADA, [0], rows[:1])
            (back,) = await index.search(ADA, rows[:1], 1)
        assert not [one for pairs in found for one, _ in pairs if one % 2 == 0]
        assert [found[row][0][0] for row in range(1, 120, 2)] == list(range(1, 120, 2))
        assert back[0][0] == 0

    async def test_nothing_is_nothing(self, open_index: OpenIndex) -> None:
        """No ids and no rows are no mistake."""
        async with self.opened(open_index) as index:
            await index.upsert(ADA, [], vectors(0))
            await index.delete(ADA, [])
            assert await index.search(ADA, vectors(0), 5) == []
            assert await index.ids(ADA) == frozenset()

    async def test_a_wipe_empties_one_partition(self, open_index: OpenIndex) -> None:
        """No other is touched, it can be filled again, and one that is not there can be wiped."""
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

    async def test_what_was_put_in_lasts(self, open_index: OpenIndex) -> None:
        """Upserts and deletions are there after an end and a new beginning."""
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
        """The second time changes nothing."""
        async with self.opened(open_index) as index:
            await index.upsert(ADA, [1], vectors(1))
            await index.load()
            assert await index.ids(ADA) == {1}

    async def test_it_can_be_closed_twice_and_without_a_load(self, open_index: OpenIndex) -> None:
        """Whoever cleans up need not know how far things have come."""
        index = open_index()
        await index.aclose()
        await index.aclose()

    async def test_a_closed_index_says_so(self, open_index: OpenIndex) -> None:
        """In the one error that memory can live with."""
        async with self.opened(open_index) as index:
            await index.upsert(ADA, [1], vectors(1))
        with pytest.raises(VectorIndexError):
            await index.search(ADA, vectors(1), 1)
        with pytest.raises(VectorIndexError):
            await index.upsert(ADA, [1], vectors(1))

    async def test_it_has_a_name(self, open_index: OpenIndex) -> None:
        """Messages can say which index."""
        index = open_index()
        assert index.name
        await index.aclose()
