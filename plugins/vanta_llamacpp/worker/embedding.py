"""Embeddings of texts, from a model whose file declares how they are pooled.

A second context on the same weights, made on first use. Invariant: a vector depends on its text
alone. Each text is a sequence of its own, and nothing stays between batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vanta_llamacpp.model import Batch, LlamaModel

BATCH_TOKENS = 2048
"""The maximum tokens of a text, and of all texts of a batch."""
BATCH_TEXTS = 16
"""The maximum number of texts of a batch."""
_POOLING_NONE, _POOLING_RANK = 0, 4


class EmbeddingContext:
    """A context that computes embeddings; made, used and closed by the worker.

    Raises EngineError if the model cannot embed.
    """

    def __init__(self, model: LlamaModel) -> None:
        lib = self._lib = model.lib
        self._faults = model.faults
        self._context = lib.llama_init_from_model(model.native, _params(model))
        if not self._context:
            raise model.faults.broken("llama.cpp cannot make a context for embeddings")
        pooling = lib.llama_pooling_type(self._context)
        if pooling in {_POOLING_NONE, _POOLING_RANK}:
            lib.llama_free(self._context)
            raise model.faults.unsupported(
                "the model's file declares no pooling, so it is not an embedding model",
                "Use a file of an embedding model.",
            )
        model.abort.install(lib, self._context)
        self._memory = lib.llama_get_memory(self._context)
        self._run = lib.llama_encode if model.facts.encoder else lib.llama_decode
        self._batch = Batch(lib, int(lib.llama_n_batch(self._context)))
        self._width = int(lib.llama_model_n_embd(model.native))

    def embed(self, texts: Sequence[Sequence[int]]) -> list[list[float]]:
        """Return a vector of length 1 for each text of one batch (see `split_batches`)."""
        if self._memory:
            self._lib.llama_memory_clear(self._memory, True)
        self._batch.clear()
        for sequence, tokens in enumerate(texts):
            self._batch.add(tokens, 0, sequence, logits=True)
        self._batch.request_all_outputs()
        code = self._run(self._context, self._batch.native)
        if code:
            raise self._faults.broken(f"llama.cpp failed with code {code} on embeddings")
        return [self._vector(sequence) for sequence in range(len(texts))]

    def use_threads(self, count: int) -> None:
        """Compute with `count` threads from the next batch on."""
        self._lib.llama_set_n_threads(self._context, count, count)

    def _vector(self, sequence: int) -> list[float]:
        pooled = self._lib.llama_get_embeddings_seq(self._context, sequence)
        vector: Any = np.ctypeslib.as_array(pooled, shape=(self._width,)).astype(np.float64)
        length = float(np.linalg.norm(vector))
        values: list[float] = (vector / length if length else vector).tolist()
        return values

    def close(self) -> None:
        """Free the context; called once, before the model is freed."""
        self._batch.close()
        self._lib.llama_free(self._context)


def split_batches(texts: Sequence[Sequence[int]]) -> list[list[Sequence[int]]]:
    """Split `texts`, in order, so that each part fits into one batch."""
    batches: list[list[Sequence[int]]] = []
    room = 0
    for tokens in texts:
        if not batches or len(tokens) > room or len(batches[-1]) == BATCH_TEXTS:
            batches.append([])
            room = BATCH_TOKENS
        batches[-1].append(tokens)
        room -= len(tokens)
    return batches


def _params(model: LlamaModel) -> Any:
    params = model.lib.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = BATCH_TOKENS
    params.n_seq_max = BATCH_TEXTS
    params.kv_unified = True
    params.embeddings = True
    params.n_threads = params.n_threads_batch = model.threads
    params.no_perf = True
    return params
