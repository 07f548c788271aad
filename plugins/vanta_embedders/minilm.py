"""The embedder `minilm`: all-MiniLM-L6-v2, the best of those that come with vanta."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from vanta.models.files import sha256_of
from vanta_embedders.local import LocalEmbedder, Opening

if TYPE_CHECKING:
    from vanta.engine import ModelFile
    from vanta.memory.embedder import Embedder, EmbedderContext
    from vanta_embedders.network import MiniLm
    from vanta_embedders.options import MiniLmOptions

NAME = "minilm"
MODEL = "all-minilm-l6-v2"
"""The registry's id of the weights."""


def create(options: MiniLmOptions, context: EmbedderContext) -> Embedder:
    """The embedder; nothing is opened before it loads."""
    return LocalEmbedder(NAME, partial(_opening, context, options.cores))


def open_network(context: EmbedderContext, threads: int) -> MiniLm:
    """The network, ready. Blocking. Raises VantaError, ImportError, OSError."""
    from vanta_embedders.network import MiniLm

    file = context.find_model(context.model or MODEL)
    return MiniLm(file.path, digest_of(file), context.data_dir / NAME, threads)


def digest_of(file: ModelFile) -> str:
    """The SHA-256 of the weights: the registry's where it has one."""
    return str(file.details.get("sha256") or sha256_of(file.path))


def _opening(context: EmbedderContext, threads: int) -> Opening:
    yield
    return open_network(context, threads)
