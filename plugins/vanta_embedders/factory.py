"""What the plugin tells vanta about its embedders: their options, when they are off, their rank."""

from __future__ import annotations

from typing import Any

from vanta.errors import VantaError
from vanta.memory.embedder import EmbedderContext, EmbedderFactory
from vanta_embedders import minilm, static
from vanta_embedders.options import MiniLmOptions, StaticOptions


def _off(_options: Any, context: EmbedderContext) -> str | None:
    try:
        file = context.find_model(context.model or minilm.MODEL)
    except VantaError as error:
        return str(error)
    if file.path.suffix != ".safetensors":
        return f"{context.model!r} is no safetensors file; leave memory.embedder_model empty"
    return None


FACTORIES = (
    EmbedderFactory(
        name=minilm.NAME,
        summary="all-MiniLM-L6-v2 on this machine, no network",
        options=MiniLmOptions,
        create=minilm.create,
        off=_off,
        rank=100,
        requires="onnxruntime",
        extra="embedders",
    ),
    EmbedderFactory(
        name=static.NAME,
        summary="a table made of minilm at first use: poorer, a hundred times as fast",
        options=StaticOptions,
        create=static.create,
        off=_off,
        rank=20,
        requires="onnxruntime",
        extra="embedders",
    ),
)
