"""all-MiniLM-L6-v2 on onnxruntime.

Invariant: the weights are never copied as a whole: onnxruntime looks into the mapped file, which
therefore has to outlive the session. Safe to be called from several threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from vanta.errors import EmbedderError
from vanta_embedders.architecture import MASK, PIECES, REVISION, WIDTH, WINDOW, shapes
from vanta_embedders.batches import batches
from vanta_embedders.cache import keep, kept
from vanta_embedders.pieces import WordPieces
from vanta_embedders.weights import mapped

BATCH = 256
"""Word pieces that are computed together. Larger batches are slower (their states leave the
processor's cache), and a turn's question would wait longer for one to end."""

TOKENIZED = 256
"""Texts that are tokenized in one step."""

Vectors = npt.NDArray[np.float32]


class MiniLm:
    """The network, its weights and its tokenizer.

    model: the weights' file. digest: what distinguishes them from others. folder: where the graph
    is kept. Raises EmbedderError, OSError.
    """

    dimension = WIDTH

    def __init__(self, model: Path, digest: str, folder: Path, threads: int) -> None:
        self.revision = f"{REVISION}-{digest[:12]}"
        self.pieces = WordPieces(model, WINDOW)
        weights = mapped(model, shapes())
        self._held = [ort.OrtValue.ortvalue_from_numpy(tensor) for tensor in weights.values()]
        options = _options(threads)
        options.add_external_initializers(list(weights), self._held)
        self._weights = weights
        self._session = _session(folder / f"graph-{REVISION}.onnx", options)

    def steps(self, texts: Sequence[str], rows: Vectors) -> Iterator[None]:
        """Fill `rows` with the texts' vectors; each step is one batch."""
        pieces: list[list[int]] = []
        for start in range(0, len(texts), TOKENIZED):
            pieces += self.pieces.of(texts[start : start + TOKENIZED])
            yield
        for batch in batches([len(ids) for ids in pieces], BATCH):
            rows[batch] = self.vectors([pieces[position] for position in batch])
            yield

    def vectors(self, pieces: Sequence[Sequence[int]]) -> Vectors:
        """The vectors of one batch of texts, given as word pieces. Raises EmbedderError."""
        ids = np.zeros((len(pieces), max(map(len, pieces))), np.int64)
        mask = np.zeros(ids.shape, np.int32)
        for row, found in enumerate(pieces):
            ids[row, : len(found)] = found
            mask[row, : len(found)] = 1
        try:
            (vectors,) = self._session.run(None, {PIECES: ids, MASK: mask})
        except Exception as error:  # onnxruntime's exceptions have no base of their own
            raise EmbedderError(
                f"onnxruntime could not compute {len(pieces)} vectors: {error}. Check the "
                "weights with `vanta models verify all-minilm-l6-v2`."
            ) from error
        found_vectors: Vectors = vectors
        return found_vectors


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # The graph is fused already; to optimise it again takes longer than all the rest.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Idle threads sleep: a core that spins is one that a local engine does not have.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _session(path: Path, options: ort.SessionOptions) -> ort.InferenceSession:
    graph = kept(path)
    if graph is None:
        from vanta_embedders.graph import build  # and onnx, which is needed for nothing else

        graph = build()
        keep(path, graph)
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
