"""A program: what llama-cpp-python does on a model file without vanta.

`llama_python.py KIND MODEL WINDOW SEQUENCES`, KIND being one of PEERS. Reads JSON arrays of
arguments, a line each, and writes a line with the JSON result of each; first one with `null`, when
it is ready. Greedy, with as many threads as there are cores. Where the library was built for AMX it
is left alone, as the engine does, since such builds end the process on many machines
(github.com/ggml-org/llama.cpp/pull/26954).

Invariant: nothing of vanta is imported, and nothing else computes in this process: OpenMP's threads
of one context slow down those of another, though they only wait.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from llama_cpp import Llama
from llama_cpp import llama_cpp as lib

_AMX = b"AMX_INT8 = 1"
_PROMPT = 64
Peer = Callable[..., Any]


def class_llama(path: str, window: int, _sequences: int) -> Peer:
    """(texts, tokens) -> tokens a second of the class `Llama`; it streams one after another."""
    usual = lib.llama_model_default_params

    def params() -> Any:
        found = usual()
        found.use_extra_bufts = _AMX not in lib.llama_print_system_info()
        return found

    lib.llama_model_default_params = params  # type: ignore[assignment]
    llama = Llama(path, n_ctx=window, n_threads=_cores(), verbose=False)

    def rate(texts: Sequence[str], tokens: int) -> float:
        begun, made = time.perf_counter(), 0
        for text in texts:
            told: Any = llama.create_chat_completion(
                [{"role": "user", "content": text}], max_tokens=tokens, temperature=0, stream=True
            )
            made += sum("content" in chunk["choices"][0]["delta"] for chunk in told)
        return made / (time.perf_counter() - begun)

    rate(["Hello"], 2)
    return rate


def reader(path: str, window: int, _sequences: int) -> Peer:
    """(upon, count) -> seconds that one `llama_decode` takes to read `count` tokens upon others."""
    bare = Bare(path, window, 1, most=window)

    def read(upon: int, count: int) -> float:
        bare.cut(0, 0)
        if upon:
            bare.step([0], 0, upon)
        return bare.step([0], upon, count)

    return read


def batched(path: str, window: int, sequences: int) -> Peer:
    """(tokens) -> seconds for so many tokens of every sequence: one sequence after another, and all
    at once."""
    bare = Bare(path, window, sequences, most=max(sequences, _PROMPT))
    every = list(range(sequences))
    for sequence in every:
        bare.step([sequence], 0, _PROMPT)

    def took(groups: Sequence[Sequence[int]], tokens: int) -> float:
        for sequence in every:
            bare.cut(sequence, _PROMPT)
        positions = range(_PROMPT, _PROMPT + tokens)
        return sum(bare.step(group, position, 1) for group in groups for position in positions)

    return lambda tokens: [took([[one] for one in every], tokens), took([every], tokens)]


class Bare:
    """A context with a batch, without flash attention as the engine's; steps of made-up tokens."""

    def __init__(self, path: str, window: int, sequences: int, *, most: int) -> None:
        params = lib.llama_model_default_params()
        params.use_extra_bufts = _AMX not in lib.llama_print_system_info()
        wanted = lib.llama_context_default_params()
        wanted.n_ctx, wanted.n_seq_max, wanted.n_batch = window * sequences, sequences, most
        wanted.n_threads = wanted.n_threads_batch = _cores()
        wanted.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        model = lib.llama_model_load_from_file(path.encode(), params)
        self._context = lib.llama_init_from_model(model, wanted)
        self._batch = lib.llama_batch_init(most, 0, 1)

    def cut(self, sequence: int, length: int) -> None:
        """Keep so many tokens of a sequence."""
        lib.llama_memory_seq_rm(lib.llama_get_memory(self._context), sequence, length, -1)

    def step(self, sequences: Sequence[int], position: int, count: int) -> float:
        """Decode `count` tokens of each sequence from `position` on; returns the seconds."""
        begun, batch = time.perf_counter(), self._batch
        batch.n_tokens = 0
        for sequence in sequences:
            for offset in range(count):
                at = batch.n_tokens
                batch.token[at] = 100 + (sequence + position + offset) % 1000
                batch.pos[at], batch.logits[at] = position + offset, offset == count - 1
                batch.n_seq_id[at], batch.seq_id[at][0] = 1, sequence
                batch.n_tokens = at + 1
        if lib.llama_decode(self._context, batch):
            raise RuntimeError("llama_decode failed")
        return time.perf_counter() - begun


PEERS: dict[str, Callable[[str, int, int], Peer]] = {
    "class": class_llama,
    "reader": reader,
    "batched": batched,
}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _main(kind: str, path: str, window: str, sequences: str) -> None:
    quiet = lib.llama_log_callback(lambda _level, _text, _data: None)
    lib.llama_log_set(quiet, None)
    peer = PEERS[kind](path, int(window), int(sequences))
    print("null", flush=True)
    for line in sys.stdin:
        print(json.dumps(peer(*json.loads(line))), flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
