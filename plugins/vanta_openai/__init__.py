"""The `openai` engine and embedder: any server with OpenAI's HTTP API, through the official SDK.

Invariant: neither importing this package nor calling its hooks imports the SDK. A worker thread
imports it when the first engine or embedder loads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vanta import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vanta import EngineFactory
    from vanta.memory import EmbedderFactory

__all__ = ["vanta_embedders", "vanta_engines"]

_EXTRA = "openai"


@hookimpl
def vanta_engines() -> Iterable[EngineFactory]:
    """Return the factory of the engine `openai`."""
    from vanta import EngineFactory
    from vanta_openai.engine import OpenAIEngine
    from vanta_openai.server import OpenAIOptions, why_off

    return (
        EngineFactory(
            name="openai",
            summary="any OpenAI-compatible server (api.openai.com, vLLM, llama-server, LM Studio)",
            options=OpenAIOptions,
            create=OpenAIEngine,
            off=why_off,
            requires="openai",
            extra=_EXTRA,
        ),
    )


@hookimpl
def vanta_embedders() -> Iterable[EmbedderFactory]:
    """Return the factory of the embedder `openai`."""
    from vanta.memory import EmbedderFactory
    from vanta_openai.embedder import OpenAIEmbedder
    from vanta_openai.server import OpenAIEmbedderOptions, why_off

    return (
        EmbedderFactory(
            name="openai",
            summary="an OpenAI-compatible server's embeddings; texts leave this machine",
            options=OpenAIEmbedderOptions,
            create=OpenAIEmbedder,
            off=lambda options, _context: why_off(options),
            requires="openai",
            extra=_EXTRA,
        ),
    )
