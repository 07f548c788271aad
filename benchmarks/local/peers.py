"""The peers of `local`, each in its own process.

They are llama-cpp-python's class `Llama` and a bare `llama_decode` (`peers/llama_python.py`), and
llama.cpp's own programs. Invariant: a peer runs on the same file, greedy, with one thread per core,
streams its answers as the engine does, and ends with its context.
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

from ..machine import cores
from ..report import Settings

BATCHED = "llama-batched-bench"
SERVER = "llama-server"
_TIMEOUT_S = 600
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens URLs on this machine, through no proxy of the environment."""
_PYTHON = Path(__file__).parent.parent / "peers" / "llama_python.py"


@contextmanager
def python_peer(
    kind: str, path: Path, window: int, sequences: int = 1
) -> Iterator[Callable[..., Any]]:
    """Start one of the PEERS of `peers/llama_python.py`; yield a function that calls it. Blocking.

    A call raises RuntimeError or OSError once the process has ended.
    """
    command = [sys.executable, "-P", str(_PYTHON), kind, str(path), str(window), str(sequences)]
    peer = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    requests, replies = peer.stdin, peer.stdout
    assert requests is not None
    assert replies is not None

    def read_reply() -> Any:
        line = replies.readline()
        if not line:
            raise RuntimeError(f"the peer {kind!r} of llama-cpp-python ended")
        return json.loads(line)

    def call(*arguments: Any) -> Any:
        requests.write(json.dumps(arguments) + "\n")
        requests.flush()
        return read_reply()

    with peer:
        try:
            read_reply()
            yield call
        finally:
            peer.kill()


def program(settings: Settings, name: str) -> Path | None:
    """Return the path of a program of llama.cpp, or None if `--llama-bin` does not have it."""
    path = settings.llama_bin and settings.llama_bin / name
    return path if path and path.exists() else None


def batched_rate(program: Path, path: Path, width: int, tokens: int, *, flash: bool) -> float:
    """Return the tokens per second that llama.cpp's benchmark decodes with `width` sequences."""
    command = [str(program), "-m", str(path), "-c", "16384", "-npp", "32", "-ntg", str(tokens)]
    command += ["-npl", str(width), "-t", str(cores()), "--output-format", "jsonl"]
    command += ["-fa", "on" if flash else "off"]
    process = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S
    )
    rows = [json.loads(line) for line in process.stdout.splitlines() if line.startswith("{")]
    return next(float(row["speed_tg"]) for row in rows if row["pl"] == width)


@contextmanager
def llama_server(
    program: Path, path: Path, slots: int, window: int
) -> Iterator[Callable[[Sequence[str], int], float]]:
    """Start llama.cpp's server and yield a function that returns its total tokens per second.

    The function takes texts that are sent at once and the number of tokens of each answer.

    :param slots: the maximum number of concurrent texts.
    :param window: the tokens of all slots together.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        str(program),
        "-m",
        str(path),
        "-c",
        str(window),
        "-np",
        str(slots),
        "-t",
        str(cores()),
    ]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"

    def rate(texts: Sequence[str], tokens: int) -> float:
        begun = time.perf_counter()
        with ThreadPoolExecutor(len(texts)) as threads:
            count = sum(threads.map(lambda text: _count_tokens(url, text, tokens), texts))
        return count / (time.perf_counter() - begun)

    try:
        _wait_for(url, server)
        rate(["Hello"], 2)
        yield rate
    finally:
        server.kill()
        server.wait()


def _count_tokens(url: str, text: str, tokens: int) -> int:
    """Return the number of tokens of a streamed answer, from its usage."""
    body = {"messages": [{"role": "user", "content": text}], "max_tokens": tokens, "temperature": 0}
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    request = urllib.request.Request(  # noqa: S310 - our own server on loopback
        f"{url}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with _DIRECT.open(request, timeout=_TIMEOUT_S) as response:
        last = [line for line in response if b'"completion_tokens"' in line][-1]
    return int(json.loads(last.removeprefix(b"data:"))["usage"]["completion_tokens"])


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline and server.poll() is None:
        with (
            suppress(OSError),
            _DIRECT.open(f"{url}/health", timeout=5) as response,
        ):
            if response.status == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"{SERVER} did not become ready; its exit code is {server.poll()}")
