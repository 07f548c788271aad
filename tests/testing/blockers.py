"""Calls that block, made from a file that no guard ignores."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def sleeps() -> None:
    time.sleep(0.001)


def opens_a_file() -> None:
    Path(__file__).read_text()


def opens_a_database() -> None:
    sqlite3.connect(":memory:").close()


def looks_a_name_up() -> None:
    socket.getaddrinfo("localhost", 80)


def connects() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.connect(server.getsockname())


def starts_a_program() -> None:
    subprocess.run([sys.executable, "-S", "-c", ""], check=True)


BLOCKERS: dict[str, Callable[[], None]] = {
    "time.sleep": sleeps,
    "open": opens_a_file,
    "sqlite3.connect": opens_a_database,
    "socket.getaddrinfo": looks_a_name_up,
    "socket.connect": connects,
    "subprocess.Popen": starts_a_program,
}


def runs_a_statement(connection: sqlite3.Connection) -> None:
    connection.execute("select 1")
