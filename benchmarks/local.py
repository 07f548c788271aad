"""The local track: throughput of many, prefixes kept, stopping, contention, memory.

One engine `llamacpp` in this process on the embedded model, greedy. Its peer is the high-level
class `Llama` of llama-cpp-python on the same file, which answers one after another.
Invariant: engine and peer alternate, so that a busy moment hits both, and what depends on the
machine is told as a ratio of the two.
"""

from __future__ import annotations

import gc
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from vanta.engine import Engine, EngineContext, GenerationRequest, ModelFile, Sampling
from vanta.messages import Fold, Message
from vanta.models import ModelStore, default_root, read_header
from vanta.plugins import load

from .local_peer import batched_bench, llama_class
from .machine import resident_bytes, taken_core
from .report import Figure, median, percentile
from .settings import Settings

SUMMARY = "the local engine: many at once, prefixes kept, stopping, contention, memory"

MODEL = "smollm2-135m-instruct"
WIDTHS = (1, 4, 8, 16)
WINDOW = 1024
LONG_WINDOW = 6144
STOP_GOAL_MS = 50.0
_PEER = "llama-cpp-python's class Llama, one request after another"
_WORDS = "rain stone green seven window river paper cloud iron bread "


def run(settings: Settings) -> list[Figure]:
    """Measure, in this order: memory first, while nothing else was loaded."""
    path = ModelStore(default_root()).find(MODEL).path
    return anyio.run(measure, path, settings)


async def measure(path: Path, settings: Settings) -> list[Figure]:
    """All figures, of the model at `path`."""
    figures: list[Figure] = []
    for part in (_memory, _throughput, _shared_prompt, _turns, _stops, _contention):
        settings.progress(part.__name__.strip("_").replace("_", " "), len(figures), 20)
        figures += await part(path, settings)
        gc.collect()
    return figures


@asynccontextmanager
async def _engine(path: Path, window: int = WINDOW, **options: Any) -> AsyncIterator[Engine]:
    """The engine as a track would make it."""
    factory = load(allow=(), strict=False).engines["llamacpp"]
    context = EngineContext("local", MODEL, window, lambda name: ModelFile(name, path))
    engine = factory.create(factory.options(**options), context)
    try:
        yield engine
    finally:
        await engine.aclose()


def _asked(
    text: str, *, session: str = "", system: str = "", tokens: int = 64
) -> GenerationRequest:
    said = (Message("user", text),)
    messages = (Message("system", system), *said) if system else said
    return GenerationRequest(
        messages, Sampling(temperature=0.0, max_tokens=tokens), session=session
    )


async def _answer(engine: Engine, asked: GenerationRequest) -> Any:
    folded = Fold()
    async with engine.stream(asked) as stream:
        async for delta in stream:
            folded.add(delta)
    return folded.completion()


async def _memory(path: Path, settings: Settings) -> list[Figure]:
    """Load, a first reply, and many turns, each in a session of its own."""
    before = resident_bytes()
    async with _engine(path, parallel=4) as engine:
        begun = time.perf_counter()
        await engine.load()
        load_s = time.perf_counter() - begun
        begun = time.perf_counter()
        reply = await _answer(engine, _asked("What is rain?", tokens=32))
        reply_s = time.perf_counter() - begun
        after = resident_bytes()
        size = (await anyio.Path(path).stat()).st_size
        per_token = read_header(path).kv_bytes_per_token or 0
        kv = 4 * WINDOW * per_token
        turns = settings.times(1000, 60)
        for number in range(turns):
            await _answer(engine, _asked(f"Turn {number}.", session=f"s{number}", tokens=4))
            if number == turns // 5:
                settled = resident_bytes()
        grown = resident_bytes() - settled
    return [
        Figure(name="load", value=load_s, unit="s", goal=5.0),
        Figure(
            name="a simple reply",
            value=reply_s,
            unit="s",
            goal=1.5,
            note=f"{reply.usage.output_tokens} tokens, with nothing cached",
        ),
        Figure(
            name="resident memory beyond file and KV cache",
            value=(after - before - size - kv) / 1e6,
            unit="MB",
            goal=200.0,
            note=f"file {size / 1e6:.0f} MB, KV cache 4 x {WINDOW} tokens x {per_token:,} bytes",
        ),
        Figure(
            name="memory grown in a soak",
            value=grown / 1e6,
            unit="MB",
            goal=8.0,
            note=f"the last four fifths of {turns} turns, each of another session",
        ),
    ]


async def _throughput(path: Path, settings: Settings) -> list[Figure]:
    tokens, rounds = settings.times(64, 24), 1 if settings.quick else 3
    rates: dict[int, list[tuple[float, float]]] = {width: [] for width in WIDTHS}
    with llama_class(path, WINDOW) as peer:
        async with _engine(path, parallel=max(WIDTHS)) as engine:
            await _answer(engine, _asked("Hello", tokens=4))
            for _ in range(rounds):
                for width in WIDTHS:
                    ours = await _rate(engine, width, tokens)
                    theirs = await anyio.to_thread.run_sync(peer, width, tokens)
                    rates[width].append((ours, theirs))
    figures = [_rate_figure(width, pairs) for width, pairs in rates.items()]
    own = {width: median([ours for ours, _ in pairs]) for width, pairs in rates.items()}
    return [*figures, *batched_bench(path, own, settings)]


async def _rate(engine: Engine, width: int, tokens: int) -> float:
    made: list[int] = []

    async def one(number: int) -> None:
        asked = _asked(f"Tell me a story about the number {number}.", tokens=tokens)
        made.append((await _answer(engine, asked)).usage.output_tokens)

    begun = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for number in range(width):
            tasks.start_soon(one, number)
    return sum(made) / (time.perf_counter() - begun)


def _rate_figure(width: int, pairs: list[tuple[float, float]]) -> Figure:
    ratios = [ours / theirs for ours, theirs in pairs]
    told = ", ".join(f"{ours:.0f}:{theirs:.0f}" for ours, theirs in pairs)
    return Figure(
        name=f"output at {width} conversations, of the peer's",
        value=median(ratios),
        unit="x",
        better="higher",
        goal=0.95 if width == 1 else 1.0,
        peer=_PEER,
        peer_value=1.0,
        note=f"tokens/s in all, prompts included, engine:peer {told}",
    )


async def _shared_prompt(path: Path, _settings: Settings) -> list[Figure]:
    system = (_WORDS * 100)[:3000]
    async with _engine(path, parallel=16) as engine:
        asked = [
            _asked(f"Say {number}.", session=f"s{number}", system=system, tokens=2)
            for number in range(16)
        ]
        whole = (await engine.count_tokens(asked[0].messages)).value
        own = whole - (await engine.count_tokens(asked[0].messages[:1])).value
        async with anyio.create_task_group() as tasks:
            for each in asked:
                tasks.start_soon(_answer, engine, each)
        read = engine.stats()["prefilled_tokens"]
    return [
        Figure(
            name="tokens read for 16 sessions with one system prompt, of one reading",
            value=read / (whole + 15 * own),
            unit="x",
            goal=1.1,
            note=f"{read} read; a prompt has {whole}, of which {own} are its own",
        )
    ]


async def _turns(path: Path, settings: Settings) -> list[Figure]:
    """The first token of a turn upon a long and a short history, against reading its new tokens."""
    rounds = settings.times(5, 2)
    ratios: dict[int, list[float]] = {500: [], 2000: []}
    read: dict[int, int] = {}
    async with _engine(path, window=4096, parallel=3) as engine:
        for number in range(rounds):
            for length, values in ratios.items():
                ratio, read[length] = await _turn(engine, length, f"{number} {length}")
                values.append(ratio)
    return [
        Figure(
            name=f"first token upon {length} tokens of history, of reading what is new",
            value=median(values),
            unit="x",
            goal=1.1,
            note=f"{read[length]} tokens read, the last reply and the message among them; the "
            "reference reads as many in an empty context, where attention costs nothing",
        )
        for length, values in ratios.items()
    ]


async def _turn(engine: Engine, length: int, session: str) -> tuple[float, int]:
    words = f"{session} {_WORDS * 300}"[: int(length * 4.6)]
    said = (Message("user", words),)
    sampling = Sampling(temperature=0.0, max_tokens=40)
    reply = await _answer(engine, GenerationRequest(said, sampling, session=session))
    said = (*said, Message("assistant", reply.text), Message("user", "Go on, please, about rain."))
    before = engine.stats()["prefilled_tokens"]
    told = await _answer(engine, GenerationRequest(said, Sampling(max_tokens=1), session=session))
    read = engine.stats()["prefilled_tokens"] - before
    plain = f"{session}: {_WORDS * 40}"
    fresh = await _answer(engine, _asked(plain, session=f"fresh {session}", tokens=1))
    fresh_read = fresh.usage.input_tokens - fresh.usage.cached_input_tokens
    alone_s = fresh.timings.prefill_s * read / fresh_read
    return told.timings.prefill_s / alone_s, read


async def _stops(path: Path, settings: Settings) -> list[Figure]:
    times = settings.times(100, 12)
    async with _engine(path, window=LONG_WINDOW, parallel=4) as engine:
        writing = [
            await _stop(engine, _asked("Tell me a story.", tokens=400)) for _ in range(times)
        ]
        beside: list[float] = []
        reading: list[float] = []
        async with anyio.create_task_group() as tasks:
            enough = anyio.Event()
            tasks.start_soon(_gaps, engine, beside, enough)
            await enough.wait()
            usual, begin = median(beside), len(beside)
            for number in range(times):
                long = _asked(f"{number} {_WORDS * 400}", tokens=2)
                reading.append(await _stop(engine, long, wait_s=0.1))
            gaps = beside[begin:]
            tasks.cancel_scope.cancel()
    return [
        _stop_figure("stop while writing, p99", writing),
        _stop_figure("stop in a prompt of 4,000 tokens, p99", reading),
        Figure(
            name="another stream's pause beside it, of its usual",
            value=(median(gaps) or 0.0) / usual if usual else None,
            unit="x",
            goal=2.0,
            note=f"median of {len(gaps)} pauses; the longest is {max(gaps) / (usual or 1):.1f}x",
        ),
    ]


def _stop_figure(name: str, seconds: list[float]) -> Figure:
    return Figure(
        name=name,
        value=1000 * (percentile(seconds, 0.99) or 0.0),
        unit="ms",
        goal=STOP_GOAL_MS,
        note=f"{len(seconds)} stops, from leaving to standing still; "
        f"median {1000 * (median(seconds) or 0.0):.1f} ms",
    )


async def _stop(engine: Engine, asked: GenerationRequest, *, wait_s: float | None = None) -> float:
    """Seconds from wanting a stop to the end of the work."""
    async with engine.stream(asked) as stream:
        if wait_s is None:
            await anext(stream)
        else:
            await anyio.sleep(wait_s)
        begun = time.perf_counter()
    return time.perf_counter() - begun


async def _gaps(engine: Engine, gaps: list[float], enough: anyio.Event) -> None:
    """The pauses between the deltas of answers that never end; `enough` is set after thirty."""
    while True:
        async with engine.stream(_asked("Count to a million.", tokens=2000)) as stream:
            await anext(stream)
            last = time.perf_counter()
            async for _ in stream:
                gaps.append(time.perf_counter() - last)
                last = time.perf_counter()
                if len(gaps) == 30:
                    enough.set()


async def _contention(path: Path, settings: Settings) -> list[Figure]:
    """Tokens a second while another process spins on a core, adapting and with fixed threads."""
    rounds, tokens = settings.times(3, 1), 160
    with taken_core() as cores:
        rates: dict[int | None, list[float]] = {None: [], **{n: [] for n in range(1, cores + 1)}}
        async with _engine(path, parallel=1) as adapting:
            await _rate(adapting, 1, tokens)  # it has to notice first
            for _ in range(rounds):
                rates[None].append(await _rate(adapting, 1, tokens))
                for count in range(1, cores + 1):
                    async with _engine(path, parallel=1, threads=count) as fixed:
                        rates[count].append(await _rate(fixed, 1, tokens))
            pace = adapting.stats()["pace"]
    return list(_contention_figures(rates, pace))


def _contention_figures(
    rates: dict[int | None, list[float]], pace: dict[str, Any]
) -> Iterator[Figure]:
    ours = median(rates.pop(None)) or 0.0
    fixed = {count: median(values) or 0.0 for count, values in rates.items()}
    told = ", ".join(f"{count} threads {rate:.0f}" for count, rate in fixed.items())
    yield Figure(
        name="output with one core taken, of the best fixed number of threads",
        value=ours / max(fixed.values()),
        unit="x",
        better="higher",
        goal=0.85,
        note=f"tokens/s: adapting {ours:.0f}, {told}; now {pace['threads']} threads after "
        f"{pace['changes']} changes",
    )
