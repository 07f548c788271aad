"""A model whose layers look back upon few tokens: what llama.cpp calls its state is not whole, so
nothing is carried or saved, and prefixes are shared all the same."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import anyio
import pytest

from tests.llamacpp.random_model import write_random_model
from tests.llamacpp.support import MakeEngine, answer
from vanta.engine import GenerationRequest, Sampling
from vanta.messages import Message

pytestmark = pytest.mark.anyio
WORDS = "rain stone green seven window river paper cloud iron bread "


@pytest.fixture
def sliding(make_engine: MakeEngine, smollm2_path: Path, tmp_path: Path) -> MakeEngine:
    """Makes engines on a tiny model that looks back upon 32 tokens."""
    path = write_random_model(tmp_path / "sliding.gguf", smollm2_path, sliding=32)
    return functools.partial(make_engine, path=path, threads=1)


def talk(session: str, text: str) -> GenerationRequest:
    """With a system prompt of some length, and a greedy answer."""
    messages = (Message("system", WORDS * 6), Message("user", text))
    return GenerationRequest(messages, Sampling(temperature=0.0, max_tokens=24), session=session)


async def test_a_shared_prompt_gives_the_answers_that_it_gives_alone(sliding: MakeEngine) -> None:
    """Copied from one that is much longer by now; and so do the next turns, upon replies."""
    engine, plain = sliding(), sliding(parallel=1, reuse_prefix=False)
    for asked in (talk("a", WORDS * 20), talk("b", "And rain?"), talk("c", "And iron?")):
        told = await answer(engine, asked)
        assert told.text == (await answer(plain, asked)).text
        said = (*asked.messages, Message("assistant", told.text), Message("user", "Go on."))
        again = dataclasses.replace(asked, messages=said)
        assert (await answer(engine, again)).text == (await answer(plain, again)).text
    assert engine.stats()["cached_input_tokens"] > 5 * 60


async def test_nothing_is_moved_or_saved(sliding: MakeEngine, tmp_path: Path) -> None:
    """However far apart those lie who write."""
    engine = sliding(parallel=6, cache_dir=tmp_path / "kv")
    plain = sliding(parallel=1, reuse_prefix=False)
    talks = [talk(f"s{number}", f"Tell me of {number}.") for number in range(6)]
    expected = [(await answer(plain, asked)).text for asked in talks]
    assert [(await answer(engine, asked)).text for asked in talks] == expected
    texts: dict[int, str] = {}

    async def one(number: int) -> None:
        texts[number] = (await answer(engine, talks[number])).text

    async with anyio.create_task_group() as tasks:
        for number in (0, 2, 4):
            tasks.start_soon(one, number)
    assert [texts[number] for number in (0, 2, 4)] == expected[::2]
    assert engine.stats()["swaps"] == 0
    await engine.aclose()
    assert {path.name for path in (tmp_path / "kv").glob("*")} <= {"CACHEDIR.TAG"}
