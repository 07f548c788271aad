"""How long PostgreSQL may wait: the statements that a transaction begins with."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import tempfile
from typing import Any, cast

import pytest
import sqlalchemy as sa

from vanta.storage.database import limit_server


def sent(url: str, wait_s: float) -> list[str]:
    """Return the statements, as SQLAlchemy compiles them for the database of a URL."""
    statements: list[str] = []

    def record(statement: Any, *_: object, **__: object) -> None:
        statements.append(str(statement.compile(dialect=engine.dialect)))

    engine = sa.create_mock_engine(url, record)
    limit_server(cast("sa.Connection", engine.connect()), wait_s)
    return statements


@pytest.mark.parametrize(
    ("wait_s", "expected"),
    [
        (math.inf, ["SET LOCAL lock_timeout = 5000"]),
        (60.0, ["SET LOCAL lock_timeout = 5000", "SET LOCAL statement_timeout = 60250"]),
        (1.2345, ["SET LOCAL lock_timeout = 1235", "SET LOCAL statement_timeout = 1485"]),
        (0.05, ["SET LOCAL lock_timeout = 50", "SET LOCAL statement_timeout = 300"]),
        (0.0, ["SET LOCAL lock_timeout = 1", "SET LOCAL statement_timeout = 250"]),
    ],
)
def test_a_transaction_of_postgresql_waits_for_what_is_left(
    wait_s: float, expected: list[str]
) -> None:
    assert sent("postgresql://", wait_s) == expected


def test_another_database_gets_no_statement() -> None:
    assert sent("sqlite://", 1.0) == []


@pytest.mark.skipif(shutil.which("initdb") is None, reason="PostgreSQL is not installed")
def test_postgresql_limits_one_transaction() -> None:
    # A server process on standard input, which needs neither a driver nor a network. (It has no
    # timer for statements, so that only the limit of locks can be tried on it.)
    with tempfile.TemporaryDirectory(prefix="vanta-postgres-") as folder:
        as_owner: dict[str, Any] = {}
        if os.geteuid() == 0:  # PostgreSQL refuses root
            as_owner = {"user": 65534, "group": 65534, "extra_groups": []}
            os.chown(folder, 65534, 65534)

        def run(*command: str, stdin: str = "") -> str:
            done = subprocess.run(
                command,
                input=stdin,
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
                cwd=folder,
                **as_owner,
            )
            assert done.returncode == 0, done.stderr
            return str(done.stdout)

        run("initdb", "-D", f"{folder}/data", "-U", "ada", "--no-sync")
        limits = [f"{line};" for line in sent("postgresql://", 1.2345)[:1]]
        script = ["BEGIN;", *limits, "SHOW lock_timeout;", "COMMIT;", "SHOW lock_timeout;", ""]
        stdin = "\n".join(script)
        shown = run("postgres", "--single", "-D", f"{folder}/data", "postgres", stdin=stdin)
    assert re.findall(r'lock_timeout = "(\w+)"', shown) == ["1235ms", "0"]
