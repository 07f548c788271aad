"""Vectors for texts, from a model whose file says how they are pooled.

A context of its own on the same weights, made when first wanted. Invariant: a vector depends on its
text alone: each text is a sequence of its own, and nothing stays between batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vanta_llamacpp.model.model import LlamaModel
from vanta_llamacpp.worker.batch import Batch

LONGEST = 2048
"""Tokens of a text, and of all texts of a batch."""
MOST_TEXTS = 16
_NONE, _RANK = 0, 4


class Embedder:
    """Made, used and closed by the worker. Raises EngineError where the model cannot embed."""

    def __init__(self, model: LlamaModel) -> None:
        lib = self._lib = model.lib
        self._faults = model.faults
        self._context = lib.llama_init_from_model(model.native, _params(model))
        if not self._context:
            raise model.faults.broken("no context for embeddings could be made")
        pooling = lib.llama_pooling_type(self._context)
        if pooling in {_NONE, _RANK}:
            lib.llama_free(self._context)
            raise model.faults.unsupported(
                "the model's file names no pooling: it was not made for embeddings",
                "Use a file of an embedding model.",
            )
        model.abort.install(lib, self._context)
        self._memory = lib.llama_get_memory(self._context)
        self._run = lib.llama_encode if model.facts.encoder else lib.llama_decode
        self._batch = Batch(lib, int(lib.llama_n_batch(self._context)))
        self._width = int(lib.llama_model_n_embd(model.native))

    def embed(self, texts: Sequence[Sequence[int]]) -> list[list[float]]:
        """A vector of length 1 for the tokens of each text; `portions` says what fits at once."""
        if self._memory:
            self._lib.llama_memory_clear(self._memory, True)
        self._batch.clear()
        for sequence, tokens in enumerate(texts):
            self._batch.add(tokens, 0, sequence, logits=True)
        for index in range(self._batch.native.n_tokens):
            self._batch.native.logits[index] = 1
        code = self._run(self._context, self._batch.native)
        if code:
            raise self._faults.broken(f"llama.cpp failed with code {code} on embeddings")
        return [self._vector(sequence) for sequence in range(len(texts))]

    def use_threads(self, count: int) -> None:
        """Compute with `count` threads from the next batch on."""
        self._lib.llama_set_n_threads(self._context, count, count)

    def _vector(self, sequence: int) -> list[float]:
        found = self._lib.llama_get_embeddings_seq(self._context, sequence)
        vector: Any = np.ctypeslib.as_array(found, shape=(self._width,)).astype(np.float64)
        length = float(np.linalg.norm(vector))
        values: list[float] = (vector / length if length else vector).tolist()
        return values

    def close(self) -> None:
        """Free it; before the model."""
        self._batch.close()
        self._lib.llama_free(self._context)


def portions(texts: Sequence[Sequence[int]]) -> list[list[Sequence[int]]]:
    """`texts` in order, parted so that each part fits into one batch."""
    parts: list[list[Sequence[int]]] = []
    room = 0
    for tokens in texts:
        if not parts or len(tokens) > room or len(parts[-1]) == MOST_TEXTS:
            parts.append([])
            room = LONGEST
        parts[-1].append(tokens)
        room -= len(tokens)
    return parts


def _params(model: LlamaModel) -> Any:
    params = model.lib.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = LONGEST
    params.n_seq_max = MOST_TEXTS
    params.kv_unified = True
    params.embeddings = True
    params.n_threads = params.n_threads_batch = model.threads
    params.no_perf = True
    return params
