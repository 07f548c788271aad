"""A store writes to databases of vanta alone, and only its owner can read them."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from vanta.errors import StoreError
from vanta.storage import Store, sqlite_url
from vanta.storage.ownership import APPLICATION_ID


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def contents(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.iterdir()
    }


def foreign(path: Path, *, wal: bool = False, application_id: int = 0) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    if wal:
        connection.execute("PRAGMA journal_mode=WAL").fetchone()
    connection.execute(f"PRAGMA application_id={application_id}")
    connection.execute("CREATE TABLE places (id INTEGER, url TEXT)")
    connection.execute("INSERT INTO places VALUES (1, 'x')")
    connection.commit()
    return connection


def refused(folder: Path, name: str = "vanta.db") -> None:
    before = contents(folder)
    with pytest.raises(StoreError, match=r"not a database of vanta.*Nothing was written"):
        Store.open(f"sqlite:///{folder / name}")
    assert contents(folder) == before


def test_a_new_database_carries_the_mark_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    store = Store.open(sqlite_url(tmp_path / "data"))
    file = tmp_path / "data" / "vanta.db"
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert {mode(path) for path in (tmp_path / "data").iterdir()} == {0o600}
    assert mode(tmp_path / "data") == 0o700
    store.close()


@pytest.mark.parametrize("wal", [False, True])
def test_the_closed_database_of_another_program_is_refused(tmp_path: Path, *, wal: bool) -> None:
    foreign(tmp_path / "vanta.db", wal=wal).close()
    refused(tmp_path)


def test_the_open_database_of_another_program_is_refused(tmp_path: Path) -> None:
    with closing(foreign(tmp_path / "vanta.db", wal=True)):
        before = {name: digest for name, (digest, _) in contents(tmp_path).items()}
        with pytest.raises(StoreError, match="another program"):
            Store.open(f"sqlite:///{tmp_path / 'vanta.db'}")
        after = {name: digest for name, (digest, _) in contents(tmp_path).items()}
        assert after["vanta.db"] == before["vanta.db"]
        assert after["vanta.db-wal"] == before["vanta.db-wal"]


def test_a_database_with_the_id_of_another_program_is_refused(tmp_path: Path) -> None:
    foreign(tmp_path / "vanta.db", application_id=252006675).close()
    refused(tmp_path)


def test_a_table_of_the_same_name_does_not_make_a_database_vantas(tmp_path: Path) -> None:
    connection = foreign(tmp_path / "vanta.db")
    connection.execute("CREATE TABLE about (schema_version INTEGER)")
    connection.execute("INSERT INTO about VALUES (1)")
    connection.commit()
    connection.close()
    refused(tmp_path)


@pytest.mark.parametrize("content", [b"#!/bin/sh\necho hello\n", b"x" * 8192, b"SQLite format 3"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "vanta.db").write_bytes(content)
    refused(tmp_path)


def test_a_link_to_the_database_of_another_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    foreign(tmp_path / "theirs" / "places.sqlite").close()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "vanta.db").symlink_to(tmp_path / "theirs" / "places.sqlite")
    before = contents(tmp_path / "theirs")
    with pytest.raises(StoreError, match="another program"):
        Store.open(sqlite_url(tmp_path / "data"))
    assert contents(tmp_path / "theirs") == before


def test_a_pipe_or_a_device_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(StoreError, match="not a regular file"):
            Store.open(f"sqlite:///{name}")


def test_an_older_database_of_vanta_gets_the_mark_and_loses_the_access_of_others(
    tmp_path: Path,
) -> None:
    file = tmp_path / "vanta.db"
    Store.open(f"sqlite:///{file}").close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA application_id=0")
    file.chmod(0o644)
    Store.open(f"sqlite:///{file}").close()
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert mode(file) == 0o600


def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    (tmp_path / "vanta.db").touch()
    Store.open(f"sqlite:///{tmp_path / 'vanta.db'}").close()
    assert (tmp_path / "vanta.db").stat().st_size > 0


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://ada:S3cret@127.0.0.1:1/x?sslpassword=S3cret",
        "sqlite:////no/such/folder/S.db?timeout=S3cret",
        "mysql://ada:S3cret@h/x",
        "nonsense://S3cret@h:port/x?key=S3cret",
    ],
)
def test_no_error_of_a_store_shows_a_secret_of_its_url(url: str) -> None:
    with pytest.raises(StoreError) as caught:
        Store.open(url)
    shown = f"{caught.value} {caught.value!r}"
    assert "S3cret" not in shown
