"""A recurrent model: its state is of all that was read, so no token can be taken out of it again,
and a prompt is read whole. Answers are those that it gives alone, whoever else is served.
"""

from __future__ import annotations

import functools
from pathlib import Path

import anyio
import pytest

from tests.llamacpp.random_model import write_random_mamba
from tests.llamacpp.support import MakeEngine, answer
from vanta.engine import GenerationRequest, Sampling
from vanta.messages import Message

pytestmark = pytest.mark.anyio
WORDS = "rain stone green seven window river paper cloud iron bread "


@pytest.fixture
def mamba(make_engine: MakeEngine, smollm2_path: Path, tmp_path: Path) -> MakeEngine:
    """Makes engines on a tiny recurrent model."""
    path = write_random_mamba(tmp_path / "mamba.gguf", smollm2_path)
    return functools.partial(make_engine, path=path, threads=1)


def talk(number: int, *said: str) -> GenerationRequest:
    """A conversation, which ends with a question; a greedy answer."""
    told = (WORDS * (1 + 9 * (number % 3)) + f"What of {number}?", *said)
    messages = tuple(
        Message("assistant", text) if turn % 2 else Message("user", text)
        for turn, text in enumerate(told)
    )
    sampling = Sampling(temperature=0.0, max_tokens=24)
    return GenerationRequest(messages, sampling, session=str(number))


async def test_many_at_once_get_the_answers_that_they_get_alone(mamba: MakeEngine) -> None:
    """Of other lengths, in other sequences, some of them stopped in the middle."""
    plain, engine = mamba(parallel=1, reuse_prefix=False), mamba(parallel=4)
    talks = [talk(number) for number in range(8)]
    expected = [(await answer(plain, asked)).text for asked in talks]
    assert len(set(expected)) > 1
    texts: dict[int, str] = {}

    async def one(number: int) -> None:
        texts[number] = (await answer(engine, talks[number])).text

    async def leave(number: int) -> None:
        async with engine.stream(talks[number]) as stream:
            await anext(stream)

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(one, number)
            tasks.start_soon(leave, number)
    assert [texts[number] for number in range(8)] == expected


async def test_a_conversation_goes_on(mamba: MakeEngine) -> None:
    """Read anew at each turn, since what follows the last reply cannot be taken back."""
    plain, engine = mamba(parallel=1, reuse_prefix=False), mamba(parallel=2)
    said: tuple[str, ...] = ()
    for turn in range(3):
        told = await answer(engine, talk(1, *said))
        assert told.text == (await answer(plain, talk(1, *said))).text
        assert told.usage is not None
        assert told.usage.cached_input_tokens == 0
        said = (*said, told.text, f"And {turn}?")


async def test_it_needs_no_room_for_a_kv_cache(mamba: MakeEngine) -> None:
    """And says what it takes."""
    engine = mamba(parallel=2)
    await engine.load()
    assert 0 < engine.stats()["memory_bytes"] < 200e6
