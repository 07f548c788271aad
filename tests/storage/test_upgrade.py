"""A database of an older version is upgraded without loss, also by several processes at once.

`version_1.db.gz` was written by vanta with schema 1: two sessions, one of them private, six
messages in memory.
"""

from __future__ import annotations

import gzip
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.runtime.home import open_scripted
from vanta.storage import Store, sqlite_url
from vanta.storage.schema import SCHEMA_VERSION
from vanta.testing import ScriptedEngine

pytestmark = pytest.mark.anyio
SAID = ["My sister Anna lives in Lisbon.", "Where does she live? 北京"]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A data directory with a database of version 1."""
    packed = Path(__file__).with_name("version_1.db.gz").read_bytes()
    database = tmp_path / "vanta.db"
    database.write_bytes(gzip.decompress(packed))
    database.chmod(0o600)
    return tmp_path


def version(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "vanta.db")) as database:
        (found,) = database.execute("SELECT schema_version FROM about").fetchone()
    return int(found)


async def test_a_database_of_version_1_keeps_its_sessions_and_its_memory(old: Path) -> None:
    assert version(old) == 1
    local = ScriptedEngine("Noted.")
    async with open_scripted(old, local=local, policy="local") as runtime:
        session = runtime.session("talk", user="ada")
        before = await session.history()
        await session.ask("One more.")
        after = await session.history()
        secret = runtime.session("secret", user="ada")
        await secret.refresh()
        assert runtime.memory is not None
        figures = await runtime.memory.stats("ada")
    assert [message.content for message in before if message.role == "user"] == SAID
    assert [message.content for message in after] == [
        *(message.content for message in before),
        "One more.",
        "Noted.",
    ]
    assert secret.private
    assert figures["items"] >= 6
    assert version(old) == SCHEMA_VERSION


def test_processes_that_open_it_at_once_upgrade_it_once(old: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from vanta.storage import Store, sqlite_url\n"
        "Store.open(sqlite_url(Path(sys.argv[1]))).close()"
    )
    command = [sys.executable, "-c", code, str(old)]
    running = [
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={"PYTHONPATH": _path()})
        for _ in range(4)
    ]
    errors = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0] * 4, errors
    assert version(old) == SCHEMA_VERSION


def test_an_upgrade_that_broke_off_is_finished(old: Path) -> None:
    with closing(sqlite3.connect(old / "vanta.db")) as database:
        database.execute("ALTER TABLE messages ADD COLUMN calls JSON")
        database.commit()
    Store.open(sqlite_url(old)).close()
    assert version(old) == SCHEMA_VERSION


def _path() -> str:
    return ":".join(filter(None, sys.path))
