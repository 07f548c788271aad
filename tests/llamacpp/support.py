"""Helpers of this room's tests: requests, engines and whole answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vanta.engine import Engine, EngineContext, GenerationRequest, ModelFile, Receipt, Sampling
from vanta.messages import Completion, Fold, Message
from vanta_llamacpp.engine import LlamaCppEngine
from vanta_llamacpp.options import LlamaCppOptions

MakeEngine = Callable[..., LlamaCppEngine]
STORY = "Tell me a story about a dragon."


def request(text: str = STORY, *, prefix: str = "", **sampling: Any) -> GenerationRequest:
    """Return a greedy request of one message; `sampling` overrides."""
    chosen = {"temperature": 0.0, "max_tokens": 24} | sampling
    return GenerationRequest((Message("user", text),), Sampling(**chosen), prefix=prefix)


async def answer(engine: Engine, query: GenerationRequest) -> Completion:
    """Return the whole answer."""
    return (await answer_and_receipt(engine, query))[0]


async def answer_and_receipt(
    engine: Engine, query: GenerationRequest
) -> tuple[Completion, Receipt]:
    """Return the whole answer and its receipt."""
    folded = Fold()
    async with engine.stream(query) as stream:
        async for delta in stream:
            folded.add(delta)
    assert stream.receipt is not None
    return folded.completion(), stream.receipt


def engine_on(path: Path, *, window: int | None = 1024, **options: Any) -> LlamaCppEngine:
    """Return an engine on the file at `path`."""
    context = EngineContext("local", "small", window, lambda name: ModelFile(name, path))
    chosen = {"parallel": 4} | options
    return LlamaCppEngine(LlamaCppOptions(**chosen), context)
