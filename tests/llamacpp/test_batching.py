"""Many requests at once: each gets the answer that it gets alone, whoever comes and goes.

On a tiny model with random weights, whose answers are chaos: the least difference in a logit soon
changes every word.
"""

from __future__ import annotations

import dataclasses
import random

import anyio
import anyio.lowlevel
import pytest

from tests.llamacpp.support import MakeEngine, answer, request
from vanta.engine import GenerationRequest, Sampling
from vanta.errors import EngineError
from vanta.messages import Message
from vanta_llamacpp.engine import LlamaCppEngine
from vanta_llamacpp.worker.generation import Generation
from vanta_llamacpp.worker.job import Ended, Job, Prompt

pytestmark = pytest.mark.anyio
GREEDY = Sampling(temperature=0.0, max_tokens=24)
WORDS = ["rain", "stone", "green", "seven", "window", "river", "paper", "cloud", "iron", "bread"]


def talk(chance: random.Random, *, words: int = 60, system: str = "Be brief.") -> GenerationRequest:
    """A request of up to `words` random words."""
    text = " ".join(chance.choices(WORDS, k=chance.randint(1, words)))
    return GenerationRequest((Message("system", system), Message("user", text)), GREEDY)


async def alone(engine: LlamaCppEngine, asked: GenerationRequest) -> str:
    """The answer where nobody else is served and nothing is kept."""
    return (await answer(engine, asked)).text


async def leave_after(engine: LlamaCppEngine, asked: GenerationRequest, deltas: int) -> None:
    """Read so many deltas, then stop."""
    async with engine.stream(asked) as stream:
        for _ in range(deltas):
            await anext(stream, None)


async def test_a_thousand_joins_and_leaves_change_no_answer(tiny: MakeEngine) -> None:
    """Every answer that is read to its end is the one that its request gives alone."""
    chance = random.Random(1)  # noqa: S311
    talks = [dataclasses.replace(talk(chance), session=f"s{n % 12}") for n in range(40)]
    reference = tiny(parallel=1, reuse_prefix=False)
    expected = [await alone(reference, asked) for asked in talks]
    engine = tiny(parallel=6, queue=100)
    whole: list[bool] = []

    async def one(number: int, deltas: int | None) -> None:
        if deltas is not None:
            await leave_after(engine, talks[number], deltas)
        else:
            whole.append(await alone(engine, talks[number]) == expected[number])

    async def some(count: int) -> None:
        for _ in range(count):
            leaves = chance.randrange(12) if chance.random() < 0.5 else None
            await one(chance.randrange(len(talks)), leaves)

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(some, 50)
    assert engine.stats()["requests"] > 900, "some left before their turn"
    assert engine.stats()["stopped"] > 300
    assert len(whole) > 400
    assert all(whole)
    assert engine.stats()["cached_input_tokens"] > 0


async def test_several_threads_give_the_same_answers_in_batches(tiny: MakeEngine) -> None:
    """Below the length from which the library parts lone steps among threads."""
    chance = random.Random(2)  # noqa: S311
    talks = [talk(chance, words=40) for _ in range(8)]
    reference = tiny(parallel=1, threads=2, reuse_prefix=False)
    expected = [await alone(reference, asked) for asked in talks]
    engine, texts = tiny(parallel=8, threads=2), dict[int, str]()

    async def one(number: int) -> None:
        texts[number] = await alone(engine, talks[number])

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(one, number)
    assert [texts[number] for number in range(8)] == expected


async def test_a_conversation_is_read_once_and_answers_stay_the_same(tiny: MakeEngine) -> None:
    """Each turn reads only what is new; the reply itself, written token by token, is kept too."""
    chance, engine, plain = random.Random(3), tiny(), tiny(reuse_prefix=False)  # noqa: S311
    said = talk(chance).messages
    for turn in range(5):
        asked = GenerationRequest(said, GREEDY, session="ada")
        before = engine.stats()["prefilled_tokens"]
        told = await answer(engine, asked)
        assert told.text == await alone(plain, asked)
        assert told.usage is not None
        read = engine.stats()["prefilled_tokens"] - before
        assert told.usage.input_tokens == read + told.usage.cached_input_tokens
        assert read < 60 or not turn
        said = (*said, Message("assistant", told.text), Message("user", chance.choice(WORDS)))
        await answer(engine, dataclasses.replace(talk(chance), session="bob"))


async def test_a_shared_system_prompt_is_read_once(tiny: MakeEngine) -> None:
    """By the first of those who come at once; the others copy it."""
    chance = random.Random(4)  # noqa: S311
    system = " ".join(chance.choices(WORDS, k=400))
    talks = [
        dataclasses.replace(talk(chance, words=5, system=system), session=f"s{n}")
        for n in range(16)
    ]
    reference, engine = tiny(parallel=1, reuse_prefix=False), tiny(parallel=16)
    expected = [await alone(reference, asked) for asked in talks]
    texts: dict[int, str] = {}

    async def one(number: int) -> None:
        texts[number] = await alone(engine, talks[number])

    async with anyio.create_task_group() as tasks:
        for number in range(16):
            tasks.start_soon(one, number)
    assert [texts[number] for number in range(16)] == expected
    assert engine.stats()["prefilled_tokens"] < 400 + 16 * 30


async def test_a_long_prompt_does_not_hold_up_those_who_write(tiny: MakeEngine) -> None:
    """They get a token for every chunk of it."""
    engine = tiny(parallel=2)
    long = request(" ".join(WORDS * 80), max_tokens=1)
    async with engine.stream(request(max_tokens=600)) as writer:
        await anext(writer)
        counts: list[int] = []

        async def read() -> None:
            before = engine.stats()["steps"]
            await answer(engine, long)
            counts.append(engine.stats()["steps"] - before)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            while not counts:
                await anext(writer)
    prompt = (await engine.count_tokens(long.messages)).value
    chunks = prompt // 60
    assert counts[0] >= 2 * chunks, "between two chunks the writer took a step"


async def test_a_stop_in_a_long_prompt_harms_nobody(tiny: MakeEngine) -> None:
    """Who writes beside it gets the answer that it gets alone."""
    asked = request(max_tokens=200)
    expected = await alone(tiny(parallel=1), asked)
    engine, texts = tiny(parallel=3), list[str]()

    async def write() -> None:
        texts.append(await alone(engine, asked))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        for _ in range(10):
            await leave_after(engine, request(" ".join(WORDS * 80)), 0)
    assert texts == [expected]


async def test_the_least_recently_used_makes_room_and_none_in_use(tiny: MakeEngine) -> None:
    """With two slots and three sessions, the one that rested longest is read anew."""
    chance, engine = random.Random(5), tiny(parallel=2)  # noqa: S311
    systems = {name: " ".join(chance.choices(WORDS, k=30)) for name in "abc"}

    async def cached(name: str) -> int:
        asked = talk(random.Random(6), system=systems[name])  # noqa: S311
        told = await answer(engine, dataclasses.replace(asked, session=name))
        assert told.usage is not None
        return told.usage.cached_input_tokens

    for name in "ab":
        await cached(name)
    assert await cached("a") > 60
    assert await cached("c") < 20, "only what all prompts begin with"
    assert await cached("a") > 60
    assert await cached("b") < 20, "its slot was given to c"
    assert engine.stats()["evictions"] == 2


async def test_sessions_take_turns(tiny: MakeEngine) -> None:
    """One that asks for much does not keep another waiting."""
    engine, order = tiny(parallel=1, window=8192), list[str]()

    async def one(session: str) -> None:
        await answer(engine, dataclasses.replace(request(max_tokens=4), session=session))
        order.append(session)

    endless = request(max_tokens=None, logit_bias={2: -100.0, 0: -100.0})
    async with anyio.create_task_group() as tasks, engine.stream(endless) as first:
        await anext(first)
        for waiting, session in enumerate(("a", "a", "a", "b")):
            tasks.start_soon(one, session)
            while engine.stats()["queue"] <= waiting:
                await anyio.lowlevel.checkpoint()
    assert order == ["a", "b", "a", "a"]


async def test_a_decode_that_fails_ends_only_the_request_at_fault(tiny: MakeEngine) -> None:
    """A token that does not exist, in a step with others: they go on and answer as if alone."""
    asked = request(max_tokens=300)
    expected = await alone(tiny(parallel=1), asked)
    engine, texts = tiny(parallel=3), list[str]()
    await engine.load()

    async def write() -> None:
        texts.append(await alone(engine, asked))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        while not engine.stats()["steps"]:
            await anyio.lowlevel.checkpoint()
        bad = Job(Prompt((10_000_000,), 4, GREEDY), model="small", asked_at=0.0)
        engine._inbox.put(bad)
        error = await bad.mailbox.get()
    assert isinstance(error, EngineError)
    assert "llama_decode failed" in str(error)
    assert texts == [expected]
    assert engine.stats()["failed"] == 1


@pytest.mark.parametrize("place", ["beginning", "choosing"])
async def test_a_fault_of_one_request_ends_that_one_and_no_other(
    tiny: MakeEngine, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that nobody foresaw: its reader is told, and its slot is free again."""

    def choose(self: Generation, index: int) -> None:
        if self.job.prompt.limit == 5:
            raise RuntimeError("choosing failed")
        chosen(self, index)

    chosen = Generation.choose
    monkeypatch.setattr(Generation, "choose", choose)
    asked = request(max_tokens=300)
    expected = await alone(tiny(parallel=1), asked)
    engine, texts = tiny(parallel=2), list[str]()
    await engine.load()
    wrong = Sampling(temperature=1.0, seed=3.0)  # type: ignore[arg-type]
    sampling, limit = (wrong, 9) if place == "beginning" else (GREEDY, 5)

    async def write() -> None:
        texts.append(await alone(engine, asked))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        while not engine.stats()["steps"]:
            await anyio.lowlevel.checkpoint()
        for _ in range(3):
            bad = Job(Prompt((1, 2, 3, 4), limit, sampling), model="small", asked_at=0.0)
            engine._inbox.put(bad)
            with anyio.fail_after(30):
                error = await bad.mailbox.get()
                assert isinstance(await bad.mailbox.get(), Ended)
            assert isinstance(error, EngineError)
            assert "the engine failed" in str(error)
    assert texts == [expected]
    assert engine.stats()["active"] == 0


async def test_what_is_forgotten_in_the_middle_of_an_answer_is_not_found_again(
    tiny: MakeEngine,
) -> None:
    """Neither while it is written nor afterwards."""
    engine, asked = tiny(parallel=2), request(f"Read this. {' '.join(WORDS * 10)}", max_tokens=40)
    async with engine.stream(asked) as stream:
        await anext(stream)
        await engine.forget()
        beside = await answer(engine, asked)
        async for _ in stream:
            pass
    after = await answer(engine, asked)
    kept = await answer(engine, asked)
    found = [told.usage.cached_input_tokens for told in (beside, kept) if told.usage]
    assert found[0] == 0
    assert found[1] > 90
    assert after.text == beside.text == kept.text
