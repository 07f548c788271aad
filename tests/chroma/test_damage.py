"""Files that are not what Chroma wrote: said as an error, no harm to others, mended by a wipe."""
# ruff: noqa: ASYNC240 - what a test looks at is small and its own

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from tests.chroma.conftest import OpenChroma
from tests.chroma.support import ADA, BOB, DIMENSION, vectors
from vanta.errors import VectorIndexError
from vanta.memory.index import IndexContext, Partition
from vanta_chroma import integrity as seal
from vanta_chroma.index import ChromaIndex
from vanta_chroma.options import ChromaOptions

pytestmark = pytest.mark.anyio
COUNT = 1100
"""More than Chroma keeps in memory before it writes its graph."""
GRAPH = ("data_level0.bin", "header.bin", "index_metadata.pickle", "length.bin", "link_lists.bin")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with records of two users, written by the real thing, to be copied."""
    folder = tmp_path_factory.mktemp("filled") / "index"

    async def fill() -> None:
        index = ChromaIndex(ChromaOptions(), IndexContext(folder))
        await index.upsert(ADA, range(COUNT), vectors(COUNT))
        await index.upsert(BOB, range(10), vectors(10))
        await index.aclose()

    anyio.run(fill)
    return folder


@pytest.fixture
def ada(filled: Path, folder: Path) -> Path:
    """The folder of a partition, in a copy."""
    shutil.copytree(filled, folder)
    return folder / ADA.key


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def garbled(path: Path) -> None:
    path.write_bytes(os.urandom(max(64, path.stat().st_size)))


def one_byte_changed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def missing(path: Path) -> None:
    path.unlink()


def turned_into_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_folder_that_is_a_file(ada: Path) -> None:
    shutil.rmtree(ada)
    ada.write_text("x")


def a_folder_that_is_empty(ada: Path) -> None:
    shutil.rmtree(ada)
    ada.mkdir()


def a_folder_that_nobody_finished(ada: Path) -> None:
    (ada / seal.SEAL).unlink()


def of_a_newer_chroma(ada: Path) -> None:
    told = json.loads((ada / seal.SEAL).read_text())
    (ada / seal.SEAL).write_text(json.dumps({**told, "chroma": "99.0.0"}))


def of_a_chroma_with_other_tables(ada: Path) -> None:
    with closing(sqlite3.connect(ada / "chroma.sqlite3")) as database:
        database.execute("UPDATE migrations SET hash = 'other'")
        database.execute("DROP TABLE segments")
        database.commit()


def without_a_collection(ada: Path) -> None:
    with closing(sqlite3.connect(ada / "chroma.sqlite3")) as database:
        database.execute("DELETE FROM collections")
        database.commit()


def with_a_seal_of_nonsense(ada: Path) -> None:
    (ada / seal.SEAL).write_text('["no seal"]')


async def mended(index: ChromaIndex) -> None:
    """The damage is said, each time; others work; after a wipe all is well."""
    for _ in range(2):
        with pytest.raises(VectorIndexError, match="built again") as raised:
            await index.search(ADA, vectors(1), 1)
        assert not raised.value.owned
    with pytest.raises(VectorIndexError):
        await index.upsert(ADA, [5000], vectors(1))
    (pairs,) = await index.search(BOB, vectors(1), 1)
    assert pairs[0][0] == 0
    assert await index.wipe(ADA)
    assert await index.ids(ADA) == frozenset()
    await index.upsert(ADA, range(20), vectors(20))
    found = await index.search(ADA, vectors(20), 1)
    assert [pairs[0][0] for pairs in found] == list(range(20))


@pytest.mark.parametrize("name", GRAPH)
@pytest.mark.parametrize("harm", [truncated, zeroed, garbled, one_byte_changed, missing])
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_damaged_graph_is_mended(
    open_index: OpenChroma, ada: Path, name: str, harm: Callable[[Path], None]
) -> None:
    (path,) = ada.glob(f"*/{name}")
    harm(path)
    index = open_index()
    await mended(index)
    await index.aclose()


@pytest.mark.parametrize(
    "harm", [truncated, emptied, zeroed, garbled, missing, turned_into_a_folder]
)
async def test_a_damaged_database_is_mended(
    open_index: OpenChroma, ada: Path, harm: Callable[[Path], None]
) -> None:
    harm(ada / "chroma.sqlite3")
    index = open_index()
    await mended(index)
    await index.aclose()


@pytest.mark.parametrize(
    "harm",
    [
        a_folder_that_is_a_file,
        a_folder_that_is_empty,
        a_folder_that_nobody_finished,
        of_a_newer_chroma,
        of_a_chroma_with_other_tables,
        without_a_collection,
        with_a_seal_of_nonsense,
    ],
)
async def test_a_folder_of_another_make_is_mended(
    open_index: OpenChroma, ada: Path, harm: Callable[[Path], None]
) -> None:
    harm(ada)
    index = open_index()
    await mended(index)
    await index.aclose()


async def test_a_file_that_crashes_chroma_does_so_twice_and_no_more(
    open_index: OpenChroma, ada: Path
) -> None:
    """A seal over the damage stands for one that nothing but Chroma finds."""
    (path,) = ada.glob("*/link_lists.bin")
    zeroed(path)
    seal.write(ada, dimension=DIMENSION, chroma="1.0.0")
    index = open_index()
    with pytest.raises(VectorIndexError, match="ended again and again"):
        await index.search(ADA, vectors(COUNT), 1)
    await index.ids(BOB)
    survivor = index.pid
    with pytest.raises(VectorIndexError, match="ended again and again"):
        await index.search(ADA, vectors(COUNT), 1)
    assert index.pid == survivor
    await mended(index)
    await index.aclose()


async def test_others_notice_nothing_of_a_crash(open_index: OpenChroma, ada: Path) -> None:
    (path,) = ada.glob("*/link_lists.bin")
    zeroed(path)
    seal.write(ada, dimension=DIMENSION, chroma="1.0.0")
    index = open_index()
    await index.load()

    async def crash() -> None:
        with pytest.raises(VectorIndexError, match="ended again and again"):
            await index.search(ADA, vectors(COUNT), 1)

    async def work(one: int) -> None:
        await index.upsert(BOB, [one], vectors(1, seed=one))
        (pairs,) = await index.search(BOB, vectors(1, seed=one), 1)
        assert pairs[0][0] == one

    async with anyio.create_task_group() as group:
        group.start_soon(crash)
        for one in range(100, 110):
            group.start_soon(work, one)
    await index.aclose()


async def test_a_partition_that_was_only_begun_is_begun_again(
    open_index: OpenChroma, ada: Path
) -> None:
    """Nothing that was acknowledged is in it, so that is no damage."""
    truncated(ada / "chroma.sqlite3")
    seal.begin(ada)
    index = open_index()
    assert await index.ids(ADA) == frozenset()
    await index.upsert(ADA, range(20), vectors(20))
    assert await index.ids(ADA) == set(range(20))
    await index.aclose()


async def test_what_is_whole_opens(open_index: OpenChroma, ada: Path) -> None:
    """So it is the damage that the tests above see."""
    index = open_index()
    assert await index.ids(ADA) == set(range(COUNT))
    found = await index.search(ADA, vectors(COUNT), 1)
    assert [pairs[0][0] for pairs in found] == list(range(COUNT))
    assert ada.is_dir()
    await index.aclose()


async def test_vectors_of_another_length_in_the_files_are_damage(
    open_index: OpenChroma, ada: Path
) -> None:
    told = json.loads((ada / seal.SEAL).read_text())
    (ada / seal.SEAL).write_text(json.dumps({**told, "dimension": 8}))
    index = open_index()
    await mended(index)
    await index.aclose()


async def test_a_folder_that_cannot_be_used_is_said(open_index: OpenChroma, folder: Path) -> None:
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("somebody's file")
    index = open_index()
    with pytest.raises(VectorIndexError, match="cannot be used for vectors"):
        await index.load()
    folder.unlink()
    await index.upsert(ADA, [1], vectors(1))
    await index.aclose()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do all")
async def test_a_folder_without_permission_is_said(open_index: OpenChroma, ada: Path) -> None:
    ada.parent.chmod(0)
    index = open_index()
    with pytest.raises(VectorIndexError, match="cannot be used for vectors"):
        await index.load()
    ada.parent.chmod(0o700)
    assert await index.ids(ADA) == set(range(COUNT))
    await index.aclose()


async def test_more_partitions_than_are_held_open(open_index: OpenChroma) -> None:
    index = open_index()
    users = [
        Partition(f"user {one}", private=False, embedder="hash/16/1", dimension=DIMENSION)
        for one in range(11)
    ]
    for one, partition in enumerate(users):
        await index.upsert(partition, [one], vectors(1))
    for one, partition in enumerate(users):
        assert await index.ids(partition) == {one}
    threads = Path(f"/proc/{index.pid}/task")
    if threads.is_dir():
        assert len(list(threads.iterdir())) < 8 * 12
    await index.aclose()
