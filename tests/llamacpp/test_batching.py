"""Test many requests at once: each gets the answer that it gets alone.

On a tiny model with random weights, whose answers are chaotic: the least difference in a logit soon
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
from vanta_llamacpp.prompt.prompt import Prompter, TokenizedRequest
from vanta_llamacpp.worker.generation import Generation

pytestmark = [pytest.mark.anyio, pytest.mark.one_loop]
GREEDY = Sampling(temperature=0.0, max_tokens=24)
WORDS = ["rain", "stone", "green", "seven", "window", "river", "paper", "cloud", "iron", "bread"]


def talk(chance: random.Random, *, words: int = 60, system: str = "Be brief.") -> GenerationRequest:
    """Return a request of up to `words` random words."""
    text = " ".join(chance.choices(WORDS, k=chance.randint(1, words)))
    return GenerationRequest((Message("system", system), Message("user", text)), GREEDY)


async def text_of(engine: LlamaCppEngine, query: GenerationRequest) -> str:
    """Return the text of an answer."""
    return (await answer(engine, query)).text


async def leave_after(engine: LlamaCppEngine, query: GenerationRequest, deltas: int) -> None:
    """Read so many deltas, then stop."""
    async with engine.stream(query) as stream:
        for _ in range(deltas):
            await anext(stream, None)


async def test_hundreds_of_joins_and_leaves_change_no_answer(tiny: MakeEngine) -> None:
    """Every completed answer equals the answer to its request alone."""
    chance = random.Random(1)  # noqa: S311
    talks = [dataclasses.replace(talk(chance), session=f"s{n % 12}") for n in range(40)]
    reference = tiny(parallel=1, reuse_prefix=False)
    expected = [await text_of(reference, item) for item in talks]
    engine = tiny(parallel=6, queue=100)
    equal: list[bool] = []

    async def serve(number: int, deltas: int | None) -> None:
        if deltas is not None:
            await leave_after(engine, talks[number], deltas)
        else:
            equal.append(await text_of(engine, talks[number]) == expected[number])

    async def serve_many(count: int) -> None:
        for _ in range(count):
            leaves = chance.randrange(12) if chance.random() < 0.5 else None
            await serve(chance.randrange(len(talks)), leaves)

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(serve_many, 15)
    assert engine.stats()["requests"] > 250, "some are stopped before their turn"
    assert engine.stats()["stopped"] > 90
    assert len(equal) > 110
    assert all(equal)
    assert engine.stats()["cached_input_tokens"] > 0


async def test_several_threads_give_the_same_answers_in_batches(tiny: MakeEngine) -> None:
    """Below the length from which llama.cpp splits lone steps among threads."""
    chance = random.Random(2)  # noqa: S311
    talks = [talk(chance, words=40) for _ in range(8)]
    reference = tiny(parallel=1, threads=2, reuse_prefix=False)
    expected = [await text_of(reference, item) for item in talks]
    engine, texts = tiny(parallel=8, threads=2), dict[int, str]()

    async def read(number: int) -> None:
        texts[number] = await text_of(engine, talks[number])

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(read, number)
    assert [texts[number] for number in range(8)] == expected


async def test_a_turn_prefills_only_what_is_new(tiny: MakeEngine) -> None:
    """The answers stay the same."""
    chance, engine, plain = random.Random(3), tiny(), tiny(reuse_prefix=False)  # noqa: S311
    messages = talk(chance).messages
    for turn in range(5):
        turn_request = GenerationRequest(messages, GREEDY, session="ada")
        before = engine.stats()["prefilled_tokens"]
        completion = await answer(engine, turn_request)
        assert completion.text == await text_of(plain, turn_request)
        assert completion.usage is not None
        prefilled = engine.stats()["prefilled_tokens"] - before
        usage = completion.usage
        assert usage.input_tokens == prefilled + usage.cached_input_tokens
        assert prefilled < 60 or not turn
        messages = (
            *messages,
            Message("assistant", completion.text),
            Message("user", chance.choice(WORDS)),
        )
        await answer(engine, dataclasses.replace(talk(chance), session="bob"))


async def test_a_shared_system_prompt_is_prefilled_once(tiny: MakeEngine) -> None:
    """By the first of concurrent requests; the others copy it."""
    chance = random.Random(4)  # noqa: S311
    system = " ".join(chance.choices(WORDS, k=400))
    talks = [
        dataclasses.replace(talk(chance, words=5, system=system), session=f"s{n}")
        for n in range(16)
    ]
    reference, engine = tiny(parallel=1, reuse_prefix=False), tiny(parallel=16)
    expected = [await text_of(reference, item) for item in talks]
    texts: dict[int, str] = {}

    async def read(number: int) -> None:
        texts[number] = await text_of(engine, talks[number])

    async with anyio.create_task_group() as tasks:
        for number in range(16):
            tasks.start_soon(read, number)
    assert [texts[number] for number in range(16)] == expected
    assert engine.stats()["prefilled_tokens"] < 400 + 16 * 30


async def test_a_long_prompt_does_not_block_decoding(tiny: MakeEngine) -> None:
    """An answer gets a token for every chunk of the prompt."""
    engine = tiny(parallel=2)
    long = request(" ".join(WORDS * 80), max_tokens=1)
    async with engine.stream(request(max_tokens=600)) as stream:
        await anext(stream)
        counts: list[int] = []

        async def read() -> None:
            before = engine.stats()["steps"]
            await answer(engine, long)
            counts.append(engine.stats()["steps"] - before)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            while not counts:
                await anext(stream)
    prompt = (await engine.count_tokens(long.messages)).value
    chunks = prompt // 60
    assert counts[0] >= 2 * chunks, "between two chunks a token is decoded"


async def test_a_stop_in_a_long_prompt_changes_no_other_answer(tiny: MakeEngine) -> None:
    query = request(max_tokens=200)
    expected = await text_of(tiny(parallel=1), query)
    engine, texts = tiny(parallel=3), list[str]()

    async def write() -> None:
        texts.append(await text_of(engine, query))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        for _ in range(10):
            await leave_after(engine, request(" ".join(WORDS * 80)), 0)
    assert texts == [expected]


async def test_the_least_recently_used_session_is_evicted(tiny: MakeEngine) -> None:
    """With two slots and three sessions, the one idle for longest is prefilled again."""
    chance, engine = random.Random(5), tiny(parallel=2)  # noqa: S311
    systems = {name: " ".join(chance.choices(WORDS, k=30)) for name in "abc"}

    async def cached(name: str) -> int:
        first = talk(random.Random(6), system=systems[name])  # noqa: S311
        completion = await answer(engine, dataclasses.replace(first, session=name))
        assert completion.usage is not None
        return completion.usage.cached_input_tokens

    for name in "ab":
        await cached(name)
    assert await cached("a") > 60
    assert await cached("c") < 20, "only the common beginning of all prompts"
    assert await cached("a") > 60
    assert await cached("b") < 20, "c has evicted it"
    assert engine.stats()["evictions"] == 2


async def test_sessions_take_turns(tiny: MakeEngine) -> None:
    """One with many requests does not delay another."""
    engine, order = tiny(parallel=1, window=8192), list[str]()

    async def read(session: str) -> None:
        await answer(engine, dataclasses.replace(request(max_tokens=4), session=session))
        order.append(session)

    endless = request(max_tokens=None, logit_bias={2: -100.0, 0: -100.0})
    async with anyio.create_task_group() as tasks, engine.stream(endless) as first:
        await anext(first)
        for waiting, session in enumerate(("a", "a", "a", "b")):
            tasks.start_soon(read, session)
            while engine.stats()["queue"] <= waiting:
                await anyio.lowlevel.checkpoint()
    assert order == ["a", "b", "a", "a"]


def substitute(monkeypatch: pytest.MonkeyPatch, text: str, tokenized: TokenizedRequest) -> None:
    """Make the prompter return `tokenized` for a request of the message `text`."""
    prompt = Prompter.prompt

    def substituted(self: Prompter, generation: GenerationRequest) -> TokenizedRequest:
        if generation.messages[-1].content == text:
            return tokenized
        return prompt(self, generation)

    monkeypatch.setattr(Prompter, "prompt", substituted)


async def test_a_decode_that_fails_ends_only_the_request_at_fault(
    tiny: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that does not exist, in a step with others, which answer as if alone."""
    substitute(monkeypatch, "bad", TokenizedRequest((10_000_000,), 4, GREEDY))
    good = request(max_tokens=300)
    expected = await text_of(tiny(parallel=1), good)
    engine, texts = tiny(parallel=3), list[str]()
    await engine.load()

    async def read() -> None:
        texts.append(await text_of(engine, good))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        while not engine.stats()["steps"]:
            await anyio.lowlevel.checkpoint()
        with pytest.raises(EngineError, match="llama_decode failed"):
            await answer(engine, request("bad"))
    assert texts == [expected]
    assert engine.stats()["failed"] == 1


@pytest.mark.parametrize("place", ["start", "sampling"])
async def test_an_unexpected_error_ends_only_the_request_at_fault(
    tiny: MakeEngine, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader receives an EngineError, and the slot is free again."""

    def sample(self: Generation, index: int) -> None:
        if self.job.request.max_tokens == 5:
            raise RuntimeError("sampling failed")
        original(self, index)

    original = Generation.sample
    monkeypatch.setattr(Generation, "sample", sample)
    wrong = Sampling(temperature=1.0)
    object.__setattr__(wrong, "seed", 3.0)  # it would be refused as an argument
    sampling, limit = (wrong, 9) if place == "start" else (GREEDY, 5)
    substitute(monkeypatch, "bad", TokenizedRequest((1, 2, 3, 4), limit, sampling))
    good = request(max_tokens=300)
    expected = await text_of(tiny(parallel=1), good)
    engine, texts = tiny(parallel=2), list[str]()
    await engine.load()

    async def read() -> None:
        texts.append(await text_of(engine, good))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        while not engine.stats()["steps"]:
            await anyio.lowlevel.checkpoint()
        for _ in range(3):
            with anyio.fail_after(30), pytest.raises(EngineError, match="the engine failed"):
                await answer(engine, request("bad"))
    assert texts == [expected]
    assert engine.stats()["active"] == 0


async def test_a_prompt_forgotten_during_its_answer_is_not_reused(tiny: MakeEngine) -> None:
    """Neither during the answer nor afterwards."""
    engine, query = tiny(parallel=2), request(f"Read this. {' '.join(WORDS * 10)}", max_tokens=40)
    async with engine.stream(query) as stream:
        await anext(stream)
        await engine.forget()
        beside = await answer(engine, query)
        async for _ in stream:
            pass
    after = await answer(engine, query)
    again = await answer(engine, query)
    cached = [item.usage.cached_input_tokens for item in (beside, again) if item.usage]
    assert cached[0] == 0
    assert cached[1] > 90
    assert after.text == beside.text == again.text
