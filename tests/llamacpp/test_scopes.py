"""A prefix is reused inside a scope only: no count and no time shows what others wrote."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from tests.llamacpp.support import MakeEngine, answer
from vanta.engine import GenerationRequest, Sampling
from vanta.messages import Message

pytestmark = pytest.mark.anyio

SYSTEM = Message("system", "You are a careful assistant. " * 12)
SECRET = "My diagnosis is written on the blue card under the third stone of the garden path. " * 4
GUESS, WRONG = SECRET + "Is it?", SECRET.replace("blue", "grey") + "Is it?"


def asked(
    text: str, *, scope: str = "", session: str = "", system: Message = SYSTEM, common: int = 1
) -> GenerationRequest:
    sampling = Sampling(temperature=0.0, max_tokens=2)
    messages = (system, Message("user", text))
    return GenerationRequest(messages, sampling, session=session, scope=scope, common=common)


async def cached(engine: object, request: GenerationRequest) -> int:
    completion = await answer(engine, request)  # type: ignore[arg-type]
    assert completion.usage is not None
    return completion.usage.cached_input_tokens


async def test_a_guess_of_another_scope_is_as_slow_as_any_other_text(tiny: MakeEngine) -> None:
    engine = tiny(parallel=4)
    await answer(engine, asked(SECRET, scope="ada", session="a"))
    right = await cached(engine, asked(GUESS, scope="bob", session="b"))
    wrong = await cached(engine, asked(WRONG, scope="eve", session="c"))
    assert right == wrong > 40, "the common system prompt is shared"
    again = await cached(engine, asked(GUESS, scope="ada", session="e"))
    assert again > right + 40


async def test_a_system_prompt_that_is_not_common_is_not_shared(tiny: MakeEngine) -> None:
    engine = tiny(parallel=4)
    await answer(engine, asked(SECRET, scope="ada", common=0))
    assert await cached(engine, asked(SECRET, scope="bob", common=0)) == 0
    assert await cached(engine, asked(SECRET, scope="eve", common=1)) == 0
    other = Message("system", "You are a careful assistant. " * 11 + "You are a pirate.")
    assert await cached(engine, asked("Hi.", scope="bob", system=other)) > 0


async def test_no_more_is_shared_than_what_both_call_common(tiny: MakeEngine) -> None:
    """Also if the other's text begins like the rest of the template."""
    engine = tiny(parallel=4)
    await answer(engine, asked("A" * 200, scope="ada"))
    first = await cached(engine, asked("A" * 200, scope="bob"))
    second = await cached(engine, asked("B" * 200, scope="eve"))
    assert first == second


async def test_a_job_does_not_wait_for_the_prompt_of_another_scope(tiny: MakeEngine) -> None:
    engine = tiny(parallel=4, prefill_chunk=16)
    counts: dict[str, int] = {}

    async def ask(name: str, text: str) -> None:
        counts[name] = await cached(engine, asked(text, scope=name, common=0))

    await engine.load()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, "ada", SECRET)
        tasks.start_soon(ask, "bob", GUESS)
        tasks.start_soon(ask, "eve", WRONG)
    assert counts == {"ada": 0, "bob": 0, "eve": 0}


async def test_saved_prefixes_belong_to_a_scope(tiny: MakeEngine, tmp_path: Path) -> None:
    for scope, expected in (("ada", 0), ("bob", 0), ("ada", 40)):
        engine = tiny(cache_dir=tmp_path)
        request = asked(SECRET, scope=scope, session="s", common=0)
        count = await cached(engine, request)
        await engine.aclose()
        assert count >= expected
        assert bool(count) is bool(expected)


async def test_the_sessions_of_two_scopes_never_have_one_name(tiny: MakeEngine) -> None:
    engine = tiny(parallel=2)
    await answer(engine, asked(SECRET, scope="a\0b", session="c", common=0))
    assert await cached(engine, asked(SECRET, scope="a", session="b\0c", common=0)) == 0
