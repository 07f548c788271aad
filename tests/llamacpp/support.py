"""What the tests of this room share: requests, and reading an answer."""

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
    """A greedy request of one message; `sampling` overrides."""
    chosen = {"temperature": 0.0, "max_tokens": 24} | sampling
    return GenerationRequest((Message("user", text),), Sampling(**chosen), prefix=prefix)


async def answer(engine: Engine, asked: GenerationRequest) -> Completion:
    """The whole answer."""
    return (await answer_and_receipt(engine, asked))[0]


async def answer_and_receipt(
    engine: Engine, asked: GenerationRequest
) -> tuple[Completion, Receipt]:
    """The whole answer, and what it had cost."""
    folded = Fold()
    async with engine.stream(asked) as stream:
        async for delta in stream:
            folded.add(delta)
    assert stream.receipt is not None
    return folded.completion(), stream.receipt


def engine_on(path: Path, *, window: int | None = 1024, **options: Any) -> LlamaCppEngine:
    """An engine on the file at `path`."""
    context = EngineContext("local", "small", window, lambda name: ModelFile(name, path))
    chosen = {"parallel": 4} | options
    return LlamaCppEngine(LlamaCppOptions(**chosen), context)
