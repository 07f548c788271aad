"""The transcript store: durable, one schema, and clear about what is wrong."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from vanta.errors import StoreError
from vanta.messages import Exchange, Message
from vanta.storage import Store, sqlite_url
from vanta.storage.schema import SCHEMA_VERSION

pytestmark = pytest.mark.anyio


def turn(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"turn{number}",
        "user": "ada",
        "session": "s",
        "private": False,
        "status": "answered",
        "track": "local",
        "cost_usd": 0.0,
        **changes,
    }


def exchange(text: str = "hello", *, private: bool = False) -> Exchange:
    return Exchange((Message("user", text), Message("assistant", f"re: {text}")), private)


async def test_added_exchanges_are_read_back_in_order(tmp_path: Path) -> None:
    store = Store.open(sqlite_url(tmp_path))
    await store.add(turn(1), {"n": 1}, exchange("one"))
    await store.add(turn(2, private=True), {"n": 2}, exchange("two", private=True))
    assert await store.history("ada", "s") == [exchange("one"), exchange("two", private=True)]
    assert [row["trace"] for row in await store.records(session="s")] == [{"n": 1}, {"n": 2}]
    await store.aclose()


async def test_an_exchange_and_its_turn_are_stored_together_or_not_at_all(tmp_path: Path) -> None:
    store = Store.open(sqlite_url(tmp_path))
    await store.add(turn(1), {}, exchange("one"))
    with pytest.raises(StoreError):
        await store.add(turn(1), {}, exchange("a second turn with the same id"))
    assert await store.history("ada", "s") == [exchange("one")]
    await store.aclose()


async def test_sqlite_writes_ahead_so_that_readers_do_not_block_writers(tmp_path: Path) -> None:
    store = Store.open(sqlite_url(tmp_path))
    reader = sqlite3.connect(tmp_path / "vanta.db")
    assert reader.execute("pragma journal_mode").fetchone() == ("wal",)
    reader.execute("begin")
    reader.execute("select * from turns").fetchall()
    await store.add(turn(), {}, exchange())
    reader.close()
    await store.aclose()


async def test_a_full_disk_loses_nothing_and_the_error_names_the_next_step(tmp_path: Path) -> None:
    store = Store.open(sqlite_url(tmp_path))
    await store.add(turn(1), {}, exchange("kept"))
    await store.transact(_allow_no_more_pages)
    with pytest.raises(StoreError, match="Free some space"):
        await store.add(turn(2), {}, exchange("x" * 1_000_000))
    assert await store.history("ada", "s") == [exchange("kept")]
    await store.aclose()
    again = Store.open(sqlite_url(tmp_path))
    await again.add(turn(3), {}, exchange("after"))
    assert await again.history("ada", "s") == [exchange("kept"), exchange("after")]
    await again.aclose()


def _allow_no_more_pages(connection: sa.Connection) -> None:
    pages = connection.execute(sa.text("pragma page_count")).scalar()
    connection.execute(sa.text(f"pragma max_page_count = {pages}"))


async def test_a_file_that_is_not_a_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vanta.db").write_text("this is a letter, not a database" * 200)
    with pytest.raises(StoreError, match="move it away"):
        Store.open(sqlite_url(tmp_path))


async def test_a_store_of_a_newer_vanta_is_refused_and_unchanged(tmp_path: Path) -> None:
    Store.open(sqlite_url(tmp_path)).close()
    database = sqlite3.connect(tmp_path / "vanta.db")
    database.execute("update about set schema_version = ?", (SCHEMA_VERSION + 1,))
    database.commit()
    database.close()
    with pytest.raises(StoreError, match="newer vanta"):
        Store.open(sqlite_url(tmp_path))


@pytest.mark.parametrize("url", ["no url at all", "martian://host/db"])
async def test_an_unusable_url_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match="store_url"):
        Store.open(url)


async def test_no_message_contains_the_password_of_a_url() -> None:
    with pytest.raises(StoreError) as caught:
        Store.open("martian://ada:hunter2@host/db")
    assert "hunter2" not in str(caught.value)


async def test_two_stores_on_one_file_share_it(tmp_path: Path) -> None:
    one, two = Store.open(sqlite_url(tmp_path)), Store.open(sqlite_url(tmp_path))
    await one.add(turn(1), {}, exchange("one"))
    await two.add(turn(2), {}, exchange("two"))
    assert len(await one.history("ada", "s")) == 2
    await one.aclose()
    await two.aclose()


def test_several_processes_can_open_a_new_store_at_once(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from vanta.storage import Store, sqlite_url\n"
        "url = sqlite_url(pathlib.Path(sys.argv[1]))\n"
        "sys.stdin.readline()\n"
        "Store.open(url).close()\n"
    )
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    errors = [opener.communicate("go\n", timeout=60)[1] for opener in openers]
    assert [opener.returncode for opener in openers] == [0] * 4, errors


async def test_every_error_in_a_transaction_is_a_store_error_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    store = Store.open(sqlite_url(tmp_path))

    await store.add(turn(1), {}, exchange())

    def rename_and_fail(connection: sa.Connection) -> None:
        connection.exec_driver_sql("update turns set user = 'bob'")
        raise KeyError("the work's own bug")

    with pytest.raises(StoreError, match=r"KeyError.*Report this") as raised:
        await store.transact(rename_and_fail)
    assert isinstance(raised.value.__cause__, KeyError)
    with pytest.raises(StoreError, match="ZeroDivisionError"):
        await store.read(lambda _: 1 / 0)
    assert [(record["id"], record["user"]) for record in await store.records()] == [
        ("turn1", "ada")
    ]
    await store.aclose()


async def test_text_that_no_entry_has_cleaned_is_stored_and_found(tmp_path: Path) -> None:
    store = Store.open(sqlite_url(tmp_path))
    row = dict.fromkeys(("user", "session", "status", "track"), "x\ud83d")
    record = {**row, "id": "1", "private": False, "cost_usd": 0.0}
    await store.add(record, {"why": ["half \ud83d", "whole \U0001f600"]}, None)
    (stored,) = await store.records(user="x\ud83d")
    assert stored["trace"] == {"why": ["half \ufffd", "whole \U0001f600"]}
    assert await store.history("x\ud83d", "x\ud83d") == []
    await store.aclose()


@pytest.mark.parametrize("url", ["postgresql://host:port/db", "sqlite:///\0", "nonsense", ""])
def test_a_url_that_cannot_be_used_is_a_store_error(url: str) -> None:
    with pytest.raises(StoreError):
        Store.open(url)


def test_a_data_directory_with_a_null_byte_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        sqlite_url(tmp_path / "a\0b")
