"""Where the database of a data directory lies, whatever characters the directory's name has."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.storage.test_store import exchange, turn
from vanta.messages import Exchange
from vanta.storage import Store, sqlite_url

pytestmark = pytest.mark.anyio

NAMES = [
    "plain",
    "a b",
    "a%20b",
    "100%",
    "what?x=1",
    "what?x=2",
    "what",
    "c#1",
    "ada@host:80",
    "a+b&c=d",
    "file:here",
    ":memory:",
    "Äöü 北京",
    'it\'s "quoted"',
]


async def history(folder: Path) -> list[Exchange]:
    store = Store.open(sqlite_url(folder))
    try:
        return await store.history("ada", "s")
    finally:
        await store.aclose()


async def write(url: str | sa.URL, text: str) -> None:
    store = Store.open(url)
    await store.add(turn(1), {}, exchange(text))
    await store.aclose()


def cut_url(folder: Path) -> sa.URL:
    """The file that earlier versions used: the folder's name up to the question mark."""
    folder.mkdir()
    return sa.URL.create("sqlite", database=str(folder).partition("?")[0])


async def test_each_data_directory_has_its_own_database(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in NAMES]
    for folder in folders:
        await write(sqlite_url(folder), folder.name)
    for folder in folders:
        assert (folder / "vanta.db").is_file()
        assert await history(folder) == [exchange(folder.name)]
    assert len(set(folders)) == len(NAMES)


@pytest.mark.parametrize("name", ["file:here", ":memory:", "what?x=1"])
async def test_a_relative_data_directory_is_a_folder_too(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    await write(sqlite_url(Path(name)), name)
    assert await history(tmp_path / name) == [exchange(name)]


async def test_the_url_as_text_leads_to_the_same_file(tmp_path: Path) -> None:
    for name in NAMES:
        url = sqlite_url(tmp_path / name)
        text = url.render_as_string(hide_password=False)
        assert sa.make_url(text).database == str(tmp_path / name / "vanta.db")


async def test_a_database_under_a_cut_name_is_moved_to_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "what?x=1"
    await write(cut_url(folder), "from before")
    assert (tmp_path / "what").is_file()
    assert await history(folder) == [exchange("from before")]
    assert not (tmp_path / "what").exists()
    assert await history(folder) == [exchange("from before")]


async def test_a_database_that_two_folders_shared_is_given_to_neither(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ada, bob = tmp_path / "team?ada", tmp_path / "team?bob"
    await write(cut_url(ada), "Ada's secret")
    cut_url(bob)
    for folder in (bob, ada):
        with caplog.at_level(logging.WARNING, "vanta.storage"):
            assert await history(folder) == []
        assert str(tmp_path / "team") in caplog.text
        assert str(folder / "vanta.db") in caplog.text
        caplog.clear()
    assert (tmp_path / "team").is_file()
    await write(sqlite_url(ada), "new")
    assert caplog.text == ""


async def test_the_database_of_a_folder_with_the_decoded_name_stays_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await write(sqlite_url(tmp_path / "a b"), "of another tenant")
    assert await history(tmp_path / "a%20b") == []
    assert str(tmp_path / "a b" / "vanta.db") in caplog.text
    assert await history(tmp_path / "a b") == [exchange("of another tenant")]


async def test_an_earlier_database_in_use_stays_where_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "what?x=1"
    running = Store.open(cut_url(folder))
    await running.add(turn(1), {}, exchange("written by a running process"))
    assert await history(folder) == []
    assert "end all processes" in caplog.text
    assert len(await running.history("ada", "s")) == 1
    await running.aclose()


async def test_a_strange_file_under_the_cut_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "what").write_text("a letter")
    assert await history(tmp_path / "what?x=1") == []
    assert (tmp_path / "what").read_text() == "a letter"
