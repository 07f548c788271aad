"""Indexes in a folder of the test, a real server, and no proxies."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chroma.support import client_of
from vanta.memory import IndexContext
from vanta_chroma.child_channel import ChildChannel
from vanta_chroma.index import ChromaIndex, ChromaOptions, StartChannel

OpenChroma = Callable[..., ChromaIndex]


@pytest.fixture(autouse=True)
def _no_ambient_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder for vectors; it does not exist yet."""
    return tmp_path / "index"


@pytest.fixture
def open_index(folder: Path) -> OpenChroma:
    """Open an index on `folder`, with given options and keyword arguments of `ChromaIndex`."""

    def open_(*, start_channel: StartChannel = ChildChannel.start, **options: Any) -> ChromaIndex:
        return ChromaIndex(
            ChromaOptions(**options), IndexContext(folder), start_channel=start_channel
        )

    return open_


@pytest.fixture(scope="session")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of one `chroma run` for all tests."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    command = [str(Path(sys.executable).with_name("chroma")), "run", "--path", str(folder)]
    with subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        env={**os.environ, "ANONYMIZED_TELEMETRY": "False"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        _wait_for(port)
        yield f"http://127.0.0.1:{port}"
        process.terminate()


@pytest.fixture
def server(running_server: str) -> str:
    """The URL of the server, without collections."""
    with client_of(running_server) as client:
        for collection in client.list_collections():
            client.delete_collection(collection.name)
    return running_server


def _wait_for(port: int) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.05)
        else:
            return
