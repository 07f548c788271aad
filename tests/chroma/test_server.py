"""Chroma on a server: several processes, collections that others remove, a missing server."""

from __future__ import annotations

import pytest

from benchmarks.faults.streams import StreamPlan, frame_server
from tests.chroma.conftest import OpenChroma
from tests.chroma.support import ADA, BOB, client_of, vectors
from vanta.errors import VectorIndexError
from vanta.memory import Partition
from vanta.testing import nothing_listens

pytestmark = pytest.mark.anyio


async def test_a_process_finds_what_another_one_stored(open_index: OpenChroma, server: str) -> None:
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


async def test_a_partition_that_another_process_wiped_is_created_again(
    open_index: OpenChroma, server: str
) -> None:
    first, second = open_index(url=server), open_index(url=server)
    await first.upsert(ADA, range(10), vectors(10))
    assert await second.ids(ADA) == set(range(10))
    assert not await first.wipe(ADA), "the server's files may still contain vectors"
    assert await second.ids(ADA) == frozenset()
    assert await second.search(ADA, vectors(1), 1) == [[]]
    await second.upsert(ADA, [5], vectors(1))
    assert await first.ids(ADA) == {5}
    await first.aclose()
    await second.aclose()


@pytest.mark.parametrize("spelling", ["NO_PROXY", "no_proxy"])
async def test_a_server_on_this_machine_is_reached_through_no_proxy(
    open_index: OpenChroma, server: str, monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv(spelling, "example.com")
    index = open_index(url=server)
    await index.upsert(ADA, range(3), vectors(3))
    assert await index.ids(ADA) == {0, 1, 2}
    await index.aclose()


async def test_an_unreachable_server_has_lost_nothing(open_index: OpenChroma) -> None:
    """Its vectors are intact, so nothing is rebuilt."""
    with nothing_listens() as base:
        url = base.removesuffix("/v1")
        index = open_index(url=url)
        for request in (index.load(), index.search(ADA, vectors(1), 1), index.wipe(ADA)):
            with pytest.raises(VectorIndexError, match=f"{url}.*chroma run") as raised:
                await request
            assert raised.value.owned
        await index.aclose()


@pytest.mark.parametrize("coding", ["", "gzip"])
async def test_an_answer_without_an_end_is_refused(open_index: OpenChroma, coding: str) -> None:
    plan = StreamPlan((("no_newline", 60_000, -1),), coding=coding)
    with frame_server(plan) as base_url:
        index = open_index(url=base_url.removesuffix("/v1"))
        with pytest.raises(VectorIndexError, match=r"larger than|compressed") as raised:
            await index.load()
        assert raised.value.owned
        await index.aclose()


async def test_the_server_learns_nothing_of_a_user(open_index: OpenChroma, server: str) -> None:
    index = open_index(url=server)
    await index.upsert(ADA, range(3), vectors(3))
    await index.upsert(BOB, range(3), vectors(3))
    await index.aclose()
    with client_of(server) as client:
        collections = client.list_collections()
        names = {collection.name for collection in collections}
        assert names == {f"vanta-{partition.key}" for partition in (ADA, BOB)}
        for collection in collections:
            records = collection.get(include=["metadatas", "documents"])
            assert records["ids"] == ["0", "1", "2"]
            assert not any(records["metadatas"] or [])
            assert not any(records["documents"] or [])


async def test_private_vectors_may_be_stored_on_a_server_of_this_machine(
    open_index: OpenChroma, server: str
) -> None:
    private = Partition("ada", private=True, embedder="hash/16/1", dimension=16)
    index = open_index(url=server)
    await index.upsert(private, [1], vectors(1))
    assert await index.ids(private) == {1}
    await index.aclose()
