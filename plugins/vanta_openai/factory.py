"""What the plugin tells vanta of its engine and its embedder: options, making them, when off."""

from __future__ import annotations

from vanta.engine import EngineContext, EngineFactory
from vanta.memory.embedder import Embedder, EmbedderContext, EmbedderFactory
from vanta_openai.embedder import OpenAIEmbedder
from vanta_openai.engine import OpenAIEngine
from vanta_openai.options import EmbedderOptions, OpenAIOptions
from vanta_openai.server import why_off


def create(options: OpenAIOptions, context: EngineContext) -> OpenAIEngine:
    """The engine of one track; nothing is opened before its first request."""
    return OpenAIEngine(options, context)


FACTORY = EngineFactory(
    name="openai",
    summary="any OpenAI-compatible server: api.openai.com, vLLM, llama-server, LM Studio...",
    options=OpenAIOptions,
    create=create,
    off=why_off,
    requires="openai",
    extra="vanta[openai]",
)


def create_embedder(options: EmbedderOptions, context: EmbedderContext) -> Embedder:
    """Memory's embedder; nothing is opened before it loads."""
    return OpenAIEmbedder(options, context)


EMBEDDER = EmbedderFactory(
    name="openai",
    summary="an OpenAI-compatible server's embeddings; texts leave this machine",
    options=EmbedderOptions,
    create=create_embedder,
    off=lambda options, _context: why_off(options),
    requires="openai",
    extra="vanta[openai]",
)
