"""Upgrades on PostgreSQL: a server of its own, which only listens on a socket in a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.storage.tables import described
from vanta.errors import StoreError
from vanta.messages import Exchange, Message
from vanta.storage import Fork, SessionQuery, Store, TurnPlace
from vanta.storage.migrations.revisions import apply_revisions
from vanta.storage.schema import SCHEMA_VERSION, about

pytest.importorskip("psycopg", reason="the driver psycopg is not installed")
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("initdb") is None, reason="PostgreSQL is not installed"),
]
NOBODY = 65534


@pytest.fixture(scope="module")
def server() -> Iterator[Path]:
    """The folder of a running server's socket."""
    with tempfile.TemporaryDirectory(prefix="vanta-postgres-") as folder:
        owner: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL}
        if os.geteuid() == 0:  # PostgreSQL refuses root
            owner |= {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            os.chown(folder, NOBODY, NOBODY)
        data = f"{folder}/data"
        subprocess.run(
            ["initdb", "-D", data, "-U", "ada", "--no-sync", "-E", "UTF8"], check=True, **owner
        )
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        start = ["pg_ctl", "-D", data, "-w", "-l", f"{folder}/log", "-o", options, "start"]
        subprocess.run(start, check=True, **owner)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["pg_ctl", "-D", data, "-m", "immediate", "stop"], check=True, **owner)


@pytest.fixture
def url(server: Path, request: pytest.FixtureRequest) -> sa.URL:
    """A new database of that server."""
    address = sa.URL.create(
        "postgresql+psycopg", username="ada", database="postgres", query={"host": str(server)}
    )
    name = f"test{abs(hash(request.node.name))}"
    engine = sa.create_engine(address, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return address.set(database=name)


def make_version_1(url: sa.URL) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        apply_revisions(connection, 0, 1)
        connection.exec_driver_sql("DROP TABLE alembic_version")
        connection.exec_driver_sql("INSERT INTO about (schema_version) VALUES (1)")
        connection.exec_driver_sql(
            'INSERT INTO turns (id, "user", session, private, status, cost_usd, finished_at, trace)'
            " VALUES ('t1', 'ada', 's', false, 'answered', 0, 1, '{}')"
        )
        connection.exec_driver_sql(
            'INSERT INTO messages ("user", session, turn_id, private, role, content)'
            " VALUES ('ada', 's', 't1', false, 'user', 'Hello')"
        )
    engine.dispose()


def version(url: sa.URL) -> int:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT schema_version FROM about").scalar_one()
    engine.dispose()
    return int(found)


async def test_an_old_database_is_upgraded_without_loss(url: sa.URL) -> None:
    make_version_1(url)
    store = Store.open(url)
    assert await store.history("ada", "s") == [Exchange((Message("user", "Hello"),), False, "t1")]
    assert len(await store.records()) == 1
    await store.aclose()
    assert version(url) == SCHEMA_VERSION


async def test_it_has_the_tables_of_a_new_one(url: sa.URL) -> None:
    Store.open(url).close()
    new = described(url)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()
    make_version_1(url)
    Store.open(url).close()
    assert described(url) == new


@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
def test_processes_that_open_it_at_once_upgrade_it_once(url: sa.URL, old: bool) -> None:
    if old:
        make_version_1(url)
    code = (
        "import logging, sys; from vanta.storage import Store\n"
        "logging.basicConfig(level='INFO', format='%(message)s')\n"
        "Store.open(sys.argv[1]).close()"
    )
    command = [sys.executable, "-c", code, url.render_as_string()]
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path))}
    running = [
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        for _ in range(4)
    ]
    logs = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0] * 4, logs
    assert sum(log.count("upgrading the store") for log in logs) == int(old), logs
    assert version(url) == SCHEMA_VERSION


async def test_a_newer_database_is_refused(url: sa.URL) -> None:
    Store.open(url).close()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.update(about), {"schema_version": SCHEMA_VERSION + 1})
    engine.dispose()
    with pytest.raises(StoreError, match="newer vanta"):
        Store.open(url)
    assert version(url) == SCHEMA_VERSION + 1


async def test_branches_and_sessions_are_kept(url: sa.URL) -> None:
    store = Store.open(url)

    async def add(number: int, text: str, place: TurnPlace | None = None) -> None:
        row = {"id": f"t{number}", "user": "ada", "session": "s", "private": False}
        record = {**row, "status": "answered", "track": "local", "cost_usd": 0.5}
        await store.add(record, {}, Exchange((Message("user", text),), False, f"t{number}"), place)

    await add(1, "one")
    await add(2, "two Ärger")
    await add(3, "2", TurnPlace("main", Fork("t2", "edit")))
    assert [item.turn for item in await store.history("ada", "s")] == ["t1", "t3"]
    assert [item.replaced for item in await store.branches("ada", "s")] == [True, False]
    assert await store.add_branch("ada", "s", "t1", "idea") == "idea"
    await store.use_branch("ada", "s", "main")
    assert [item.turn for item in await store.history("ada", "s")] == ["t1", "t2"]
    await store.rename_session("ada", "s", "Title")
    await store.keep_settings("ada", "s", {"system": "pirate"})
    assert (await store.session_state("ada", "s")).settings == {"system": "pirate"}
    (found,) = await store.sessions(SessionQuery(None, words=("ÄRGER",)))
    assert (found.title, found.turns, found.cost_usd, found.match) == ("Title", 3, 1.5, "two Ärger")
    assert await store.delete_session("ada", "s") == 3
    assert await store.sessions(SessionQuery("ada")) == []
    await store.aclose()
