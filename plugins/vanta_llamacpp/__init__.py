"""The built-in plugin `llamacpp`: llama.cpp in this process, through llama-cpp-python.

Invariant: importing this package loads nothing heavy. The engine's worker loads the native library
together with its model.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from vanta import hookimpl

if TYPE_CHECKING:
    from vanta import Check, Engine, EngineContext, EngineFactory
    from vanta.memory import Embedder, EmbedderContext, EmbedderFactory

__all__ = ["vanta_checks", "vanta_embedders", "vanta_engines"]


@hookimpl
def vanta_engines() -> Iterable[EngineFactory]:
    """Return the engine `llamacpp`."""
    from vanta import EngineFactory
    from vanta_llamacpp.options import LlamaCppOptions

    return (
        EngineFactory(
            name="llamacpp",
            summary="llama.cpp in this process: GGUF models, no network",
            options=LlamaCppOptions,
            create=_create,
            requires="llama_cpp",
            extra="llamacpp",
            loads_models=True,
        ),
    )


@hookimpl
def vanta_checks() -> Iterable[Check]:
    """Return the check of chat templates."""
    from vanta_llamacpp.prompt.template_check import template_check

    return (template_check(),)


def _create(options: Any, context: EngineContext) -> Engine:
    from vanta_llamacpp.engine import LlamaCppEngine

    return LlamaCppEngine(options, context)


@hookimpl
def vanta_embedders() -> Iterable[EmbedderFactory]:
    """Return the embedder `llamacpp`."""
    from vanta.memory import EmbedderFactory
    from vanta_llamacpp.options import LlamaCppEmbedderOptions

    return (
        EmbedderFactory(
            name="llamacpp",
            summary="an embedding model in GGUF, named by memory.embedder_model; no network",
            options=LlamaCppEmbedderOptions,
            create=_create_embedder,
            off=_missing_model,
            rank=50,
            requires="llama_cpp",
            extra="llamacpp",
        ),
    )


def _create_embedder(options: Any, context: EmbedderContext) -> Embedder:
    from vanta_llamacpp.embedder import LlamaCppEmbedder

    return LlamaCppEmbedder(options, context)


def _missing_model(_options: Any, context: EmbedderContext) -> str | None:
    """Return why the embedder is off, or None if its model's file exists."""
    from vanta import VantaError

    if not context.model:
        return "no embedding model is configured: set memory.embedder_model to a GGUF file"
    try:
        file = context.find_model(context.model)
    except VantaError as error:
        return str(error)
    return None if file.path.suffix == ".gguf" else f"{context.model!r} is not a GGUF file"
