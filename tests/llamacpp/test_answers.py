"""Several answers to one request: generated at once, upon a prompt that is read once."""

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


async def test_the_prompt_is_read_once(tiny: MakeEngine) -> None:
    """And each answer is the one that its seed gives alone."""
    drawn: dict[str, Any] = {"temperature": 1.0, "max_tokens": 8}
    one = tiny(parallel=1, reuse_prefix=False)
    alone = [(await answer(one, request(LONG, seed=seed, **drawn))).text for seed in (5, 6, 7, 8)]
    engine = tiny(parallel=4)
    told = await engine.answers(request(LONG, seed=5, **drawn), 4)
    assert [each.text for each in told] == alone
    assert len(set(alone)) == 4
    usage = told[0].usage
    assert usage is not None
    assert engine.stats()["prefilled_tokens"] < usage.input_tokens + 4 * 70
    assert sum(each.usage.cached_input_tokens for each in told if each.usage) > 700


async def test_without_a_seed_each_draws_its_own(tiny: MakeEngine) -> None:
    """More than there is room for take turns."""
    told = await tiny(parallel=2).answers(request(temperature=1.0, max_tokens=8), 5)
    assert len({each.text for each in told}) == 5
    assert await tiny().answers(request(), 0) == []


async def test_one_that_breaks_ends_all(tiny: MakeEngine) -> None:
    """With its own error; here there is no room for so many."""
    engine = tiny(parallel=1, queue=2)
    with pytest.raises(EngineError) as raised:
        await engine.answers(request(max_tokens=900), 6)
    assert raised.value.kind is ErrorKind.OVERLOADED
    assert engine.stats()["queue"] == engine.stats()["active"] == 0


async def test_a_cancelled_request_stops_all_its_answers(tiny: MakeEngine) -> None:
    """At once, and the engine answers as ever. Each would be long enough to see them all begin."""
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
