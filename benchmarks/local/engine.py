"""The engine as a track creates it, requests, and answers, for all parts of `local`.

Invariant: every request is greedy, and an engine is closed by the context that creates it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from vanta import (
    Completion,
    Engine,
    EngineContext,
    Fold,
    GenerationRequest,
    Message,
    ModelFile,
    Sampling,
)
from vanta.plugin_loading import load

MODEL = "smollm2-135m-instruct"
WINDOW = 1024
WORDS = "rain stone green seven window river paper cloud iron bread "


@asynccontextmanager
async def engine_on(path: Path, window: int = WINDOW, **options: Any) -> AsyncIterator[Engine]:
    """Open the engine as a track creates it."""
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
    """Return a request for an answer of at most `tokens` tokens."""
    messages: tuple[Message, ...] = (Message("user", text),)
    if system:
        messages = (Message("system", system), *messages)
    sampling = Sampling(temperature=0.0, max_tokens=tokens)
    return GenerationRequest(messages, sampling, session=session)


def stories(count: int, first: int = 0) -> list[str]:
    """Return `count` messages with long answers, numbered from `first`."""
    return [f"Tell me a story about the number {first + number}." for number in range(count)]


async def answer(
    engine: Engine, item: GenerationRequest, times: list[float] | None = None
) -> Completion:
    """Return the whole answer; append the time of each delta to `times`."""
    folded = Fold()
    async with engine.stream(item) as stream:
        async for delta in stream:
            folded.add(delta)
            if times is not None:
                times.append(time.perf_counter())
    return folded.completion()
