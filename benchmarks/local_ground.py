"""What the parts of `local` share: the engine as a track would make it, requests, answers.

Invariant: everything is greedy, and an engine is closed where it was made.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from vanta.engine import Engine, EngineContext, GenerationRequest, ModelFile, Sampling
from vanta.messages import Completion, Fold, Message
from vanta.plugin_loading import load

MODEL = "smollm2-135m-instruct"
WINDOW = 1024
WORDS = "rain stone green seven window river paper cloud iron bread "


@asynccontextmanager
async def engine_on(path: Path, window: int = WINDOW, **options: Any) -> AsyncIterator[Engine]:
    """The engine as a track would make it."""
    factory = load(allow=(), strict=False).engines["llamacpp"]
    context = EngineContext("local", MODEL, window, lambda name: ModelFile(name, path))
    engine = factory.create(factory.options(**options), context)
    try:
        yield engine
    finally:
        await engine.aclose()


def request(
    text: str, *, session: str = "", system: str = "", tokens: int = 64
) -> GenerationRequest:
    """A question, for an answer of so many tokens at the most."""
    said = (Message("user", text),)
    messages = (Message("system", system), *said) if system else said
    sampling = Sampling(temperature=0.0, max_tokens=tokens)
    return GenerationRequest(messages, sampling, session=session)


def stories(count: int, first: int = 0) -> list[str]:
    """So many questions with long answers, numbered from `first` on."""
    return [f"Tell me a story about the number {first + number}." for number in range(count)]


async def answer(
    engine: Engine, asked: GenerationRequest, times: list[float] | None = None
) -> Completion:
    """The whole answer; `times` takes the moment of each delta."""
    folded = Fold()
    async with engine.stream(asked) as stream:
        async for delta in stream:
            folded.add(delta)
            if times is not None:
                times.append(time.perf_counter())
    return folded.completion()
