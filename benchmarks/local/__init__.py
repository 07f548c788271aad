"""The local track: concurrent throughput, prefix reuse, stopping, contention, and memory.

One engine `llamacpp` in this process on the embedded model, greedy, beside peers on the same file
(see `throughput`, `mixed`, `turns` and `peers`). Last, unless the run is quick, a file in the shape
of a 7B model (`large_model`). Invariant: engine and peer alternate, so that load on the machine
affects both, and figures that depend on the machine are ratios of the two.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio

from vanta import Engine, GenerationRequest
from vanta.models import ModelStore, default_root, read_header

from ..machine import resident_bytes, taken_core
from ..report import Figure, Settings, median, percentile
from .engine import MODEL, WINDOW, WORDS, answer, engine_on, request, stories
from .large_model import large_shape
from .mixed import mixed_conversations
from .throughput import concurrent_throughput, rates
from .turns import later_turns

SUMMARY = "the local engine: concurrency, prefix reuse, stopping, contention, memory"

LONG_WINDOW = 6144
STOP_GOAL_MS = 50.0


def run(settings: Settings) -> Iterator[Figure]:
    """Measure memory first, before anything else is loaded, then the other figures."""
    path = ModelStore(default_root()).find(MODEL).path
    yield from measure(path, settings)


def measure(path: Path, settings: Settings) -> Iterator[Figure]:
    """Yield all figures of the model at `path`."""
    parts = (
        _memory,
        concurrent_throughput,
        mixed_conversations,
        _shared_prompt,
        later_turns,
        _stops,
        _contention,
        large_shape,
    )
    for done, part in enumerate(parts):
        settings.progress(part.__name__.strip("_").replace("_", " "), done, len(parts))
        yield from anyio.run(part, path, settings)
        gc.collect()


async def _memory(path: Path, settings: Settings) -> list[Figure]:
    """Measure the load, a first reply, and many turns, each in a new session."""
    before = resident_bytes()
    async with engine_on(path, parallel=4) as engine:
        begun = time.perf_counter()
        await engine.load()
        load_s = time.perf_counter() - begun
        begun = time.perf_counter()
        reply = await answer(engine, request("What is rain?", tokens=32))
        reply_s = time.perf_counter() - begun
        after = resident_bytes()
        size = (await anyio.Path(path).stat()).st_size
        per_token = read_header(path).kv_bytes_per_token or 0
        kv = 4 * WINDOW * per_token
        turns, settled = settings.times(1000, 60), after
        for number in range(turns):
            await answer(engine, request(f"Turn {number}.", session=f"s{number}", tokens=4))
            if number == turns // 5:
                settled = resident_bytes()
        growth = resident_bytes() - settled
    return [
        Figure(name="load", value=load_s, unit="s", goal=5.0),
        Figure(
            name="a simple reply",
            value=reply_s,
            unit="s",
            goal=1.5,
            note=f"{reply.usage.output_tokens if reply.usage else 0} tokens, with nothing cached",
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
            value=growth / 1e6,
            unit="MB",
            goal=8.0,
            note=f"the last four fifths of {turns} turns, each in a new session",
        ),
    ]


async def _shared_prompt(path: Path, _settings: Settings) -> list[Figure]:
    system = (WORDS * 100)[:3500]
    async with engine_on(path, parallel=16) as engine:
        requests = [
            request(f"Say {number}.", session=f"s{number}", system=system, tokens=2)
            for number in range(16)
        ]
        whole = (await engine.count_tokens(requests[0].messages)).value
        own = whole - (await engine.count_tokens(requests[0].messages[:1])).value
        async with anyio.create_task_group() as tasks:
            for item in requests:
                tasks.start_soon(answer, engine, item)
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


async def _stops(path: Path, settings: Settings) -> list[Figure]:
    times = settings.times(100, 12)
    async with engine_on(path, window=LONG_WINDOW, parallel=4) as engine:
        writing = [
            await _stop(engine, request("Tell me a story.", tokens=400)) for _ in range(times)
        ]
        gaps_beside: list[float] = []
        reading: list[float] = []
        async with anyio.create_task_group() as tasks:
            enough = anyio.Event()
            tasks.start_soon(_record_gaps, engine, gaps_beside, enough)
            await enough.wait()
            usual, begin = median(gaps_beside), len(gaps_beside)
            for number in range(times):
                long_request = request(f"{number} {WORDS * 400}", tokens=2)
                reading.append(await _stop(engine, long_request, wait_s=0.1))
            gaps = gaps_beside[begin:]
            tasks.cancel_scope.cancel()
    return [
        _stop_figure("stop while writing, p99", writing),
        _stop_figure("stop in a prompt of 4,000 tokens, p99", reading),
        Figure(
            name="another stream's pause beside it, of its usual",
            value=sum(gaps) / len(gaps) / usual if usual and gaps else None,
            unit="x",
            goal=2.0,
            note=f"mean of {len(gaps)} pauses; median {(median(gaps) or 0) / (usual or 1):.1f}x, "
            f"the longest {max(gaps, default=0) / (usual or 1):.1f}x",
        ),
    ]


def _stop_figure(name: str, seconds: list[float]) -> Figure:
    return Figure(
        name=name,
        value=1000 * (percentile(seconds, 0.99) or 0.0),
        unit="ms",
        goal=STOP_GOAL_MS,
        note=f"{len(seconds)} stops, from leaving the stream to the end of the work; "
        f"median {1000 * (median(seconds) or 0.0):.1f} ms",
    )


async def _stop(engine: Engine, item: GenerationRequest, *, wait_s: float | None = None) -> float:
    """Return the seconds from leaving a stream to the end of its work."""
    async with engine.stream(item) as stream:
        if wait_s is None:
            await anext(stream)
        else:
            await anyio.sleep(wait_s)
        begun = time.perf_counter()
    return time.perf_counter() - begun


async def _record_gaps(engine: Engine, gaps: list[float], enough: anyio.Event) -> None:
    """Record the pauses between the deltas of endless answers; set `enough` after thirty."""
    while True:
        async with engine.stream(request("Count to a million.", tokens=2000)) as stream:
            await anext(stream)
            last = time.perf_counter()
            async for _ in stream:
                gaps.append(time.perf_counter() - last)
                last = time.perf_counter()
                if len(gaps) == 30:
                    enough.set()


async def _contention(path: Path, settings: Settings) -> list[Figure]:
    """Measure tokens per second with one core taken, with adaptive and with fixed threads."""
    rounds, tokens = settings.times(3, 1), 160
    with taken_core() as cores:
        by_threads: dict[int | None, list[float]] = {
            None: [],
            **{n: [] for n in range(1, cores + 1)},
        }
        async with engine_on(path, parallel=1) as adapting:
            await rates(adapting, stories(1), tokens)  # it must detect the load first
            for _ in range(rounds):
                by_threads[None].append((await rates(adapting, stories(1), tokens))[0])
                for count in range(1, cores + 1):
                    async with engine_on(path, parallel=1, threads=count) as fixed:
                        by_threads[count].append((await rates(fixed, stories(1), tokens))[0])
            pace = adapting.stats()["pace"]
    return list(_contention_figures(by_threads, pace))


def _contention_figures(
    rates: dict[int | None, list[float]], pace: dict[str, Any]
) -> Iterator[Figure]:
    ours = median(rates.pop(None)) or 0.0
    fixed = {count: median(values) or 0.0 for count, values in rates.items()}
    fixed_note = ", ".join(f"{count} threads {rate:.0f}" for count, rate in fixed.items())
    yield Figure(
        name="output with one core taken, of the best fixed number of threads",
        value=ours / max(fixed.values()),
        unit="x",
        better="higher",
        goal=0.85,
        note=f"tokens/s: adapting {ours:.0f}, {fixed_note}; now {pace['threads']} threads after "
        f"{pace['changes']} changes",
    )
