"""The built-in plugin `llamacpp`: llama.cpp in this process, through llama-cpp-python.

Imports nothing heavy; the native library is loaded by the engine's worker with its model.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from vanta.hookspecs import hookimpl

if TYPE_CHECKING:
    from vanta.engine import Engine, EngineContext, EngineFactory
    from vanta.memory import Embedder, EmbedderContext, EmbedderFactory


@hookimpl
def vanta_engines() -> Iterable[EngineFactory]:
    """The engine `llamacpp`."""
    from vanta.engine import EngineFactory
    from vanta_llamacpp.options import LlamaCppOptions

    return (
        EngineFactory(
            name="llamacpp",
            summary="llama.cpp in this process: GGUF models, no network",
            options=LlamaCppOptions,
            create=_create,
            requires="llama_cpp",
            extra="llamacpp",
        ),
    )


def _create(options: Any, context: EngineContext) -> Engine:
    from vanta_llamacpp.engine import LlamaCppEngine

    return LlamaCppEngine(options, context)


@hookimpl
def vanta_embedders() -> Iterable[EmbedderFactory]:
    """The embedder `llamacpp`."""
    from vanta.memory import EmbedderFactory
    from vanta_llamacpp.options import EmbedderOptions

    return (
        EmbedderFactory(
            name="llamacpp",
            summary="an embedding model in GGUF, named by memory.embedder_model; no network",
            options=EmbedderOptions,
            create=_create_embedder,
            off=_no_model,
            rank=50,
            requires="llama_cpp",
            extra="llamacpp",
        ),
    )


def _create_embedder(options: Any, context: EmbedderContext) -> Embedder:
    from vanta_llamacpp.embedding.embedder import LlamaCppEmbedder

    return LlamaCppEmbedder(options, context)


def _no_model(_options: Any, context: EmbedderContext) -> str | None:
    from vanta.errors import VantaError

    if not context.model:
        return "no embedding model is named: set memory.embedder_model to a GGUF file made for it"
    try:
        file = context.find_model(context.model)
    except VantaError as error:
        return str(error)
    return None if file.path.suffix == ".gguf" else f"{context.model!r} is no GGUF file"
