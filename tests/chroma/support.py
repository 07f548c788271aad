"""What the tests of the index `chroma` share: vectors, partitions, and a look at processes."""

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

from vanta.memory.index import Partition

if TYPE_CHECKING:
    from vanta.memory.index import Vectors

DIMENSION = 16
ADA = Partition("ada lovelace", private=False, embedder="hash/16/1", dimension=DIMENSION)
BOB = Partition("bob", private=False, embedder="hash/16/1", dimension=DIMENSION)


def vectors(count: int, *, seed: int = 0) -> Vectors:
    """Rows of length 1, the same ones each time."""
    import numpy as np

    rows = np.random.default_rng(seed).standard_normal((count, DIMENSION))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)


@contextmanager
def asked(url: str) -> Iterator[Any]:
    """Chroma's own client of the server at `url`, gone with its connections (which its `close`
    leaves open)."""
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
        for one in (client, client._admin_client):
            one._server._session.close()
        client.close()


def runs(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text("utf-8").rpartition(")")[2].split()[0] != "Z"


async def ended(pid: int) -> None:
    """Wait until a process has ended, a minute at the most."""
    with anyio.fail_after(60):
        while runs(pid):  # noqa: ASYNC110
            await anyio.sleep(0.02)  # there is no event for the end of somebody else's process


def held() -> tuple[int, int]:
    """Pipes and removed files that are open here, and threads that wait for a process."""
    files = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue  # the one that lists them
        files += target.startswith("pipe:") or target.endswith("(deleted)")
    return files, sum("waitpid" in thread.name for thread in threading.enumerate())


def kill(pid: int | None) -> None:
    """SIGKILL."""
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
