"""The embedder `minilm`: all-MiniLM-L6-v2, the best of the built-in embedders."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from vanta.models import sha256_of
from vanta_embedders.local import Loading, LocalEmbedder

if TYPE_CHECKING:
    from vanta import ModelFile
    from vanta.memory import Embedder, EmbedderContext

NAME = "minilm"
MODEL = "all-minilm-l6-v2"
"""The registry's id of the weights."""

MAX_DEFAULT_THREADS = 4
"""More threads do not make so small a model faster."""


WRITINGS = {
    "arabic": (0.63, 0.12),
    "cyrillic": (0.61, 0.06),
    "de": (0.29, 0.11),
    "devanagari": (0.70, 0.07),
    "es": (0.47, 0.05),
    "fr": (0.37, 0.08),
    "greek": (0.74, 0.07),
    "han": (0.57, 0.08),
    "hangul": (0.69, 0.10),
    "hebrew": (0.51, 0.11),
    "it": (0.43, 0.09),
    "kana": (0.56, 0.06),
    "latin": (0.42, 0.11),
    "nl": (0.39, 0.13),
    "other": (1.00, 0.50),
    "pl": (0.46, 0.12),
    "pt": (0.43, 0.09),
    "sv": (0.38, 0.11),
    "thai": (1.00, 0.50),
    "tr": (0.48, 0.19),
}
"""Mean and deviation of the cosines of unrelated texts in writings other than English, measured as
memory does it: with forty texts of each language in `tests/embedders/related_texts.txt`, with seven
or eight sentences of the others. "latin" has those of five languages together."""


class MiniLmOptions(BaseModel):
    """`memory.embedder_options` of `minilm`: how the network is run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threads: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="threads for the computation; None: half of the cores, at most 4, which "
        "leaves cores for a local engine",
    )

    @property
    def thread_count(self) -> int:
        """The number of threads to use."""
        return self.threads or max(1, min(MAX_DEFAULT_THREADS, _available_cores() // 2))


def create(options: MiniLmOptions, context: EmbedderContext) -> Embedder:
    """Return the embedder; it opens nothing until it loads."""
    from vanta.memory import CosineScale

    writings = {writing: CosineScale(*scale) for writing, scale in WRITINGS.items()}
    scale = CosineScale(0.058, 0.074, writings)  # measured as memory does it
    return LocalEmbedder(NAME, partial(load_network, context, options.thread_count), scale)


def load_network(context: EmbedderContext, threads: int) -> Loading:
    """Load the network on `threads` threads. Raises VantaError, ImportError, OSError."""
    yield
    from vanta_embedders.network import MiniLm

    file = context.find_model(context.model or MODEL)
    return MiniLm(file.path, digest_of(file), context.data_dir / NAME, threads)


def digest_of(file: ModelFile) -> str:
    """Return the SHA-256 of the weights, from the registry if it has one."""
    return str(file.details.get("sha256") or sha256_of(file.path))


def _available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
