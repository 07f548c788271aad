"""Shared by the tests of the index `chroma`: vectors, partitions, and checks of processes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio

from vanta.memory import Partition

if TYPE_CHECKING:
    from vanta.memory import Vectors

DIMENSION = 16
ADA = Partition("ada lovelace", private=False, embedder="hash/16/1", dimension=DIMENSION)
BOB = Partition("bob", private=False, embedder="hash/16/1", dimension=DIMENSION)


def vectors(count: int, *, seed: int = 0) -> Vectors:
    """Return random rows of length 1, the same ones for the same seed."""
    import numpy as np

    rows = np.random.default_rng(seed).standard_normal((count, DIMENSION))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)


@contextmanager
def client_of(url: str) -> Iterator[Any]:
    """Yield Chroma's own client of the server at `url`; close also the connections that its
    `close` leaves open."""
    import chromadb
    from chromadb.config import Settings

    host = urlsplit(url)
    settings = Settings(anonymized_telemetry=False)
    client: Any = chromadb.HttpClient(
        host=str(host.hostname), port=host.port or 0, settings=settings
    )
    try:
        yield client
    finally:
        for api in (client, client._admin_client):
            api._server._session.close()
        client.close()


def is_running(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text("utf-8").rpartition(")")[2].split()[0] != "Z"


async def wait_for_end(pid: int) -> None:
    """Wait until a process has ended, for at most a minute."""
    with anyio.fail_after(60):
        while is_running(pid):  # noqa: ASYNC110
            await anyio.sleep(0.02)  # only a child's end can be awaited


def open_resources() -> tuple[int, int]:
    """Count open pipes and open deleted files, and threads that wait for a process."""
    files = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue  # the descriptor of this listing
        files += target.startswith("pipe:") or target.endswith("(deleted)")
    return files, sum("waitpid" in thread.name for thread in threading.enumerate())


def kill(pid: int | None) -> None:
    """Send SIGKILL."""
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
