"""The embedders `minilm` and `static`: texts to vectors on this machine, without network.

Invariant: importing this package imports nothing heavy. onnxruntime, tokenizers and numpy are
imported in a worker thread when an embedder loads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vanta import VantaError, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vanta.memory import EmbedderContext, EmbedderFactory

__all__ = ["vanta_embedders"]

_EXTRA = "embedders"


@hookimpl
def vanta_embedders() -> Iterable[EmbedderFactory]:
    """Return the factories of the embedders `minilm` and `static`."""
    from vanta.memory import EmbedderFactory
    from vanta_embedders import minilm, static

    return (
        EmbedderFactory(
            name=minilm.NAME,
            summary="all-MiniLM-L6-v2 on this machine, no network",
            options=minilm.MiniLmOptions,
            create=minilm.create,
            off=_why_off,
            rank=100,
            requires="onnxruntime",
            extra=_EXTRA,
        ),
        EmbedderFactory(
            name=static.NAME,
            summary="a table made from minilm at first use: less exact, a hundred times as fast",
            options=static.StaticOptions,
            create=static.create,
            off=_why_off,
            rank=20,
            requires="onnxruntime",
            extra=_EXTRA,
        ),
    )


def _why_off(_options: Any, context: EmbedderContext) -> str | None:
    from vanta_embedders.minilm import MODEL

    try:
        file = context.find_model(context.model or MODEL)
    except VantaError as error:
        return str(error)
    if file.path.suffix != ".safetensors":
        return f"{context.model!r} is not a safetensors file; leave memory.embedder_model empty"
    return None
