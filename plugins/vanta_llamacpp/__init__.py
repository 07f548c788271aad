"""The built-in plugin `llamacpp`: llama.cpp in this process, through llama-cpp-python.

Imports nothing heavy; the native library is loaded by the engine's worker with its model.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from vanta.hookspecs import hookimpl

if TYPE_CHECKING:
    from vanta.engine import Engine, EngineContext, EngineFactory


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
            extra="vanta[llamacpp]",
        ),
    )


def _create(options: Any, context: EngineContext) -> Engine:
    from vanta_llamacpp.engine import LlamaCppEngine

    return LlamaCppEngine(options, context)
