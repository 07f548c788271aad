"""Chroma on a server: many processes, collections that others remove, nobody there."""

from __future__ import annotations

import pytest

from tests.chroma.conftest import OpenChroma
from tests.chroma.support import ADA, BOB, asked, vectors
from vanta.errors import VectorIndexError
from vanta.memory.index import Partition
from vanta.testing import nothing_listens

pytestmark = pytest.mark.anyio


async def test_what_one_process_puts_in_another_finds(open_index: OpenChroma, server: str) -> None:
    first, second = open_index(url=server), open_index(url=server)
    await first.upsert(ADA, range(10), vectors(10))
    (pairs,) = await second.search(ADA, vectors(1), 1)
    assert pairs[0][0] == 0
    await second.delete(ADA, [0])
    await first.upsert(ADA, [77], vectors(1))
    assert await second.ids(ADA) == {*range(1, 10), 77}
    assert first.pid != second.pid
    await first.aclose()
    await second.aclose()


async def test_a_partition_that_another_process_wiped_is_begun_again(
    open_index: OpenChroma, server: str
) -> None:
    first, second = open_index(url=server), open_index(url=server)
    await first.upsert(ADA, range(10), vectors(10))
    assert await second.ids(ADA) == set(range(10))
    assert not await first.wipe(ADA), "only the server knows what is left in its files"
    assert await second.ids(ADA) == frozenset()
    assert await second.search(ADA, vectors(1), 1) == [[]]
    await second.upsert(ADA, [5], vectors(1))
    assert await first.ids(ADA) == {5}
    await first.aclose()
    await second.aclose()


async def test_a_server_that_is_not_there_has_lost_nothing(open_index: OpenChroma) -> None:
    """So nothing is built again because of it."""
    with nothing_listens() as base:
        url = base.removesuffix("/v1")
        index = open_index(url=url)
        for request in (index.load(), index.search(ADA, vectors(1), 1), index.wipe(ADA)):
            with pytest.raises(VectorIndexError, match=f"{url}.*chroma run") as raised:
                await request
            assert raised.value.owned
        await index.aclose()


async def test_nothing_of_a_user_is_told_to_the_server(open_index: OpenChroma, server: str) -> None:
    index = open_index(url=server)
    await index.upsert(ADA, range(3), vectors(3))
    await index.upsert(BOB, range(3), vectors(3))
    await index.aclose()
    with asked(server) as client:
        collections = client.list_collections()
        assert {one.name for one in collections} == {f"vanta-{one.key}" for one in (ADA, BOB)}
        for one in collections:
            got = one.get(include=["metadatas", "documents"])
            assert got["ids"] == ["0", "1", "2"]
            assert not any(got["metadatas"] or [])
            assert not any(got["documents"] or [])


async def test_private_turns_may_go_to_a_server_of_this_machine(
    open_index: OpenChroma, server: str
) -> None:
    private = Partition("ada", private=True, embedder="hash/16/1", dimension=16)
    index = open_index(url=server)
    await index.upsert(private, [1], vectors(1))
    assert await index.ids(private) == {1}
    await index.aclose()
