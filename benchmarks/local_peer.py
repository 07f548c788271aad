"""The peers of `local`: the high-level class of llama-cpp-python, llama.cpp's own programs, and a
bare `llama_decode`.

Invariant: a peer runs on the same file, greedy, with as many threads as there are cores; where the
library was built for AMX, the class and the bare decode leave it alone as the engine does, since
such builds end the process on many machines (github.com/ggml-org/llama.cpp/pull/26954).
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .machine import cores
from .settings import Settings

BATCHED = "llama-batched-bench"
SERVER = "llama-server"
_TIMEOUT_S = 600
_AMX = b"AMX_INT8 = 1"


def program(settings: Settings, name: str) -> Path | None:
    """llama.cpp's program of this name, where it was given."""
    found = settings.llama_bin and settings.llama_bin / name
    return found if found and found.exists() else None


@contextmanager
def llama_class(path: Path, window: int) -> Iterator[Callable[[int, int], float]]:
    """Tokens a second of the class `Llama` for so many requests of so many tokens."""
    from llama_cpp import Llama

    with _plain_weights():
        llama = Llama(str(path), n_ctx=window, n_threads=cores(), verbose=False)

    def rate(width: int, tokens: int) -> float:
        begun, made = time.perf_counter(), 0
        for number in range(width):
            told = llama.create_chat_completion(_story(number), max_tokens=tokens, temperature=0)
            made += told["usage"]["completion_tokens"]  # type: ignore[index]
        return made / (time.perf_counter() - begun)

    try:
        rate(1, 2)
        yield rate
    finally:
        llama.close()


def batched_rate(program: Path, path: Path, width: int, tokens: int) -> float:
    """Tokens a second that llama.cpp's own benchmark decodes for so many sequences."""
    command = [program, "-m", path, "-c", "16384", "-npp", "32", "-ntg", str(tokens)]
    command += ["-npl", str(width), "-t", str(cores()), "--output-format", "jsonl"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return next(float(row["speed_tg"]) for row in rows if row["pl"] == width)


@contextmanager
def llama_server(
    program: Path, path: Path, most: int, window: int
) -> Iterator[Callable[[int, int], float]]:
    """Tokens a second of llama.cpp's server for so many requests at once, `most` of them."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [program, "-m", path, "-c", str(window), "-np", str(most), "-t", str(cores())]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"

    def rate(width: int, tokens: int) -> float:
        begun = time.perf_counter()
        with ThreadPoolExecutor(width) as threads:
            made = sum(threads.map(lambda number: _completed(url, number, tokens), range(width)))
        return made / (time.perf_counter() - begun)

    try:
        _wait_for(url, server)
        rate(1, 2)
        yield rate
    finally:
        server.kill()
        server.wait()


def _completed(url: str, number: int, tokens: int) -> int:
    body = {"messages": _story(number), "max_tokens": tokens, "temperature": 0}
    asked = urllib.request.Request(  # noqa: S310 - our own server on loopback
        f"{url}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked, timeout=_TIMEOUT_S) as answered:  # noqa: S310
        return int(json.load(answered)["usage"]["completion_tokens"])


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


@contextmanager
def bare_reader(path: Path, window: int) -> Iterator[Callable[[int, int], float]]:
    """Seconds that one `llama_decode` takes to read so many tokens upon so many that are there."""
    from llama_cpp import llama_cpp as lib

    params = lib.llama_model_default_params()
    params.use_extra_bufts = _AMX not in lib.llama_print_system_info()
    model = lib.llama_model_load_from_file(str(path).encode(), params)
    wanted = lib.llama_context_default_params()
    wanted.n_ctx = wanted.n_batch = window
    wanted.n_threads = wanted.n_threads_batch = cores()
    wanted.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
    context = lib.llama_init_from_model(model, wanted)
    batch = lib.llama_batch_init(window, 0, 1)
    memory = lib.llama_get_memory(context)

    def read(upon: int, count: int) -> float:
        begun = time.perf_counter()
        _fill(batch, upon, count)
        if lib.llama_decode(context, batch):
            raise RuntimeError("llama_decode failed")
        return time.perf_counter() - begun

    def rate(upon: int, count: int) -> float:
        lib.llama_memory_seq_rm(memory, 0, -1, -1)
        read(0, upon)
        return read(upon, count)

    try:
        yield rate
    finally:
        lib.llama_batch_free(batch)
        lib.llama_free(context)
        lib.llama_model_free(model)


def _fill(batch: Any, position: int, count: int) -> None:
    for index in range(count):
        batch.token[index] = 100 + (position + index) % 1000
        batch.pos[index] = position + index
        batch.n_seq_id[index] = 1
        batch.seq_id[index][0] = 0
        batch.logits[index] = index == count - 1
    batch.n_tokens = count


@contextmanager
def _plain_weights() -> Iterator[None]:
    """Load without the buffers in which AMX computes, where the library was built for it."""
    from llama_cpp import llama_cpp as lib

    usual = lib.llama_model_default_params

    def params() -> Any:
        found = usual()
        found.use_extra_bufts = _AMX not in lib.llama_print_system_info()
        return found

    lib.llama_model_default_params = params  # type: ignore[assignment]
    try:
        yield
    finally:
        lib.llama_model_default_params = usual


def _story(number: int) -> list[Any]:
    return [{"role": "user", "content": f"Tell me a story about the number {number}."}]
