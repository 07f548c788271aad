"""all-MiniLM-L6-v2 on onnxruntime.

Invariant: the weights are never copied as a whole. onnxruntime reads the mapped file, which
therefore must outlive the session. Safe to call from several threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort

from vanta import EmbedderError
from vanta_embedders.local import read_cached, write_cached
from vanta_embedders.model_files import (
    MASK,
    PIECES,
    REVISION,
    WIDTH,
    WINDOW,
    WordPieceTokenizer,
    map_weights,
)

if TYPE_CHECKING:
    from vanta.memory import Vectors

PIECES_PER_BATCH = 256
"""Word pieces that are computed together. Larger batches are slower (their states leave the
processor's cache), and a turn's question would wait longer for one to end."""

TEXTS_PER_STEP = 256
"""Texts that are tokenized in one step."""


class MiniLm:
    """The network, its weights and its tokenizer.

    model: the weights file. digest: the weights' SHA-256. folder: where the graph is cached.
    Raises EmbedderError, OSError.
    """

    dimension = WIDTH

    def __init__(self, model: Path, digest: str, folder: Path, threads: int) -> None:
        self.revision = f"{REVISION}-{digest[:12]}"
        self._tokenizer = WordPieceTokenizer(model, WINDOW)
        weights = map_weights(model)
        self._held = [ort.OrtValue.ortvalue_from_numpy(tensor) for tensor in weights.values()]
        options = _session_options(threads)
        options.add_external_initializers(list(weights), self._held)
        self._weights = weights
        self._session = _open_session(folder / f"graph-{REVISION}.onnx", options)

    def steps(self, texts: Sequence[str], rows: Vectors) -> Iterator[None]:
        """Fill `rows` with the texts' vectors; each step is one batch."""
        pieces: list[list[int]] = []
        for start in range(0, len(texts), TEXTS_PER_STEP):
            pieces += self._tokenizer.encode(texts[start : start + TEXTS_PER_STEP])
            yield
        for batch in batches([len(ids) for ids in pieces], PIECES_PER_BATCH):
            rows[batch] = self.vectors([pieces[position] for position in batch])
            yield

    def vectors(self, pieces: Sequence[Sequence[int]]) -> Vectors:
        """Return the vectors of one batch of texts, given as word pieces. Raises EmbedderError."""
        ids = np.zeros((len(pieces), max(map(len, pieces))), np.int64)
        mask = np.zeros(ids.shape, np.int32)
        for row, text_ids in enumerate(pieces):
            ids[row, : len(text_ids)] = text_ids
            mask[row, : len(text_ids)] = 1
        try:
            (output,) = self._session.run(None, {PIECES: ids, MASK: mask})
        except Exception as error:  # onnxruntime's exceptions have no common base
            raise EmbedderError(
                f"onnxruntime could not compute {len(pieces)} vectors: {error}. Check the "
                "weights with `vanta models verify all-minilm-l6-v2`."
            ) from error
        vectors: Vectors = output
        return vectors


def batches(lengths: Sequence[int], max_pieces: int) -> Iterator[list[int]]:
    """Yield batches of positions in `lengths`: texts of similar length, so little is padded.

    Every position is in exactly one batch. A batch of more than one text has at most `max_pieces`
    pieces, including padding.
    """
    batch: list[int] = []
    for position in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[position] * (len(batch) + 1) > max_pieces:
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch


def _session_options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # The graph is fused already; optimising it again would take longer than everything else.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Idle threads sleep: a spinning core is lost to a local engine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _open_session(path: Path, options: ort.SessionOptions) -> ort.InferenceSession:
    graph = read_cached(path)
    if graph is None:
        from vanta_embedders.graph import build  # and onnx, which is needed only here

        graph = build()
        write_cached(path, graph)
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
