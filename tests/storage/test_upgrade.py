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
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.pictures import picture
from tests.runtime.home import open_scripted
from tests.storage.tables import described
from vanta.errors import StoreError
from vanta.storage import Store, sqlite_url
from vanta.storage.migrations.revisions import apply_revisions, scripts
from vanta.storage.schema import SCHEMA_VERSION
from vanta.testing import ScriptedEngine
from vanta.testing.scripted import ALL

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


async def test_an_old_database_takes_messages_with_images(old: Path) -> None:
    sees = replace(ALL, images=True)
    local = ScriptedEngine("A cat.", capabilities=sees)
    async with open_scripted(old, local=local, policy="local") as runtime:
        session = runtime.session("talk", user="ada")
        before = await session.history()
        await session.ask(["What?", picture()])
        after = await session.history()
    assert not any(message.images for message in before)
    assert after[:-2] == before
    assert after[-2].parts == ("What?", picture())
    assert version(old) == SCHEMA_VERSION


async def test_an_early_database_of_version_1_gets_the_tables_that_came_later(old: Path) -> None:
    with closing(sqlite3.connect(old / "vanta.db")) as database:
        database.executescript("DROP TABLE removals; DROP TABLE private_sessions;")
    async with open_scripted(old, local=ScriptedEngine("Noted."), policy="local") as runtime:
        session = runtime.session("talk", user="ada")
        before = len(await session.history())
        await session.ask("One more.")
        assert len(await session.history()) == before + 2
        assert await session.clear() == before + 2
    assert version(old) == SCHEMA_VERSION


def test_processes_that_open_it_at_once_upgrade_it_once(old: Path) -> None:
    code = (
        "import logging, sys; from pathlib import Path\n"
        "from vanta.storage import Store, sqlite_url\n"
        "logging.basicConfig(level='INFO', format='%(message)s')\n"
        "Store.open(sqlite_url(Path(sys.argv[1]))).close()"
    )
    command = [sys.executable, "-c", code, str(old)]
    running = [
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={"PYTHONPATH": _path()})
        for _ in range(4)
    ]
    logs = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0] * 4, logs
    assert sum(log.count("upgrading the store") for log in logs) == 1, logs
    assert version(old) == SCHEMA_VERSION


def test_an_upgrade_that_broke_off_is_finished(old: Path) -> None:
    with closing(sqlite3.connect(old / "vanta.db")) as database:
        database.execute("ALTER TABLE messages ADD COLUMN calls JSON")
        database.commit()
    Store.open(sqlite_url(old)).close()
    assert version(old) == SCHEMA_VERSION


def test_an_upgraded_database_has_the_tables_of_a_new_one(old: Path) -> None:
    Store.open(sqlite_url(old)).close()
    Store.open(sqlite_url(old / "new")).close()
    assert described(sqlite_url(old)) == described(sqlite_url(old / "new"))


def test_all_revisions_make_the_tables_of_a_new_database(tmp_path: Path) -> None:
    Store.open(sqlite_url(tmp_path / "new")).close()
    database = sa.create_engine(sqlite_url(tmp_path / "revised"))
    with database.begin() as connection:
        apply_revisions(connection, 0, SCHEMA_VERSION)
    database.dispose()
    assert described(database.url) == described(sqlite_url(tmp_path / "new"))


def test_there_is_one_revision_for_each_version() -> None:
    revisions = [script.revision for script in scripts().walk_revisions()]
    assert revisions == [f"{number:04d}" for number in range(SCHEMA_VERSION, 0, -1)]


def test_a_process_that_is_killed_in_an_upgrade_leaves_the_old_database_whole(old: Path) -> None:
    before = contents(old)
    code = (
        "import os, sys; from pathlib import Path; from vanta.storage import Store, sqlite_url\n"
        "from vanta.storage.schema_upgrade import bring_up_to_date\n"
        "def work(connection): bring_up_to_date(connection); os.kill(os.getpid(), 9)\n"
        "Store(sqlite_url(Path(sys.argv[1]))).transact_now(work)"
    )
    command = [sys.executable, "-c", code, str(old)]
    killed = subprocess.run(command, check=False, env={"PYTHONPATH": _path()})
    assert killed.returncode == -9
    assert contents(old) == before
    Store.open(sqlite_url(old)).close()
    assert version(old) == SCHEMA_VERSION


def test_an_upgrade_that_fails_says_so_and_changes_nothing(old: Path) -> None:
    with closing(sqlite3.connect(old / "vanta.db")) as database:
        database.execute("ALTER TABLE messages RENAME TO mail")
        database.commit()
    before = contents(old)
    with pytest.raises(StoreError, match=r"could not be upgraded from schema 1 to .*is unchanged"):
        Store.open(sqlite_url(old))
    assert contents(old) == before


def test_a_database_whose_creation_was_cut_off_is_completed(old: Path) -> None:
    with closing(sqlite3.connect(old / "vanta.db")) as database:
        database.execute("DELETE FROM about")
        database.execute("DROP TABLE private_sessions")
        database.commit()
    Store.open(sqlite_url(old)).close()
    Store.open(sqlite_url(old / "new")).close()
    assert version(old) == SCHEMA_VERSION
    assert described(sqlite_url(old)) == described(sqlite_url(old / "new"))


@pytest.mark.parametrize("start", ["new", "current"])
def test_alembic_is_not_loaded_unless_an_upgrade_is_pending(tmp_path: Path, start: str) -> None:
    if start == "current":
        Store.open(sqlite_url(tmp_path)).close()
    code = (
        "import sys; from pathlib import Path; from vanta.storage import Store, sqlite_url\n"
        "Store.open(sqlite_url(Path(sys.argv[1]))).close(); sys.exit('alembic' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    assert subprocess.run(command, check=False, env={"PYTHONPATH": _path()}).returncode == 0


def contents(folder: Path) -> list[str]:
    """Return a database as the statements that would make it."""
    with closing(sqlite3.connect(folder / "vanta.db")) as database:
        return list(database.iterdump())


def _path() -> str:
    return ":".join(filter(None, sys.path))
