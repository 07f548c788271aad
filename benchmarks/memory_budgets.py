"""Budgets: random prompts of every kind of content, put together by four ways of counting.

An assembly is a window, shares, a past, recalled items and a message, all at random; it is put
together as a turn's leg does it and then judged by the true tokenizer: the embedded model's for
llama.cpp and for the calibrated estimate, which sees no more of it than a server's usage; a
vocabulary in a rank file for tiktoken; bytes for the byte bound, which no tokenizer passes.
Invariant: what judges a prompt is not what packed it, but for the counters that claim to be exact.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import anyio
import anyio.to_thread

from vanta.context import Assembled, Write
from vanta.engine import Engine, EngineContext, ModelFile
from vanta.errors import EngineError, VantaError
from vanta.installation import templates_dir
from vanta.messages import Message
from vanta.models import ModelStore, default_root
from vanta.plugin_loading import load
from vanta.prompts import Templates

from .memory_assemblies import Draw, Given
from .memory_counters import Bytes, Learner, Ranks
from .report import Figure, percentile
from .settings import Settings

MODEL = "smollm2-135m-instruct"
LESSONS = 512
"""Prompts that the estimate learns from before it is judged."""

FILL_EXACT, FILL_CALIBRATED = 97.0, 90.0
PACKING_GOAL_MS = 5.0

Tokens = Callable[[Sequence[Message]], Awaitable[int]]


def figures(settings: Settings) -> list[Figure]:
    """Measure: `settings.times` assemblies with each counter."""
    return anyio.run(measure, settings.times(25_000, 100), settings)


async def measure(count: int, settings: Settings) -> list[Figure]:
    """The figures of `count` assemblies with each of the four counters."""
    found: list[Figure] = []
    async with AsyncExitStack() as stack:
        try:
            model: Engine = await stack.enter_async_context(opened_model())
        except VantaError as error:
            return [_missing("assemblies over budget, llama.cpp", str(error))]
        true = of_engine(model)
        judged: list[tuple[str, Judged, float | None]] = [
            ("llama.cpp", Judged(model, true), FILL_EXACT),
            ("calibrated estimate", Judged(Learner(), true), FILL_CALIBRATED),
            ("byte bound", Judged(Bytes(), true), None),
        ]
        try:
            ranks = await anyio.to_thread.run_sync(Ranks)
            judged.insert(1, ("tiktoken, a rank file", Judged(ranks, ranks.true), FILL_EXACT))
        except ImportError as error:
            found.append(_missing("assemblies over budget, tiktoken", f"no tiktoken: {error}"))
        for name, one, goal in judged:
            found += await _figures(name, one, goal, count, settings)
    return found


@dataclass(slots=True)
class Tally:
    """What came out. over: prompts that with the reply's reserve pass the window. fills: true
    tokens of the budget, in percent, where there was enough to fill it with. refused: neither
    system prompt nor message fitted. seconds: of packing anew what another track has packed."""

    assemblies: int = 0
    over: int = 0
    refused: int = 0
    fills: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Judged:
    """An engine that counts, and the true tokens of a prompt. Both may be the same thing."""

    engine: Engine
    true: Tokens


async def _figures(
    name: str, judged: Judged, goal: float | None, count: int, settings: Settings
) -> list[Figure]:
    tally = await play(judged, count, settings, name)
    mean = sum(tally.fills) / len(tally.fills) if tally.fills else None
    lowest = percentile(tally.fills, 0.05)
    milliseconds = [one * 1000 for one in tally.seconds]
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
    judged: Judged, count: int, settings: Settings, name: str = "", *, lessons: int = LESSONS
) -> Tally:
    """Put `count` random prompts together and judge them. lessons: what an estimate learns from
    before."""
    draw, tally, engine = Draw(count), Tally(), judged.engine
    write = _writer()
    if isinstance(engine, Learner):
        await study(engine, judged, draw, write, lessons)
    for done in range(count):
        if done % 100 == 0:
            settings.progress(f"budgets, {name}", done, count)
        given = draw.assembly(engine)
        tally.assemblies += 1
        try:
            got = await given.put_together(given.memories(write))
        except EngineError:
            tally.refused += 1
            continue
        await _judge(tally, given, got, judged)
        tally.seconds.append(await _second_track(given.with_new_memories(draw), write))
    return tally


async def _second_track(given: Given, write: Write) -> float:
    """Seconds of packing for one more track what was recalled and packed for a first one."""
    memories = given.memories(write)
    with contextlib.suppress(EngineError):
        await given.put_together(memories, engine=Bytes())
    begun = time.perf_counter()
    with contextlib.suppress(EngineError):
        await given.put_together(memories)
    return time.perf_counter() - begun


async def study(learner: Learner, judged: Judged, draw: Draw, write: Write, lessons: int) -> None:
    """Have the estimate learn from the usage of so many turns."""
    while learner.calibration.samples < lessons:
        try:
            given = draw.assembly(learner)
            got = await given.put_together(given.memories(write))
        except EngineError:
            continue
        learner.calibration.learn(got.messages, await judged.true(got.messages))


async def _judge(tally: Tally, given: Given, got: Assembled, judged: Judged) -> None:
    true = await judged.true(got.messages)
    assert given.track.window
    budget = given.track.window - given.track.reply_reserve
    tally.over += true > budget
    if given.has_enough_for(got):
        tally.fills.append(100.0 * true / budget)
    if isinstance(judged.engine, Learner):
        judged.engine.calibration.learn(got.messages, true)


@asynccontextmanager
async def opened_model() -> AsyncIterator[Engine]:
    """The embedded model, as a track would make it. Raises VantaError where it is not on disk."""
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
    """An engine's own count as the judge."""

    async def count(messages: Sequence[Message]) -> int:
        return (await engine.count_tokens(messages)).value

    return count


def _writer() -> Write:
    """The template that ships, as the runtime renders it."""
    templates = Templates([templates_dir()])
    templates.preload()

    def write(notes: str, summary: str) -> str:
        return templates.render("memory/block", {"notes": notes, "summary": summary})

    return write


def _missing(name: str, why: str) -> Figure:
    return Figure(name=name, value=None, unit="", goal=0, note=why)
