"""The built-in plugin `embedders`: texts to vectors on this machine, without network.

Imports nothing heavy: onnxruntime, tokenizers and numpy are imported by an embedder's own work,
off the event loop, when it loads.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from vanta.hookspecs import hookimpl

if TYPE_CHECKING:
    from vanta.memory.embedder import EmbedderFactory


@hookimpl
def vanta_embedders() -> Iterable[EmbedderFactory]:
    """The embedders `minilm` and `static`."""
    from vanta_embedders.factory import FACTORIES

    return FACTORIES
