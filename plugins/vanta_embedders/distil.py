"""A table with one vector a word piece, made out of all-MiniLM-L6-v2.

After Model2Vec (https://github.com/MinishLab/model2vec): the model embeds each piece of its
vocabulary alone, the vectors are centred and cut to their principal components, and frequent pieces
are weighed down, as in "A simple but tough-to-beat baseline for sentence embeddings" (Arora et al.
2017). The vocabulary is ordered by frequency, so that the rank of a word stands for it (Zipf). What
weighs best, log(rank) squared, was found on pairs of sentences of our own.

Invariant: the same weights make the same table; REVISION changes with whatever changes it.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import TYPE_CHECKING

import numpy as np

from vanta_embedders.architecture import VOCABULARY, WIDTH
from vanta_embedders.network import BATCH

if TYPE_CHECKING:
    from vanta_embedders.network import MiniLm, Vectors

REVISION = "1"

_UNUSED = range(999)  # [PAD], [UNK], [unused0]...: nothing that a text says; their rows stay zeros
_MARKS = 1_996  # signs and single letters come first; from here on words, the most frequent first
_CLS, _SEP = 101, 102
_REPEATED = 2
"""How often a piece is said: with the special ones beside it, once is drowned by them."""

_log = logging.getLogger("vanta.embedders")


def distil(model: MiniLm, dimension: int) -> Generator[None, None, Vectors]:
    """The table, float32, (VOCABULARY, dimension); each step is one batch of pieces."""
    raw = yield from _embedded(model)
    used = np.ones(VOCABULARY, bool)
    used[_UNUSED.start : _UNUSED.stop] = False
    centred = raw - raw[used].mean(axis=0)
    centred[~used] = 0
    yield
    _values, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    yield
    table: Vectors = (centred @ axes[:, : -dimension - 1 : -1].astype(np.float32)) * _weights()
    return np.ascontiguousarray(table)


def _embedded(model: MiniLm) -> Generator[None, None, Vectors]:
    """The vectors of all pieces, each said alone."""
    wanted = [piece for piece in range(VOCABULARY) if piece not in _UNUSED]
    rows = np.zeros((VOCABULARY, WIDTH), np.float32)
    size = BATCH // (_REPEATED + 2)
    said = 0
    for start in range(0, len(wanted), size):
        batch = wanted[start : start + size]
        rows[batch] = model.vectors([[_CLS, *[piece] * _REPEATED, _SEP] for piece in batch])
        if start * 10 // len(wanted) > said:
            said += 1
            _log.info("making the static table: %s of %s word pieces", start, len(wanted))
        yield
    return rows


def _weights() -> Vectors:
    rank = np.maximum(np.arange(VOCABULARY) - _MARKS + 1, 1)
    weights: Vectors = (np.log(rank + 1) ** 2).astype(np.float32)[:, None]
    return weights
