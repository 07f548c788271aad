"""The peers of `local`: llama-cpp-python's class `Llama`, a bare `llama_decode` (both in
`peers/llama_python.py`), and llama.cpp's own programs.

Invariant: a peer runs on the same file, greedy, with as many threads as there are cores, in a
process of its own, streams its answers as the engine does, and is gone with its context.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .machine import cores
from .settings import Settings

BATCHED = "llama-batched-bench"
SERVER = "llama-server"
_TIMEOUT_S = 600
_PYTHON = Path(__file__).parent / "peers" / "llama_python.py"


@contextmanager
def python_peer(
    kind: str, path: Path, window: int, sequences: int = 1
) -> Iterator[Callable[..., Any]]:
    """One of the PEERS of `peers/llama_python.py`, ready; blocking. A call raises RuntimeError or
    OSError once its process has ended."""
    command = [sys.executable, "-P", _PYTHON, kind, path, str(window), str(sequences)]
    peer = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    sent, told = peer.stdin, peer.stdout
    assert sent is not None
    assert told is not None

    def answered() -> Any:
        line = told.readline()
        if not line:
            raise RuntimeError(f"the peer {kind!r} of llama-cpp-python ended")
        return json.loads(line)

    def call(*arguments: Any) -> Any:
        sent.write(json.dumps(arguments) + "\n")
        sent.flush()
        return answered()

    with peer:
        try:
            answered()
            yield call
        finally:
            peer.kill()


def program(settings: Settings, name: str) -> Path | None:
    """llama.cpp's program of this name, where it was given."""
    found = settings.llama_bin and settings.llama_bin / name
    return found if found and found.exists() else None


def batched_rate(program: Path, path: Path, width: int, tokens: int, *, flash: bool) -> float:
    """Tokens a second that llama.cpp's own benchmark decodes for so many sequences."""
    command = [program, "-m", path, "-c", "16384", "-npp", "32", "-ntg", str(tokens)]
    command += ["-npl", str(width), "-t", str(cores()), "--output-format", "jsonl"]
    command += ["-fa", "on" if flash else "off"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return next(float(row["speed_tg"]) for row in rows if row["pl"] == width)


@contextmanager
def llama_server(
    program: Path, path: Path, most: int, window: int
) -> Iterator[Callable[[Sequence[str], int], float]]:
    """Tokens a second in all of llama.cpp's server, for answers of so many tokens to texts that are
    sent at once, `most` of them; window: tokens of all together."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [program, "-m", path, "-c", str(window), "-np", str(most), "-t", str(cores())]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"

    def rate(texts: Sequence[str], tokens: int) -> float:
        begun = time.perf_counter()
        with ThreadPoolExecutor(len(texts)) as threads:
            made = sum(threads.map(lambda text: _completed(url, text, tokens), texts))
        return made / (time.perf_counter() - begun)

    try:
        _wait_for(url, server)
        rate(["Hello"], 2)
        yield rate
    finally:
        server.kill()
        server.wait()


def _completed(url: str, text: str, tokens: int) -> int:
    """The tokens of a streamed answer. What else its events say is not looked at."""
    body = {"messages": _said(text), "max_tokens": tokens, "temperature": 0}
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    asked = urllib.request.Request(  # noqa: S310 - our own server on loopback
        f"{url}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked, timeout=_TIMEOUT_S) as answered:  # noqa: S310
        last = [line for line in answered if b'"completion_tokens"' in line][-1]
    return int(json.loads(last.removeprefix(b"data:"))["usage"]["completion_tokens"])


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < until and server.poll() is None:
        with (
            suppress(OSError),
            urllib.request.urlopen(f"{url}/health", timeout=5) as answered,  # noqa: S310
        ):
            if answered.status == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"{SERVER} did not get ready; it ended with {server.poll()}")


def _said(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]
