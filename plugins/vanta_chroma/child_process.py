"""The process that runs Chroma: requests come by stdin, replies go by stdout.

It ends when its stdin does, so it does not outlive the process that started it, however that one
ended. Invariant: no request takes longer than its limit; one that would (Chroma can hang on a
damaged file, and hold the interpreter while it does) ends the process, by a timer that needs no
interpreter.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vanta.errors import VectorIndexError
from vanta_chroma.frames import Cutter, Frame, pack_rows, unpack_rows

if TYPE_CHECKING:
    from vanta_chroma.folders import Shelf
    from vanta_chroma.frames import Vectors
    from vanta_chroma.server import Remote

_CHUNK = 1 << 18


class Requests:
    """What comes by stdin, read as it comes, so that the other side never waits to send."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self._over = threading.Event()
        threading.Thread(target=self._read, daemon=True, name="vanta-chroma-requests").start()

    def next(self) -> Frame | None:
        """The next one; None once nobody is there any more to be answered."""
        frame = self._queue.get()
        return None if self._over.is_set() else frame

    def _read(self) -> None:
        cutter = Cutter()
        while data := os.read(sys.stdin.fileno(), _CHUNK):
            for frame in cutter.feed(data):
                self._queue.put(frame)
        self._over.set()
        self._queue.put(None)


def main() -> None:
    """Serve until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this
    out = _own_stdout()
    os.chdir(Path.cwd().anchor)  # Chroma reads settings out of a .env file where it stands
    requests = Requests()
    settings = requests.next()
    if settings is None:
        return
    _sent(out, Frame({"id": 0}))  # from here on, an end is the fault of a request
    limit_s = float(settings.head["timeout_s"])
    if url := settings.head["url"]:
        asyncio.run(_serve_remote(requests, url, out, limit_s))
    else:
        _serve_here(requests, Path(settings.head["folder"]), out, limit_s)


def _serve_here(requests: Requests, folder: Path, out: int, limit_s: float) -> None:
    """One request after the other: Chroma's writes leave nothing over for a second one."""
    from vanta_chroma.folders import Shelf

    shelf = Shelf(folder)
    while (request := requests.next()) is not None:
        try:
            with _limited(limit_s):
                reply = _packed(request, _asked(shelf, request))
        except BaseException as error:  # noqa: BLE001 - panics of Rust are no Exceptions
            reply = _failed(request, error)
        if shelf.spoilt:
            reply.head["last"] = True
        if not _sent(out, reply) or shelf.spoilt:
            break
    with _limited(limit_s):
        shelf.close()


async def _serve_remote(requests: Requests, url: str, out: int, limit_s: float) -> None:
    """Many requests at once, each with its time limit."""
    from vanta_chroma.server import Remote

    remote = Remote(url)

    async def answer(request: Frame) -> None:
        try:
            async with asyncio.timeout(limit_s):
                reply = _packed(request, await _asked(remote, request))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            reply = _failed(request, error)
        _sent(out, reply)

    loop = asyncio.get_running_loop()
    running: set[asyncio.Task[None]] = set()
    while (request := await loop.run_in_executor(None, requests.next)) is not None:
        task = asyncio.create_task(answer(request))
        running.add(task)
        task.add_done_callback(running.discard)


def _asked(backend: Shelf | Remote, request: Frame) -> Any:
    """What the backend makes of a request; to be awaited where that is a `Remote`."""
    head, body = request.head, request.body
    key, dimension = head.get("key", ""), head.get("dimension", 0)
    match head["op"]:
        case "upsert":
            return backend.upsert(key, dimension, *unpack_rows(body, dimension))
        case "delete":
            return backend.delete(key, dimension, unpack_rows(body, 0)[0])
        case "search":
            return backend.search(key, dimension, _vectors(body, dimension), head["limit"])
        case "ids":
            return backend.ids(key, dimension)
        case "wipe":
            return backend.wipe(key)
    return backend.load()


def _packed(request: Frame, result: Any) -> Frame:
    """The reply with what came out."""
    number = {"id": request.head["id"]}
    match request.head["op"]:
        case "search":
            flat = [pair for row in result for pair in row]
            body = pack_rows([one for one, _ in flat], _row([cosine for _, cosine in flat]))
            return Frame({**number, "counts": [len(row) for row in result]}, body)
        case "ids":
            return Frame(number, pack_rows(result, _row([])))
        case "wipe":
            return Frame({**number, "certain": result})
    return Frame(number)


def _failed(request: Frame, error: BaseException) -> Frame:
    """The reply with what went wrong."""
    number = {"id": request.head["id"]}
    if isinstance(error, VectorIndexError):
        return Frame({**number, "error": str(error), "owned": error.owned})
    why = f"Chroma failed over {request.head['op']!r}: {type(error).__name__}: {error}. Try again."
    return Frame({**number, "error": why, "owned": False})


def _vectors(body: bytes, dimension: int) -> Vectors:
    import numpy as np

    return np.frombuffer(body, "<f4").reshape(-1, dimension)


def _row(values: list[float]) -> Vectors:
    import numpy as np

    return np.array(values, "<f4")


def _own_stdout() -> int:
    """Stdout for frames alone: what any library prints goes to stderr."""
    out = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return out


def _sent(out: int, frame: Frame) -> bool:
    """Whether there was somebody to send it to."""
    left = memoryview(frame.packed())
    try:
        while left:
            left = left[os.write(out, left) :]
    except OSError:
        return False
    return True


@contextmanager
def _limited(limit_s: float) -> Iterator[None]:
    """End the process if what is inside takes longer."""
    faulthandler.dump_traceback_later(limit_s, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
