"""The cost of scripts: time over their engine, memory, parsing, and concurrent runs.

The runs are one-turn scripts on a ScriptedEngine, one after another; the time to iterate over the
same answer of the same engine is subtracted. Memory is that of all Python objects after each round.
Concurrent runs use the real small model if its file exists: sequential and concurrent runs
alternate with llama.cpp's own batched decode, and the fastest of each counts. Invariant: nothing
here uses the network.
"""

from __future__ import annotations

import gc
import tempfile
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

import vanta
from vanta import Runtime, VantaError
from vanta.models import ModelStore, default_root
from vanta.testing import ScriptedEngine, scripted_plugin
from vanta_scripts import RunOptions, Script, Suite, find_scripts, load_script, parse_script

from .local.peers import python_peer
from .report import Figure, Settings, median

SUMMARY = "the cost of a script over its engine, parsing, and concurrent scripts"

OVERHEAD_GOAL_MS = 5.0
READING_GOAL_S = 3.0
PARALLEL_GOAL = 1.5
FLAT_GOAL_KB = 200.0
_SCRIPTS, _FILES, _REAL, _ROUNDS = 200, 1000, 16, 3
_PEER_TOKENS = 8
_PEER_WINDOW = 256
_MODEL = "smollm2-135m-instruct"
_TEXT = """\
name: script {number}
tags: [bench]
policy: local
turns:
  - say: What is the capital of France?
    expect: {{contains: Paris, not_contains: London, track: local, max_seconds: 60}}
"""
_REAL_TEXT = """\
name: script {number}
track: local
system: short
sampling: {{temperature: 0, max_tokens: 24}}
turns:
  - say: Tell me a fact about the number {number}.
"""


def run(settings: Settings) -> list[Figure]:
    """Measure time, memory, parsing and concurrent runs."""
    return [
        *anyio.run(_overhead, settings.times(_SCRIPTS, 100)),
        _reading(settings.times(_FILES, 300)),
        _side_by_side(settings.times(_REAL, 8)),
    ]


@asynccontextmanager
async def _scripted() -> AsyncIterator[tuple[Runtime, ScriptedEngine]]:
    engine = ScriptedEngine("The capital of France is Paris.")
    with tempfile.TemporaryDirectory() as folder:
        tracks = {"local": {"engine": "scripted", "model": "m"}}
        config = {"data_dir": folder, "tracks": tracks}
        async with vanta.open(config, plugins=[scripted_plugin(local=engine)]) as runtime:
            yield runtime, engine


async def _overhead(count: int) -> list[Figure]:
    scripts = [parse_script(_TEXT.format(number=number)) for number in range(count)]
    async with _scripted() as (runtime, engine):
        await Suite(runtime, scripts[:20]).run()
        durations = [await _run_s(runtime, [script]) for script in scripts]
        request = engine.requests[-1]
        bare, plain = [], []
        for number in range(count):
            started = time.perf_counter()
            await runtime.session(f"plain {number}").ask(scripts[0].turns[0].say, policy="local")
            plain.append(time.perf_counter() - started)
            started = time.perf_counter()
            async with engine.stream(request) as deltas:
                async for _delta in deltas:
                    pass
            bare.append(time.perf_counter() - started)
        grown = await _growth_kb(runtime, engine, scripts)
    engine_s = median(bare) or 0.0
    over, turn = (median(durations) or 0.0) - engine_s, (median(plain) or 0.0) - engine_s
    return [
        Figure(
            name="a one-turn script over its engine", value=over * 1000, unit="ms",
            goal=OVERHEAD_GOAL_MS, peer="a turn of a plain session", peer_value=turn * 1000,
            note=f"median of {count}, with the store on disk",
        ),
        Figure(
            name="memory that another round of the scripts adds", value=grown, unit="KB",
            goal=FLAT_GOAL_KB, note=f"Python objects after {3 * count} runs against {2 * count}",
        ),
    ]  # fmt: skip


async def _run_s(runtime: Runtime, scripts: list[Script], parallel: int = 1) -> float:
    started = time.perf_counter()
    report = await Suite(runtime, scripts, RunOptions(parallel=parallel)).run()
    took = time.perf_counter() - started
    assert report.passed, report.to_dict()
    return took


async def _growth_kb(runtime: Runtime, engine: ScriptedEngine, scripts: list[Script]) -> float:
    """Return the KB of a round that remain without its reports and the records of the engine."""
    tracemalloc.start()
    try:
        sizes = []
        for _ in range(3):
            for script in scripts:
                await Suite(runtime, [script]).run()
            engine.runs.clear()
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    return max(0.0, (sizes[2] - sizes[1]) / 1000)


def _reading(count: int) -> Figure:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(count):
            (folder / f"{number}.yaml").write_text(_TEXT.format(number=number), encoding="utf-8")
        started = time.perf_counter()
        scripts = [load_script(path) for path in find_scripts([folder])]
        took = time.perf_counter() - started
    assert len(scripts) == count
    return Figure(
        name="reading and checking 1,000 script files", value=took * 1000 / count, unit="s",
        goal=READING_GOAL_S, note=f"{count} files were read",
    )  # fmt: skip


def _side_by_side(count: int) -> Figure:
    name = f"{count} real scripts side by side, times as fast"
    try:
        model = ModelStore(default_root()).find(_MODEL).path
    except VantaError as error:
        note = f"not measured: {error}"
        return Figure(
            name=name, value=None, unit="x", better="higher", goal=PARALLEL_GOAL, note=note
        )
    with python_peer("batched", model, _PEER_WINDOW, count) as peer:
        sequential, concurrent, bare_sequential, bare_concurrent = anyio.run(
            _both_ways, model, count, peer
        )
    return Figure(
        name=name, value=sequential / concurrent, unit="x", better="higher", goal=PARALLEL_GOAL,
        peer=f"llama.cpp's own batched decode, {count} sequences",
        peer_value=bare_sequential / bare_concurrent,
        note=f"{sequential:.1f} s one after another, {concurrent:.1f} s all at once",
    )  # fmt: skip


async def _both_ways(
    model: Path, count: int, peer: Callable[[int], tuple[float, float]]
) -> tuple[float, float, float, float]:
    """Return the seconds of sequential and of concurrent scripts, then those of the peer."""
    scripts = [parse_script(_REAL_TEXT.format(number=number)) for number in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        tracks = {"local": {"model": str(model)}, "api": {"enabled": False}}
        async with vanta.open("default", data_dir=folder, tracks=tracks) as runtime:
            await _run_s(runtime, scripts[:2], parallel=2)
            sequential, concurrent, bare = [], [], []
            for _ in range(_ROUNDS):
                sequential.append(await _run_s(runtime, scripts))
                concurrent.append(await _run_s(runtime, scripts, parallel=count))
                bare.append(peer(_PEER_TOKENS))
            bare_sequential, bare_concurrent = zip(*bare, strict=True)
            return min(sequential), min(concurrent), min(bare_sequential), min(bare_concurrent)
