"""The speed of memory: recall, building the index, forgetting, a cold start, and the event loop.

The peer of a recall is SQLite's own full-text search (`ORDER BY bm25() LIMIT 100`) in the same run.
Invariant: the embedders, Chroma and the store on disk are real; only bulk vectors are random.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from vanta import VantaError
from vanta.language import terms
from vanta.memory import Memory, NewItem, Question, Scope, Selection
from vanta.memory.search import SMALL_PARTITION
from vanta.storage import Store

from ..report import Figure, Settings, median, percentile
from .corpus import USER, Corpus, fill, memory_in

RECALL_MINILM_MS, RECALL_STATIC_MS = 40.0, 10.0
REBUILD_S, FORGET_S, COLD_S, BLOCKED_MS = 10.0, 2.0, 1.5, 20.0
_RECORDS, _FORGOTTEN, _INDEXED, _RECALLS = 50_000, 10_000, 500, 300
_SCOPE = Scope(USER)


def figures(settings: Settings) -> list[Figure]:
    """Return all figures; one that cannot be measured states the reason."""
    quick = settings.quick
    records = 1_000 + SMALL_PARTITION if quick else _RECORDS
    steps: list[Callable[[], Awaitable[list[Figure]]]] = [
        partial(_recalls, settings, "minilm", RECALL_MINILM_MS, records),
        partial(_recalls, settings, "static", RECALL_STATIC_MS, records),
        partial(_forget, settings, 2_000 if quick else _FORGOTTEN),
        partial(_blocked, settings, 100 if quick else _INDEXED),
    ]
    taken: list[Figure] = []
    for step in steps:
        taken += anyio.run(step)
    return [*taken, _cold(settings)]


async def _recalls(settings: Settings, name: str, goal_ms: float, records: int) -> list[Figure]:
    title = f"recall p95 at {records:,} records, {name} and chroma"
    settings.progress(title, 0, 2)
    with tempfile.TemporaryDirectory() as folder:
        try:
            async with memory_in(Path(folder), name) as (store, memory):
                assert memory.semantic is not None
                await memory.semantic.load()
                corpus = Corpus()
                await fill(store, records, memory.semantic.embedder, corpus)
                settings.progress(title, 1, 2)
                began = time.perf_counter()
                problem = await memory.ready(_SCOPE)
                built_s = time.perf_counter() - began
                if problem:
                    raise VantaError(problem)
                questions = [corpus.text(8) for _ in range(settings.times(_RECALLS, 60))]
                durations_ms = [await _recall(memory, text) for text in questions]
                peer = [await _search_words(store, text) for text in questions]
        except VantaError as error:
            return [Figure(name=title, value=None, unit="ms", goal=goal_ms, note=str(error))]
    return [
        Figure(
            name=title,
            value=percentile(durations_ms, 0.95),
            unit="ms",
            goal=goal_ms,
            peer="FTS5 alone, bm25, best 100",
            peer_value=percentile(peer, 0.95),
            note=f"median {median(durations_ms):.1f} ms, the peer's {median(peer):.1f} ms",
        ),
        Figure(
            name=f"building the index anew, {name}, for 10,000 records",
            value=built_s * 10_000 / records,
            unit="s",
            goal=REBUILD_S,
            note="from vectors in the store; without embedding",
        ),
    ]


async def _recall(memory: Memory, text: str) -> float:
    began = time.perf_counter()
    recollection = await memory.recall(Question(text, _SCOPE))
    took = time.perf_counter() - began
    if recollection.skipped or recollection.index != "chroma":
        raise VantaError(f"the recall was incomplete: {recollection.skipped or recollection.index}")
    return 1000 * took


async def _search_words(store: Store, text: str) -> float:
    def search(connection: Any) -> int:
        query = " OR ".join(f'"{word}"' for word in terms(text))
        rows = connection.exec_driver_sql(
            "SELECT rowid FROM memories_fts WHERE memories_fts MATCH ? "
            "ORDER BY bm25(memories_fts) LIMIT 100",
            (query,),
        )
        return len(rows.all())

    began = time.perf_counter()
    await store.read(search)
    return 1000 * (time.perf_counter() - began)


async def _forget(settings: Settings, records: int) -> list[Figure]:
    title = f"forgetting one record of {records:,}"
    settings.progress(title, 0, 1)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        try:
            async with memory_in(home, "minilm") as (store, memory):
                assert memory.semantic is not None
                await memory.semantic.load()
                await fill(store, records, memory.semantic.embedder, Corpus())
                (identity,) = await memory.add(
                    [NewItem(USER, "fact", "The treasure lies under the Zanzibarquay oak.", 1.8e9)]
                )
                await memory.ready(_SCOPE)
                vector = await store.read(partial(_vector, identity=identity))
                receipt = await memory.forget(Selection(USER, ids=(identity,)))
                left = _bytes_left(home, (b"anzibarquay", vector[:64]))
        except VantaError as error:
            return [Figure(name=title, value=None, unit="s", goal=FORGET_S, note=str(error))]
    return [
        Figure(name=title, value=receipt.took_s, unit="s", goal=FORGET_S, note=receipt.why),
        Figure(
            name="files in which a byte of its text or vector is left",
            value=float(left),
            unit="files",
            goal=0.0,
        ),
    ]


def _vector(connection: Any, identity: int) -> bytes:
    row = connection.exec_driver_sql(
        "SELECT vector FROM memory_vectors WHERE memory_id = ?", (identity,)
    )
    return bytes(row.scalar())


def _bytes_left(folder: Path, needles: tuple[bytes, ...]) -> int:
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return sum(any(needle in data for needle in needles) for data in files)


async def _blocked(settings: Settings, texts: int) -> list[Figure]:
    """Measure the longest pause of the event loop while texts are embedded and indexed."""
    title = f"event loop, longest pause while {texts} records are indexed"
    settings.progress(title, 0, 1)
    gaps: list[float] = []
    gaps_of_idle: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            async with memory_in(Path(folder), "minilm") as (_store, memory):
                await memory.add(Corpus().items(8))
                await memory.ready(_SCOPE)
                idle = await _gaps_while(gaps_of_idle, partial(anyio.sleep, 2.0))
                await memory.add(Corpus(1).items(texts))
                took = await _gaps_while(gaps, partial(memory.ready, _SCOPE))
        except VantaError as error:
            return [Figure(name=title, value=None, unit="ms", goal=BLOCKED_MS, note=str(error))]
    return [
        Figure(
            name=title,
            value=1000 * max(gaps),
            unit="ms",
            goal=BLOCKED_MS,
            peer="the same loop, nothing to do",
            peer_value=1000 * max(gaps_of_idle),
            note=f"p99 {1000 * (percentile(gaps, 0.99) or 0):.1f} ms over {took:.1f} s "
            f"({idle:.1f} s idle); both include pauses of the machine",
        )
    ]


async def _gaps_while(gaps: list[float], work: Callable[[], Awaitable[Any]]) -> float:
    """Record the delay of each iteration of the loop while `work` runs; return its seconds."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_tick, gaps)
        await anyio.sleep(0.05)
        began = time.perf_counter()
        await work()
        took = time.perf_counter() - began
        tasks.cancel_scope.cancel()
    return took


async def _tick(gaps: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await anyio.sleep(0.001)
        gaps.append(time.perf_counter() - began - 0.001)


_COLD = """
import sys, anyio, vanta
from vanta.testing import ScriptedEngine, scripted_plugin
engine = ScriptedEngine("ok")
config = {
    "policy": "local", "data_dir": sys.argv[1], "memory": {"recall_timeout_s": 5.0},
    "tracks": {"local": {"engine": "scripted", "model": "m", "private": True, "window": 4096},
               "api": {"enabled": False}},
}
async def main():
    async with vanta.open(config, plugins=[scripted_plugin(local=engine)]) as runtime:
        reply = await runtime.session("new", user="ada").ask(sys.argv[2])
    assert reply.trace.context["local"].memories, reply.trace
anyio.run(main)
"""


def _cold(settings: Settings) -> Figure:
    """Measure a new process: start, imports, the store, a turn with its memories, and exit."""
    title = "first packed context from a cold process, 10,000 records"
    settings.progress(title, 0, 1)
    corpus = Corpus()
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(_fill_folder, Path(folder), corpus)
        command = [sys.executable, "-c", _COLD, folder, corpus.text(8)]
        durations_s = []
        for _ in range(settings.times(5, 3)):
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            durations_s.append(time.perf_counter() - began)
    note = "the whole process with its exit; words alone, the embedder loads in the background"
    return Figure(name=title, value=median(durations_s), unit="s", goal=COLD_S, note=note)


async def _fill_folder(folder: Path, corpus: Corpus) -> None:
    async with memory_in(folder, None) as (store, _memory):
        await fill(store, 10_000, None, corpus)
