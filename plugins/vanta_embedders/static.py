"""The embedder `static`: a text is the sum of its word pieces' vectors, looked up in a table.

A hundred times as fast as `minilm`, which the table is made of at first use, and poorer: it does
not see the order of words. Invariant: the table on disk is whole or made anew, and is found under
what it was made of.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from vanta_embedders.local import LocalEmbedder, Opening
from vanta_embedders.minilm import MODEL, digest_of

if TYPE_CHECKING:
    from pathlib import Path

    from vanta.engine import ModelFile
    from vanta.memory.embedder import Embedder, EmbedderContext, Vectors
    from vanta_embedders.options import StaticOptions

NAME = "static"

TOKENIZED = 512
"""Texts of one step."""

LONGEST = 4_096
"""Word pieces of a text that count."""

_log = logging.getLogger("vanta.embedders")


def create(options: StaticOptions, context: EmbedderContext) -> Embedder:
    """The embedder; nothing is opened before it loads."""
    return LocalEmbedder(NAME, partial(_opening, options, context))


class Table:
    """The table and the tokenizer. vectors: float32, a row for each word piece."""

    def __init__(self, vectors: Vectors, model: Path, revision: str) -> None:
        """model: the file that the tokenizer lies beside. Raises EmbedderError."""
        from vanta_embedders.pieces import WordPieces

        self.revision = revision
        self.dimension = int(vectors.shape[1])
        self._vectors = vectors
        self._pieces = WordPieces(model, LONGEST)

    def steps(self, texts: Sequence[str], rows: Vectors) -> Iterator[None]:
        """Fill `rows` with the texts' vectors; each step is `TOKENIZED` texts."""
        for start in range(0, len(texts), TOKENIZED):
            part = slice(start, start + TOKENIZED)
            self._fill(texts[part], rows[part])
            yield

    def _fill(self, texts: Sequence[str], rows: Vectors) -> None:
        """Rows of zeros stay for texts without a word."""
        import numpy as np

        for row, ids in zip(rows, self._pieces.of(texts, special=False), strict=True):
            if ids:
                self._vectors.take(ids, axis=0).sum(axis=0, out=row)
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-12))


def _opening(options: StaticOptions, context: EmbedderContext) -> Opening:
    yield
    import numpy as np

    from vanta_embedders.cache import keep, kept
    from vanta_embedders.distil import REVISION

    file = context.find_model(context.model or MODEL)
    revision = f"{REVISION}-{digest_of(file)[:12]}"
    path = context.data_dir / NAME / f"table-{revision}-{options.dimension}.f16"
    content = kept(path)
    if content is None:
        table = yield from _made(options, context, file)
        content = table.astype("<f2").tobytes()
        keep(path, content)
    yield
    halves = np.frombuffer(content, "<f2").reshape(-1, options.dimension)
    return Table(halves.astype(np.float32), file.path, revision)


def _made(
    options: StaticOptions, context: EmbedderContext, file: ModelFile
) -> Generator[None, None, Vectors]:
    from vanta_embedders.distil import distil
    from vanta_embedders.network import MiniLm

    _log.info("making the static table of %s, once; this takes about half a minute", file.path)
    began = time.monotonic()
    network = MiniLm(file.path, digest_of(file), context.data_dir / "minilm", options.cores)
    table = yield from distil(network, options.dimension)
    _log.info("the static table was made in %.0f s", time.monotonic() - began)
    return table
