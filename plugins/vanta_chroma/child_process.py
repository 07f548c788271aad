"""The child process that runs Chroma: requests arrive on stdin, replies leave on stdout.

It ends when its stdin does, so it does not outlive the process that started it, however that one
ended. Invariant: no request takes longer than its limit. One that would (Chroma can hang on a
damaged file, and hold the interpreter's lock meanwhile) ends the process, by a timer that does not
need the interpreter.
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

from vanta import VectorIndexError
from vanta_chroma.frames import Frame, FrameDecoder, pack_rows, unpack_rows

if TYPE_CHECKING:
    from vanta.memory import Vectors
    from vanta_chroma.partitions import FolderBackend
    from vanta_chroma.server import ServerBackend

_CHUNK = 1 << 18


class RequestReader:
    """Reads stdin in a thread as data arrives, so that the other side never waits to send."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self._ended = threading.Event()
        threading.Thread(target=self._read, daemon=True, name="vanta-chroma-requests").start()

    def next(self) -> Frame | None:
        """Return the next request; None once stdin has ended and no reply is awaited."""
        frame = self._queue.get()
        return None if self._ended.is_set() else frame

    def _read(self) -> None:
        decoder = FrameDecoder()
        while data := os.read(sys.stdin.fileno(), _CHUNK):
            for frame in decoder.feed(data):
                self._queue.put(frame)
        self._ended.set()
        self._queue.put(None)


def main() -> None:
    """Serve requests until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the parent process
    out = _claim_stdout()
    os.chdir(Path.cwd().anchor)  # Chroma reads settings from a .env file in its working directory
    requests = RequestReader()
    settings = requests.next()
    if settings is None:
        return
    _send(out, Frame({"id": 0}))  # from here on, a request is to blame for an end
    limit_s = float(settings.head["timeout_s"])
    if url := settings.head["url"]:
        asyncio.run(_serve_server(requests, url, out, limit_s))
    else:
        _serve_folder(requests, Path(settings.head["folder"]), out, limit_s)


def _serve_folder(requests: RequestReader, folder: Path, out: int, limit_s: float) -> None:
    """Serve one request after another: Chroma's writes do not run in parallel."""
    from vanta_chroma.partitions import FolderBackend

    backend = FolderBackend(folder)
    while (request := requests.next()) is not None:
        try:
            with _time_limit(limit_s):
                reply = _reply(request, _call(backend, request))
        except BaseException as error:  # noqa: BLE001 - a panic in Rust is not an Exception
            reply = _error_reply(request, error)
        if backend.has_failed:
            reply.head["last"] = True
        if not _send(out, reply) or backend.has_failed:
            break
    with _time_limit(limit_s):
        backend.close()


async def _serve_server(requests: RequestReader, url: str, out: int, limit_s: float) -> None:
    """Serve many requests at once, each with its time limit."""
    from vanta_chroma.server import ServerBackend

    backend = ServerBackend(url)

    async def answer(request: Frame) -> None:
        try:
            async with asyncio.timeout(limit_s):
                reply = _reply(request, await _call(backend, request))
        except Exception as error:  # noqa: BLE001 - the reply reports it
            reply = _error_reply(request, error)
        _send(out, reply)

    loop = asyncio.get_running_loop()
    running: set[asyncio.Task[None]] = set()
    while (request := await loop.run_in_executor(None, requests.next)) is not None:
        task = asyncio.create_task(answer(request))
        running.add(task)
        task.add_done_callback(running.discard)


def _call(backend: FolderBackend | ServerBackend, request: Frame) -> Any:
    """Call the backend's method for a request. A `ServerBackend` returns an awaitable."""
    head, body = request.head, request.body
    key, dimension = head.get("key", ""), head.get("dimension", 0)
    match head["op"]:
        case "upsert":
            return backend.upsert(key, dimension, *unpack_rows(body, dimension))
        case "delete":
            return backend.delete(key, dimension, unpack_rows(body, 0)[0])
        case "search":
            return backend.search(key, dimension, _matrix(body, dimension), head["limit"])
        case "ids":
            return backend.ids(key, dimension)
        case "wipe":
            return backend.wipe(key)
    return backend.load()


def _reply(request: Frame, result: Any) -> Frame:
    """Return the reply with a result."""
    head = {"id": request.head["id"]}
    match request.head["op"]:
        case "search":
            pairs = [pair for row in result for pair in row]
            cosines = _array([cosine for _, cosine in pairs])
            body = pack_rows([item_id for item_id, _ in pairs], cosines)
            return Frame({**head, "counts": [len(row) for row in result]}, body)
        case "ids":
            return Frame(head, pack_rows(result, _array([])))
        case "wipe":
            return Frame({**head, "certain": result})
    return Frame(head)


def _error_reply(request: Frame, error: BaseException) -> Frame:
    """Return the reply with an error."""
    head = {"id": request.head["id"]}
    if isinstance(error, VectorIndexError):
        return Frame({**head, "error": str(error), "owned": error.owned})
    operation = request.head["op"]
    message = f"Chroma failed on {operation!r}: {type(error).__name__}: {error}. Try again."
    return Frame({**head, "error": message, "owned": False})


def _matrix(body: bytes, dimension: int) -> Vectors:
    import numpy as np

    return np.frombuffer(body, "<f4").reshape(-1, dimension)


def _array(values: list[float]) -> Vectors:
    import numpy as np

    return np.array(values, "<f4")


def _claim_stdout() -> int:
    """Reserve stdout for frames, and send what libraries print to stderr."""
    out = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return out


def _send(out: int, frame: Frame) -> bool:
    """Send a frame; return whether the parent process still reads."""
    left = memoryview(frame.packed())
    try:
        while left:
            left = left[os.write(out, left) :]
    except OSError:
        return False
    return True


@contextmanager
def _time_limit(limit_s: float) -> Iterator[None]:
    """End the process if the body takes longer than `limit_s`."""
    faulthandler.dump_traceback_later(limit_s, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
