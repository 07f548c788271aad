"""Budgets: random prompts of every kind of content, assembled with four ways to count tokens.

An assembly is a random window, shares, history, recalled items and message. It is assembled like
the prompt of a leg and then counted by the true tokenizer: the embedded model for llama.cpp and for
the calibrated estimate, which only learns from usage as reported by a server; a vocabulary in a
rank file for tiktoken; and bytes for the byte bound, which no tokenizer exceeds. Invariant: the
true count is independent of the counter that packed the prompt, except for counters that claim to
be exact.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import anyio
import anyio.to_thread

from vanta import Engine, EngineContext, EngineError, Message, ModelFile, VantaError
from vanta.context import Assembled, Write
from vanta.installation import templates_dir
from vanta.models import ModelStore, default_root
from vanta.plugin_loading import load
from vanta.prompts import Templates

from ..report import Figure, Settings, percentile
from .assemblies import Assembly, AssemblyGenerator
from .counters import Bytes, Learner, Ranks

MODEL = "smollm2-135m-instruct"
LESSONS = 512
"""Number of prompts that the estimate learns from before it is measured."""

FILL_EXACT, FILL_CALIBRATED = 97.0, 90.0
PACKING_GOAL_MS = 5.0

Tokens = Callable[[Sequence[Message]], Awaitable[int]]


def figures(settings: Settings) -> list[Figure]:
    """Return the figures of 25,000 assemblies (100 in a quick run) with each counter."""
    return anyio.run(measure, settings.times(25_000, 100), settings)


async def measure(count: int, settings: Settings) -> list[Figure]:
    """Return the figures of `count` assemblies with each of the four counters."""
    taken: list[Figure] = []
    async with AsyncExitStack() as stack:
        try:
            model: Engine = await stack.enter_async_context(opened_model())
        except VantaError as error:
            return [_missing("assemblies over budget, llama.cpp", str(error))]
        true = of_engine(model)
        counters: list[tuple[str, CounterUnderTest, float | None]] = [
            ("llama.cpp", CounterUnderTest(model, true), FILL_EXACT),
            ("calibrated estimate", CounterUnderTest(Learner(), true), FILL_CALIBRATED),
            ("byte bound", CounterUnderTest(Bytes(), true), None),
        ]
        try:
            ranks = await anyio.to_thread.run_sync(Ranks)
            counters.insert(
                1, ("tiktoken, a rank file", CounterUnderTest(ranks, ranks.true), FILL_EXACT)
            )
        except ImportError as error:
            taken.append(_missing("assemblies over budget, tiktoken", f"no tiktoken: {error}"))
        for name, item, goal in counters:
            taken += await _figures(name, item, goal, count, settings)
    return taken


@dataclass(slots=True)
class BudgetTally:
    """The results of all assemblies.

    `over` counts prompts that exceed the window minus the reserve of the reply, and `refused` those
    whose message alone does not fit. `fills` are the true tokens in percent of the budget, where
    there was enough content to fill it. `seconds` are the times to pack again for a second track.
    """

    assemblies: int = 0
    over: int = 0
    refused: int = 0
    fills: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CounterUnderTest:
    """An engine that counts tokens, and the true count of a prompt. Both may be the same."""

    engine: Engine
    true: Tokens


async def _figures(
    name: str, counter: CounterUnderTest, goal: float | None, count: int, settings: Settings
) -> list[Figure]:
    tally = await play(counter, count, settings, name)
    mean = sum(tally.fills) / len(tally.fills) if tally.fills else None
    lowest = percentile(tally.fills, 0.05)
    milliseconds = [duration_s * 1000 for duration_s in tally.seconds]
    packing, half = percentile(milliseconds, 0.95), percentile(milliseconds, 0.5)
    enough = f"of {len(tally.fills)} with more to say than fits"
    low = f"; 5 % of them below {lowest:.1f} %" if lowest is not None else "none had enough"
    return [
        Figure(
            name=f"assemblies over budget, {name}",
            value=tally.over,
            unit=f"of {tally.assemblies}",
            goal=0,
            note=f"{tally.refused} refused: their message alone was too long",
        ),
        Figure(
            name=f"fill of the budget, {name}",
            value=mean,
            unit="% of it, mean",
            better="higher",
            goal=goal,
            note=enough + low,
        ),
        Figure(
            name=f"packing for one more track, {name}",
            value=packing,
            unit="ms, 95 % are below",
            goal=PACKING_GOAL_MS,
            note=f"half are below {half:.1f} ms; history counted before, memories new"
            if half is not None
            else "nothing was packed",
        ),
    ]


async def play(
    counter: CounterUnderTest,
    count: int,
    settings: Settings,
    name: str = "",
    *,
    lessons: int = LESSONS,
) -> BudgetTally:
    """Assemble and check `count` prompts; an estimate learns from `lessons` prompts before."""
    generator, tally, engine = AssemblyGenerator(count), BudgetTally(), counter.engine
    write = _writer()
    if isinstance(engine, Learner):
        await study(engine, counter, generator, write, lessons)
    for done in range(count):
        if done % 100 == 0:
            settings.progress(f"budgets, {name}", done, count)
        given = generator.assembly(engine)
        tally.assemblies += 1
        try:
            assembled = await given.assemble(given.memories(write))
        except EngineError:
            tally.refused += 1
            continue
        await _check(tally, given, assembled, counter)
        tally.seconds.append(await _second_track(given.with_new_memories(generator), write))
    return tally


async def _second_track(given: Assembly, write: Write) -> float:
    """Return the seconds to pack for a second track what was packed for a first one."""
    memories = given.memories(write)
    with contextlib.suppress(EngineError):
        await given.assemble(memories, engine=Bytes())
    begun = time.perf_counter()
    with contextlib.suppress(EngineError):
        await given.assemble(memories)
    return time.perf_counter() - begun


async def study(
    learner: Learner,
    counter: CounterUnderTest,
    generator: AssemblyGenerator,
    write: Write,
    lessons: int,
) -> None:
    """Let the estimate learn from the usage of `lessons` turns."""
    while learner.calibration.samples < lessons:
        try:
            given = generator.assembly(learner)
            assembled = await given.assemble(given.memories(write))
        except EngineError:
            continue
        learner.calibration.learn(assembled.messages, await counter.true(assembled.messages))


async def _check(
    tally: BudgetTally, given: Assembly, assembled: Assembled, counter: CounterUnderTest
) -> None:
    true = await counter.true(assembled.messages)
    assert given.track.window
    budget = given.track.window - given.track.reply_reserve
    tally.over += true > budget
    if given.has_enough_for(assembled):
        tally.fills.append(100.0 * true / budget)
    if isinstance(counter.engine, Learner):
        counter.engine.calibration.learn(assembled.messages, true)


@asynccontextmanager
async def opened_model() -> AsyncIterator[Engine]:
    """Open the embedded model as a track creates it.

    :raises VantaError: if the model is not on disk.
    """
    path = ModelStore(default_root()).find(MODEL).path
    factory = load(allow=(), strict=False).engines["llamacpp"]
    context = EngineContext("local", MODEL, 1024, lambda name: ModelFile(name, path))
    engine = factory.create(factory.options(), context)
    try:
        await engine.load()
        yield engine
    finally:
        await engine.aclose()


def of_engine(engine: Engine) -> Tokens:
    """Return the count of an engine as the true count."""

    async def count(messages: Sequence[Message]) -> int:
        return (await engine.count_tokens(messages)).value

    return count


def _writer() -> Write:
    """Return a function that renders the built-in template, like the runtime."""
    templates = Templates([templates_dir()])
    templates.preload()

    def write(notes: str, summary: str) -> str:
        return templates.render("memory/block", {"notes": notes, "summary": summary})

    return write


def _missing(name: str, reason: str) -> Figure:
    return Figure(name=name, value=None, unit="", goal=0, note=reason)
