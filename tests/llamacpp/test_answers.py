"""Test several answers to one request, generated at once on a prompt that is prefilled once."""

from __future__ import annotations

import random
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.llamacpp.support import MakeEngine, answer, request
from vanta.errors import EngineError, ErrorKind
from vanta_llamacpp.engine import LlamaCppEngine

pytestmark = pytest.mark.anyio
WORDS = ["rain", "stone", "green", "seven", "window", "river", "paper", "cloud", "iron", "bread"]
LONG = " ".join(random.Random(9).choices(WORDS, k=300))  # noqa: S311


async def test_the_prompt_is_prefilled_once(tiny: MakeEngine) -> None:
    """Each answer equals the answer of its seed alone."""
    drawn: dict[str, Any] = {"temperature": 1.0, "max_tokens": 8}
    reference = tiny(parallel=1, reuse_prefix=False)
    alone = [
        (await answer(reference, request(LONG, seed=seed, **drawn))).text for seed in (5, 6, 7, 8)
    ]
    engine = tiny(parallel=4)
    answers = await engine.answers(request(LONG, seed=5, **drawn), 4)
    assert [item.text for item in answers] == alone
    assert len(set(alone)) == 4
    usage = answers[0].usage
    assert usage is not None
    assert engine.stats()["prefilled_tokens"] < usage.input_tokens + 4 * 70
    assert sum(item.usage.cached_input_tokens for item in answers if item.usage) > 700


async def test_without_a_seed_the_answers_differ(tiny: MakeEngine) -> None:
    """More answers than slots take turns."""
    answers = await tiny(parallel=2).answers(request(temperature=1.0, max_tokens=8), 5)
    assert len({item.text for item in answers}) == 5
    assert await tiny().answers(request(), 0) == []


async def test_one_failure_ends_all_answers(tiny: MakeEngine) -> None:
    """With its error; here the queue is full."""
    engine = tiny(parallel=1, queue=2)
    with pytest.raises(EngineError) as raised:
        await engine.answers(request(max_tokens=900), 6)
    assert raised.value.kind is ErrorKind.OVERLOADED
    assert engine.stats()["queue"] == engine.stats()["active"] == 0


async def test_a_cancelled_request_stops_all_its_answers(tiny: MakeEngine) -> None:
    """Each is long enough that all of them start; the engine still answers."""
    engine: LlamaCppEngine = tiny(parallel=3, window=8192)
    await engine.load()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.answers, request(max_tokens=8000), 3)
        while engine.stats()["active"] < 3:
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert engine.stats()["active"] == 0
    assert engine.stats()["stopped"] == 3
    assert (await answer(engine, request())).text
