"""What is on the disk, and what is no longer there."""
# ruff: noqa: ASYNC240 - the tests read small files of their own

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chroma.conftest import OpenChroma
from tests.chroma.support import ADA, BOB, vectors
from vanta.errors import VectorIndexError
from vanta.memory import Partition
from vanta_chroma.index import ChromaOptions

pytestmark = pytest.mark.anyio


def files(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield all files with their content."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield path, path.read_bytes()


def files_with(folder: Path, rows: bytes, width: int) -> list[Path]:
    """Return the files that contain eight consecutive bytes of one of the first vectors."""
    end = min(len(rows), 40 * width * 4) - 7
    pieces = {rows[start : start + 8] for start in range(0, end, 16)}
    return [path for path, content in files(folder) if any(piece in content for piece in pieces)]


async def test_no_byte_of_a_vector_is_left_after_a_wipe(
    open_index: OpenChroma, folder: Path
) -> None:
    rows, others = vectors(1300), vectors(30, seed=1)
    index = open_index()
    await index.upsert(ADA, range(1300), rows)
    await index.upsert(BOB, range(30), others)
    await index.upsert(ADA, range(10), others[:10] * -1)  # replaced vectors must disappear, too
    before = files_with(folder, rows.tobytes(), rows.shape[1])
    assert before, "the search finds nothing even if there is something"
    assert await index.wipe(ADA)
    assert files_with(folder, rows.tobytes(), rows.shape[1]) == []
    assert files_with(folder, (others * -1).tobytes(), rows.shape[1]) == []
    assert not list(folder.glob(f"{ADA.key}*"))
    assert files_with(folder, others.tobytes(), rows.shape[1])
    await index.aclose()
    assert files_with(folder, rows.tobytes(), rows.shape[1]) == []


async def test_nothing_of_a_user_is_in_any_file(open_index: OpenChroma, folder: Path) -> None:
    index = open_index()
    await index.upsert(ADA, range(20), vectors(20))
    await index.aclose()
    contents = list(files(folder))
    assert len(contents) > 3
    for path, content in contents:
        assert b"lovelace" not in content, path
        assert "lovelace" not in str(path.relative_to(folder))
        assert b"hash/16" not in content, path


async def test_only_the_owner_can_read_the_folder(open_index: OpenChroma, folder: Path) -> None:
    index = open_index()
    await index.upsert(ADA, [1], vectors(1))
    await index.aclose()
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / ADA.key).stat().st_mode & 0o077 == 0


async def test_private_vectors_are_not_sent_to_another_machine(open_index: OpenChroma) -> None:
    """They are refused before anything is sent: no server has this address."""
    private = Partition("ada", private=True, embedder="hash/16/1", dimension=16)
    index = open_index(url="http://192.0.2.1:8000")
    with pytest.raises(VectorIndexError, match="another machine") as raised:
        await index.upsert(private, [1], vectors(1))
    assert raised.value.owned
    assert index.pid is None
    await index.aclose()


@pytest.mark.parametrize(
    ("options", "may"),
    [
        ({}, True),
        ({"url": "http://localhost:8000"}, True),
        ({"url": "http://127.0.0.1:8000"}, True),
        ({"url": "http://[::1]:8000"}, True),
        ({"url": "http://chroma.example.org"}, False),
        ({"url": "http://localhost.example.org"}, False),
        ({"url": "https://chroma.example.org", "trusted": True}, True),
    ],
)
def test_options_decide_where_private_vectors_may_go(options: dict[str, object], may: bool) -> None:
    assert ChromaOptions.model_validate(options).may_have_private is may


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "ftp://a",
        "http://",
        "http://a:b",
        "http://a/b",
        "http://a?b=c",
        "http://ada:word@a",
    ],
)
def test_an_invalid_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        ChromaOptions(url=url)
