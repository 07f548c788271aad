"""What the plugin tells vanta about its engine: its options, how to build it, when it is off."""

from __future__ import annotations

from vanta.engine import EngineContext, EngineFactory
from vanta_openai.engine import OpenAIEngine
from vanta_openai.options import OpenAIOptions
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
