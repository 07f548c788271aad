"""Damaged files raise an error, harm no other partition, and are repaired by a wipe."""
# ruff: noqa: ASYNC240 - the tests read small files of their own

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
from vanta.memory import IndexContext, Partition
from vanta_chroma import integrity
from vanta_chroma.index import ChromaIndex, ChromaOptions

pytestmark = pytest.mark.anyio
COUNT = 1100
"""More records than Chroma keeps in memory before it writes its graph."""
GRAPH = ("data_level0.bin", "header.bin", "index_metadata.pickle", "length.bin", "link_lists.bin")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with records of two users, written by Chroma, to be copied."""
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
    """The folder of a partition, in a copy of `filled`."""
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


def a_folder_without_a_manifest(ada: Path) -> None:
    (ada / integrity.MANIFEST).unlink()


def of_a_newer_chroma(ada: Path) -> None:
    manifest = json.loads((ada / integrity.MANIFEST).read_text())
    (ada / integrity.MANIFEST).write_text(json.dumps({**manifest, "chroma": "99.0.0"}))


def of_a_chroma_with_other_tables(ada: Path) -> None:
    with closing(sqlite3.connect(ada / "chroma.sqlite3")) as database:
        database.execute("UPDATE migrations SET hash = 'other'")
        database.execute("DROP TABLE segments")
        database.commit()


def without_a_collection(ada: Path) -> None:
    with closing(sqlite3.connect(ada / "chroma.sqlite3")) as database:
        database.execute("DELETE FROM collections")
        database.commit()


def with_a_nonsensical_manifest(ada: Path) -> None:
    (ada / integrity.MANIFEST).write_text('["not a manifest"]')


async def check_repair(index: ChromaIndex) -> None:
    """Check that the damage raises an error each time, others work, and a wipe repairs it."""
    for _ in range(2):
        with pytest.raises(VectorIndexError, match="rebuilt") as raised:
            await index.search(ADA, vectors(1), 1)
        assert not raised.value.owned
    with pytest.raises(VectorIndexError):
        await index.upsert(ADA, [5000], vectors(1))
    (pairs,) = await index.search(BOB, vectors(1), 1)
    assert pairs[0][0] == 0
    assert await index.wipe(ADA)
    assert await index.ids(ADA) == frozenset()
    await index.upsert(ADA, range(20), vectors(20))
    neighbours = await index.search(ADA, vectors(20), 1)
    assert [pairs[0][0] for pairs in neighbours] == list(range(20))


HARMS = (truncated, zeroed, garbled, one_byte_changed, missing)
NOTICED = (
    *[(f"*/{name}", harm) for name in GRAPH for harm in HARMS],
    *[("chroma.sqlite3", harm) for harm in (truncated, zeroed, garbled, missing)],
    ("chroma.sqlite3", turned_into_a_folder),
    ("", a_folder_that_is_empty),
    ("", a_folder_without_a_manifest),
    ("", of_a_newer_chroma),
    ("", with_a_nonsensical_manifest),
)
"""Damage that is noticed before Chroma reads a file, by the file's pattern and what harms it."""


def name_of(value: object) -> str | None:
    """Return the name of a harm, for the id of its test."""
    return getattr(value, "__name__", None)


def test_undamaged_files_pass(ada: Path) -> None:
    integrity.verify(ada, dimension=DIMENSION, chroma_version="98.0.0")
    assert len(list(ada.glob("*/*"))) == len(GRAPH)


@pytest.mark.parametrize(("pattern", "harm"), NOTICED, ids=name_of)
def test_damage_is_noticed_before_chroma_reads_it(
    ada: Path, pattern: str, harm: Callable[[Path], None]
) -> None:
    (path,) = ada.glob(pattern) if pattern else [ada]
    harm(path)
    with pytest.raises(VectorIndexError, match="rebuilt"):
        integrity.verify(ada, dimension=DIMENSION, chroma_version="98.0.0")


@pytest.mark.parametrize(
    ("pattern", "harm"),
    [
        *[(f"*/{name}", harm) for name, harm in zip(GRAPH, HARMS, strict=True)],
        ("chroma.sqlite3", emptied),
        ("chroma.sqlite3", turned_into_a_folder),
        ("", a_folder_that_is_a_file),
        ("", of_a_newer_chroma),
        ("", of_a_chroma_with_other_tables),
        ("", without_a_collection),
    ],
    ids=name_of,
)
@pytest.mark.one_loop
async def test_damage_is_repaired_by_a_wipe(
    open_index: OpenChroma, ada: Path, pattern: str, harm: Callable[[Path], None]
) -> None:
    """Damage that is noticed before is repaired alike; the rest is found by Chroma."""
    (path,) = ada.glob(pattern) if pattern else [ada]
    harm(path)
    index = open_index()
    await check_repair(index)
    await index.aclose()


async def test_a_file_that_crashes_chroma_does_so_at_most_twice(
    open_index: OpenChroma, ada: Path
) -> None:
    """A manifest of the damaged files simulates damage that only Chroma notices."""
    (path,) = ada.glob("*/link_lists.bin")
    zeroed(path)
    integrity.write_manifest(ada, dimension=DIMENSION, chroma_version="1.0.0")
    index = open_index()
    with pytest.raises(VectorIndexError, match="ended repeatedly"):
        await index.search(ADA, vectors(COUNT), 1)
    await index.ids(BOB)
    survivor = index.pid
    with pytest.raises(VectorIndexError, match="ended repeatedly"):
        await index.search(ADA, vectors(COUNT), 1)
    assert index.pid == survivor
    await check_repair(index)
    await index.aclose()


async def test_a_crash_does_not_affect_other_partitions(open_index: OpenChroma, ada: Path) -> None:
    (path,) = ada.glob("*/link_lists.bin")
    zeroed(path)
    integrity.write_manifest(ada, dimension=DIMENSION, chroma_version="1.0.0")
    index = open_index()
    await index.load()

    async def crash() -> None:
        with pytest.raises(VectorIndexError, match="ended repeatedly"):
            await index.search(ADA, vectors(COUNT), 1)

    async def work(item_id: int) -> None:
        await index.upsert(BOB, [item_id], vectors(1, seed=item_id))
        (pairs,) = await index.search(BOB, vectors(1, seed=item_id), 1)
        assert pairs[0][0] == item_id

    async with anyio.create_task_group() as group:
        group.start_soon(crash)
        for item_id in range(100, 110):
            group.start_soon(work, item_id)
    await index.aclose()


@pytest.mark.one_loop
async def test_a_partition_that_was_only_started_is_created_again(
    open_index: OpenChroma, ada: Path
) -> None:
    """It contains nothing that was acknowledged, so this is not damage."""
    truncated(ada / "chroma.sqlite3")
    integrity.mark_started(ada)
    index = open_index()
    assert await index.ids(ADA) == frozenset()
    await index.upsert(ADA, range(20), vectors(20))
    assert await index.ids(ADA) == set(range(20))
    await index.aclose()


@pytest.mark.one_loop
async def test_undamaged_files_open(open_index: OpenChroma, ada: Path) -> None:
    """The tests above therefore see the damage, not the copy."""
    index = open_index()
    assert await index.ids(ADA) == set(range(COUNT))
    neighbours = await index.search(ADA, vectors(COUNT), 1)
    assert [pairs[0][0] for pairs in neighbours] == list(range(COUNT))
    assert ada.is_dir()
    await index.aclose()


@pytest.mark.one_loop
async def test_vectors_of_another_length_in_the_files_are_damage(
    open_index: OpenChroma, ada: Path
) -> None:
    manifest = json.loads((ada / integrity.MANIFEST).read_text())
    (ada / integrity.MANIFEST).write_text(json.dumps({**manifest, "dimension": 8}))
    index = open_index()
    await check_repair(index)
    await index.aclose()


async def test_an_unusable_folder_raises_an_error(open_index: OpenChroma, folder: Path) -> None:
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("another program's file")
    index = open_index()
    with pytest.raises(VectorIndexError, match="cannot be used for vectors"):
        await index.load()
    folder.unlink()
    await index.upsert(ADA, [1], vectors(1))
    await index.aclose()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do it")
async def test_a_folder_without_permission_raises_an_error(
    open_index: OpenChroma, ada: Path
) -> None:
    ada.parent.chmod(0)
    index = open_index()
    with pytest.raises(VectorIndexError, match="cannot be used for vectors"):
        await index.load()
    ada.parent.chmod(0o700)
    assert await index.ids(ADA) == set(range(COUNT))
    await index.aclose()


@pytest.mark.one_loop
async def test_more_partitions_than_can_be_open_work(open_index: OpenChroma) -> None:
    index = open_index()
    users = [
        Partition(f"user {number}", private=False, embedder="hash/16/1", dimension=DIMENSION)
        for number in range(11)
    ]
    for number, partition in enumerate(users):
        await index.upsert(partition, [number], vectors(1))
    for number, partition in enumerate(users):
        assert await index.ids(partition) == {number}
    threads = Path(f"/proc/{index.pid}/task")
    if threads.is_dir():
        assert len(list(threads.iterdir())) < 8 * 12
    await index.aclose()
