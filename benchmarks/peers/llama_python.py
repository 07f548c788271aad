"""A program that runs llama-cpp-python on a model file without vanta.

`llama_python.py KIND MODEL WINDOW SEQUENCES`, where KIND is one of PEERS. The program writes a line
with `null` once it is ready. Then it reads JSON arrays of arguments, one per line, and writes the
JSON result of each call on a line. Decoding is greedy, with one thread per core. If the library was
built for AMX, AMX is not used, as in the engine, because such builds end the process on many
machines (github.com/ggml-org/llama.cpp/pull/26954).

Invariant: nothing of vanta is imported, and nothing else computes in this process, because waiting
OpenMP threads of one context slow down those of another.
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
    """Return (texts, tokens) -> tokens per second of the class `Llama`, one text after another."""
    default_params = lib.llama_model_default_params

    def params() -> Any:
        values = default_params()
        values.use_extra_bufts = _AMX not in lib.llama_print_system_info()
        return values

    lib.llama_model_default_params = params
    llama = Llama(path, n_ctx=window, n_threads=_cores(), verbose=False)

    def rate(texts: Sequence[str], tokens: int) -> float:
        begun, count = time.perf_counter(), 0
        for text in texts:
            chunks: Any = llama.create_chat_completion(
                [{"role": "user", "content": text}], max_tokens=tokens, temperature=0, stream=True
            )
            count += sum("content" in chunk["choices"][0]["delta"] for chunk in chunks)
        return count / (time.perf_counter() - begun)

    rate(["Hello"], 2)
    return rate


def reader(path: str, window: int, _sequences: int) -> Peer:
    """Return (cached, count) -> seconds to decode `count` tokens at once after `cached` ones."""
    context = BareContext(path, window, 1, batch=window)

    def read(cached: int, count: int) -> float:
        context.cut(0, 0)
        if cached:
            context.step([0], 0, cached)
        return context.step([0], cached, count)

    return read


def batched(path: str, window: int, sequences: int) -> Peer:
    """Return (tokens) -> seconds for that many tokens of every sequence.

    The result has two values: one sequence after another, and all at once.
    """
    context = BareContext(path, window, sequences, batch=max(sequences, _PROMPT))
    every = list(range(sequences))
    for sequence in every:
        context.step([sequence], 0, _PROMPT)

    def measure(groups: Sequence[Sequence[int]], tokens: int) -> float:
        for sequence in every:
            context.cut(sequence, _PROMPT)
        positions = range(_PROMPT, _PROMPT + tokens)
        return sum(context.step(group, position, 1) for group in groups for position in positions)

    return lambda tokens: [
        measure([[sequence] for sequence in every], tokens),
        measure([every], tokens),
    ]


class BareContext:
    """A context with a batch, without flash attention like the engine; decodes invented tokens."""

    def __init__(self, path: str, window: int, sequences: int, *, batch: int) -> None:
        params = lib.llama_model_default_params()
        params.use_extra_bufts = _AMX not in lib.llama_print_system_info()
        options = lib.llama_context_default_params()
        options.n_ctx, options.n_seq_max, options.n_batch = window * sequences, sequences, batch
        options.n_threads = options.n_threads_batch = _cores()
        options.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        model = lib.llama_model_load_from_file(path.encode(), params)
        self._context = lib.llama_init_from_model(model, options)
        self._batch = lib.llama_batch_init(batch, 0, 1)

    def cut(self, sequence: int, length: int) -> None:
        """Truncate a sequence to `length` tokens."""
        lib.llama_memory_seq_rm(lib.llama_get_memory(self._context), sequence, length, -1)

    def step(self, sequences: Sequence[int], position: int, count: int) -> float:
        """Decode `count` tokens of each sequence from `position`; return the seconds."""
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
