"""The peer of scripts that are run side by side: llama.cpp itself, decoding for many sequences.

Invariant: on the same file with as many threads as there are cores, greedy steps of one token,
without any of vanta's own work; AMX is left alone as the engine does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .machine import cores

_PROMPT, _WINDOW = 64, 256
_AMX = b"AMX_INT8 = 1"


@contextmanager
def batched_decode(path: Path, width: int) -> Iterator[Callable[[int], tuple[float, float]]]:
    """Seconds for so many tokens of `width` sequences: one sequence after another, and all at
    once."""
    from llama_cpp import llama_cpp as lib

    params = lib.llama_model_default_params()
    params.use_extra_bufts = _AMX not in lib.llama_print_system_info()
    model = lib.llama_model_load_from_file(str(path).encode(), params)
    wanted = lib.llama_context_default_params()
    wanted.n_ctx, wanted.n_seq_max = width * _WINDOW, width
    wanted.n_threads = wanted.n_threads_batch = cores()
    wanted.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
    context = lib.llama_init_from_model(model, wanted)
    batch, memory = lib.llama_batch_init(max(width, _PROMPT), 0, 1), lib.llama_get_memory(context)

    def step(sequences: Sequence[int], position: int, count: int = 1) -> None:
        batch.n_tokens = 0
        for sequence in sequences:
            for offset in range(count):
                at = batch.n_tokens
                batch.token[at], batch.pos[at] = 100 + sequence, position + offset
                batch.n_seq_id[at], batch.seq_id[at][0] = 1, sequence
                batch.logits[at] = offset == count - 1
                batch.n_tokens = at + 1
        if lib.llama_decode(context, batch):
            raise RuntimeError("llama_decode failed")

    def took(groups: Sequence[Sequence[int]], tokens: int) -> float:
        for sequence in range(width):
            lib.llama_memory_seq_rm(memory, sequence, _PROMPT, -1)
        begun = time.perf_counter()
        for group in groups:
            for number in range(tokens):
                step(group, _PROMPT + number)
        return time.perf_counter() - begun

    for sequence in range(width):
        step([sequence], 0, _PROMPT)
    every = range(width)
    try:
        yield lambda tokens: (took([[one] for one in every], tokens), took([every], tokens))
    finally:
        lib.llama_batch_free(batch)
        lib.llama_free(context)
        lib.llama_model_free(model)
