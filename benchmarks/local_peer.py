"""The peers of `local`: the high-level class of llama-cpp-python, and llama.cpp's own programs.

Invariant: a peer runs on the same file, greedy, with as many threads as there are cores.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .machine import cores
from .report import Figure
from .settings import Settings

_BATCHED = "llama-batched-bench"


@contextmanager
def llama_class(path: Path, window: int) -> Iterator[Callable[[int, int], float]]:
    """Tokens a second of the class `Llama` for so many requests of so many tokens."""
    from llama_cpp import Llama

    llama = Llama(str(path), n_ctx=window, n_threads=cores(), verbose=False, flash_attn=True)

    def rate(width: int, tokens: int) -> float:
        begun, made = time.perf_counter(), 0
        for number in range(width):
            text = f"Tell me a story about the number {number}."
            told = llama.create_chat_completion(
                [{"role": "user", "content": text}], max_tokens=tokens, temperature=0
            )
            made += told["usage"]["completion_tokens"]  # type: ignore[index]
        return made / (time.perf_counter() - begun)

    try:
        rate(1, 2)
        yield rate
    finally:
        llama.close()


def batched_bench(
    path: Path, own: Mapping[int, float | None], settings: Settings
) -> Iterator[Figure]:
    """Our tokens a second against those of llama.cpp's own benchmark, where it was given."""
    program = settings.llama_bin and settings.llama_bin / _BATCHED
    if not program:
        note = f"{_BATCHED} was not given: see --llama-bin"
        yield Figure(
            name=f"output, of {_BATCHED}", value=None, unit="x", better="higher", note=note
        )
        return
    theirs = _batched_rates(program, path, list(own))
    for width, rate in own.items():
        yield Figure(
            name=f"output at {width} conversations, of {_BATCHED}",
            value=(rate or 0.0) / theirs[width],
            unit="x",
            better="higher",
            goal=0.95,
            peer=_BATCHED,
            peer_value=1.0,
            note=f"tokens/s {rate or 0.0:.0f}:{theirs[width]:.0f}; ours with prompts, over chat",
        )


def _batched_rates(program: Path, path: Path, widths: list[int]) -> dict[int, float]:
    command = [program, "-m", path, "-c", "16384", "-npp", "32", "-ntg", "64"]
    command += ["-npl", ",".join(map(str, widths)), "-t", str(cores()), "-fa", "on"]
    command += ["--output-format", "jsonl"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {row["pl"]: row["speed_tg"] for row in rows}
