"""A table with one vector per word piece, made from all-MiniLM-L6-v2.

After Model2Vec (https://github.com/MinishLab/model2vec): the model embeds each piece of its
vocabulary alone, the vectors are centred and reduced to their principal components, and frequent
pieces get less weight, as in "A simple but tough-to-beat baseline for sentence embeddings" (Arora
et al. 2017). The vocabulary is ordered by frequency, so the rank of a word stands for its frequency
(Zipf). The weighting, log(rank) squared, was the best on a set of sentence pairs.

Invariant: the same weights make the same table. REVISION changes with anything that changes it.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import TYPE_CHECKING

import numpy as np

from vanta_embedders.model_files import VOCABULARY, WIDTH
from vanta_embedders.network import PIECES_PER_BATCH

if TYPE_CHECKING:
    from vanta.memory import Vectors
    from vanta_embedders.network import MiniLm

REVISION = "1"

_UNUSED = range(999)  # [PAD], [UNK], [unused0]...: they occur in no text; their rows stay zeros
_FIRST_WORD = 1_996  # punctuation and single letters come first, then words by frequency
_CLS, _SEP = 101, 102
_REPEATS = 2
"""How often a piece is repeated: a single one has too little weight beside [CLS] and [SEP]."""

_log = logging.getLogger("vanta.embedders")


def distil(model: MiniLm, dimension: int) -> Generator[None, None, Vectors]:
    """Compute the table, float32, (VOCABULARY, dimension); each step is one batch of pieces."""
    raw = yield from _embed_pieces(model)
    used = np.ones(VOCABULARY, bool)
    used[_UNUSED.start : _UNUSED.stop] = False
    centred = raw - raw[used].mean(axis=0)
    centred[~used] = 0
    yield
    _values, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    yield
    table: Vectors = (centred @ axes[:, : -dimension - 1 : -1].astype(np.float32)) * _weights()
    return np.ascontiguousarray(table)


def _embed_pieces(model: MiniLm) -> Generator[None, None, Vectors]:
    """Compute the vectors of all pieces, each embedded alone."""
    pieces = [piece for piece in range(VOCABULARY) if piece not in _UNUSED]
    rows = np.zeros((VOCABULARY, WIDTH), np.float32)
    size = PIECES_PER_BATCH // (_REPEATS + 2)
    logged_tenths = 0
    for start in range(0, len(pieces), size):
        batch = pieces[start : start + size]
        rows[batch] = model.vectors([[_CLS, *[piece] * _REPEATS, _SEP] for piece in batch])
        if start * 10 // len(pieces) > logged_tenths:
            logged_tenths += 1
            _log.info("making the static table: %s of %s word pieces", start, len(pieces))
        yield
    return rows


def _weights() -> Vectors:
    rank = np.maximum(np.arange(VOCABULARY) - _FIRST_WORD + 1, 1)
    weights: Vectors = (np.log(rank + 1) ** 2).astype(np.float32)[:, None]
    return weights
