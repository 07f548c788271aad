"""The process that runs Chroma: requests come by stdin, replies go by stdout, one at a time.

It ends when its stdin does, so it does not outlive the process that started it, however that one
ended. Invariant: no request takes longer than its limit; one that would (Chroma can hang on a
damaged file, and hold the interpreter while it does) ends the process, by a timer that needs no
interpreter.
"""

from __future__ import annotations

import faulthandler
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vanta.errors import VectorIndexError
from vanta_chroma.frames import Cutter, Frame, pack_rows, unpack_rows

if TYPE_CHECKING:
    from vanta_chroma.frames import Ids, Vectors

_CHUNK = 1 << 18


class Requests:
    """What comes by stdin, read as it comes, so that the other side never waits to send."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self._over = threading.Event()
        threading.Thread(target=self._read, daemon=True, name="vanta-chroma-requests").start()

    def __iter__(self) -> Iterator[Frame]:
        """Each request, until nobody is there any more to be answered."""
        while (frame := self._queue.get()) is not None and not self._over.is_set():
            yield frame

    def _read(self) -> None:
        cutter = Cutter()
        while data := os.read(sys.stdin.fileno(), _CHUNK):
            for frame in cutter.feed(data):
                self._queue.put(frame)
        self._over.set()
        self._queue.put(None)


class Backend(Protocol):
    """What does the work: see `vanta_chroma.shelf.Shelf`."""

    def load(self) -> None: ...
    def upsert(self, key: str, dimension: int, ids: Ids, vectors: Vectors) -> None: ...
    def delete(self, key: str, dimension: int, ids: Ids) -> None: ...
    def search(
        self, key: str, dimension: int, vectors: Vectors, limit: int
    ) -> list[list[tuple[int, float]]]: ...
    def ids(self, key: str, dimension: int) -> list[int]: ...
    def wipe(self, key: str) -> bool: ...
    def close(self) -> None: ...


def main() -> None:
    """Serve until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this
    out = _own_stdout()
    os.chdir(Path.cwd().anchor)  # Chroma reads settings out of a .env file where it stands
    requests = iter(Requests())
    settings = next(requests, None)
    if settings is None:
        return
    limit_s = float(settings.head["timeout_s"])
    backend = _backend(settings.head)
    for request in requests:
        with _limited(limit_s):
            reply = _answered(backend, request)
        try:
            _send(out, reply)
        except OSError:
            break  # nobody is there to be answered
    with _limited(limit_s):
        backend.close()


def _backend(settings: dict[str, Any]) -> Backend:
    from vanta_chroma.shelf import Shelf

    return Shelf(Path(settings["folder"]))


def _answered(backend: Backend, request: Frame) -> Frame:
    """The reply to a request; what goes wrong is said in it."""
    number = {"id": request.head["id"]}
    try:
        head, body = _done(backend, request)
    except VectorIndexError as error:
        return Frame({**number, "error": str(error), "owned": error.owned})
    except BaseException as error:  # noqa: BLE001 - panics of Rust are no Exceptions
        why = f"Chroma failed: {type(error).__name__}: {error}. Try again."
        return Frame({**number, "error": why, "owned": False})
    return Frame({**number, **head}, body)


def _done(backend: Backend, request: Frame) -> tuple[dict[str, Any], bytes]:
    head, body = request.head, request.body
    key, dimension = head.get("key", ""), head.get("dimension", 0)
    match head["op"]:
        case "load":
            backend.load()
        case "upsert":
            backend.upsert(key, dimension, *unpack_rows(body, dimension))
        case "delete":
            backend.delete(key, dimension, unpack_rows(body, 0)[0])
        case "search":
            return _packed(backend.search(key, dimension, _vectors(body, dimension), head["limit"]))
        case "ids":
            return {}, pack_rows(backend.ids(key, dimension), _nothing())
        case "wipe":
            return {"certain": backend.wipe(key)}, b""
    return {}, b""


def _packed(found: list[list[tuple[int, float]]]) -> tuple[dict[str, Any], bytes]:
    import numpy as np

    flat = [pair for row in found for pair in row]
    cosines = np.array([cosine for _, cosine in flat], "<f4")
    return {"counts": [len(row) for row in found]}, pack_rows([one for one, _ in flat], cosines)


def _vectors(body: bytes, dimension: int) -> Vectors:
    import numpy as np

    return np.frombuffer(body, "<f4").reshape(-1, dimension)


def _nothing() -> Vectors:
    import numpy as np

    return np.zeros(0, "<f4")


def _own_stdout() -> int:
    """Stdout for frames alone: what any library prints goes to stderr."""
    out = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return out


def _send(out: int, frame: Frame) -> None:
    left = memoryview(frame.packed())
    while left:
        left = left[os.write(out, left) :]


@contextmanager
def _limited(limit_s: float) -> Iterator[None]:
    """End the process if what is inside takes longer."""
    faulthandler.dump_traceback_later(limit_s, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
