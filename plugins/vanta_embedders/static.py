"""The embedder `static`: a text is the sum of its word pieces' vectors, looked up in a table.

It is a hundred times as fast as `minilm`, from which the table is made at first use, and less
exact: it ignores the order of words. Invariant: the table on disk is whole or made again, and its
name identifies what it was made from.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field

from vanta_embedders.local import Loading, LocalEmbedder, read_cached, write_cached
from vanta_embedders.minilm import MODEL, MiniLmOptions, digest_of
from vanta_embedders.minilm import NAME as MINILM

if TYPE_CHECKING:
    from pathlib import Path

    from vanta import ModelFile
    from vanta.memory import Embedder, EmbedderContext, Vectors

NAME = "static"

TEXTS_PER_STEP = 512

MAX_PIECES = 4_096
"""Word pieces of a text that count; the rest is ignored."""

_log = logging.getLogger("vanta.embedders")


WRITINGS = {
    "arabic": (0.82, 0.11),
    "cyrillic": (0.88, 0.05),
    "de": (0.35, 0.14),
    "devanagari": (0.80, 0.09),
    "es": (0.50, 0.10),
    "fr": (0.40, 0.15),
    "greek": (0.86, 0.06),
    "han": (0.51, 0.11),
    "hangul": (0.88, 0.05),
    "hebrew": (0.76, 0.10),
    "it": (0.36, 0.12),
    "kana": (0.57, 0.14),
    "latin": (0.37, 0.14),
    "nl": (0.39, 0.15),
    "other": (0.88, 0.50),
    "pl": (0.43, 0.13),
    "pt": (0.36, 0.13),
    "sv": (0.29, 0.13),
    "thai": (0.00, 0.50),
    "tr": (0.42, 0.16),
}
"""Mean and deviation of the cosines of unrelated texts in writings other than English, measured as
memory does it: with forty texts of each language in `tests/embedders/related_texts.txt`, with seven
or eight sentences of the others. "latin" has those of five languages together."""


class StaticOptions(MiniLmOptions):
    """`memory.embedder_options` of `static`: the width of the table, and how it is made."""

    dimension: int = Field(
        default=256, ge=8, le=384, description="components of a vector: more are better and slower"
    )


def create(options: StaticOptions, context: EmbedderContext) -> Embedder:
    """Return the embedder; it opens nothing until it loads."""
    from vanta.memory import CosineScale

    writings = {writing: CosineScale(*scale) for writing, scale in WRITINGS.items()}
    scale = CosineScale(0.055, 0.085, writings)  # measured as memory does it
    return LocalEmbedder(NAME, partial(_load_table, options, context), scale)


class WordPieceTable:
    """The table and the tokenizer. vectors: float32, one row per word piece."""

    def __init__(self, vectors: Vectors, model: Path, revision: str) -> None:
        """model: the weights; the tokenizer is beside that file. Raises EmbedderError."""
        from vanta_embedders.model_files import WordPieceTokenizer

        self.revision = revision
        self.dimension = int(vectors.shape[1])
        self._vectors = vectors
        self._tokenizer = WordPieceTokenizer(model, MAX_PIECES)

    def steps(self, texts: Sequence[str], rows: Vectors) -> Iterator[None]:
        """Fill `rows` with the texts' vectors, `TEXTS_PER_STEP` texts at a time."""
        for start in range(0, len(texts), TEXTS_PER_STEP):
            batch = slice(start, start + TEXTS_PER_STEP)
            self._fill(texts[batch], rows[batch])
            yield

    def _fill(self, texts: Sequence[str], rows: Vectors) -> None:
        """Texts without a word keep rows of zeros."""
        import numpy as np

        for row, ids in zip(rows, self._tokenizer.encode(texts, special=False), strict=True):
            if ids:
                self._vectors.take(ids, axis=0).sum(axis=0, out=row)
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-12))


def _load_table(options: StaticOptions, context: EmbedderContext) -> Loading:
    yield
    import numpy as np

    from vanta_embedders.distillation import REVISION

    file = context.find_model(context.model or MODEL)
    revision = f"{REVISION}-{digest_of(file)[:12]}"
    path = context.data_dir / NAME / f"table-{revision}-{options.dimension}.f16"
    content = read_cached(path)
    if content is None:
        table = yield from _make_table(options, context, file)
        content = table.astype("<f2").tobytes()
        write_cached(path, content)
    yield
    halves = np.frombuffer(content, "<f2").reshape(-1, options.dimension)
    return WordPieceTable(halves.astype(np.float32), file.path, revision)


def _make_table(
    options: StaticOptions, context: EmbedderContext, file: ModelFile
) -> Generator[None, None, Vectors]:
    from vanta_embedders.distillation import distil
    from vanta_embedders.network import MiniLm

    _log.info("making the static table of %s, once; this takes about half a minute", file.path)
    started = time.monotonic()
    folder = context.data_dir / MINILM
    network = MiniLm(file.path, digest_of(file), folder, options.thread_count)
    table = yield from distil(network, options.dimension)
    _log.info("the static table was made in %.0f s", time.monotonic() - started)
    return table
