"""The cost of vanta: a turn over its bare engine, `import vanta`, and `vanta --help`.

A turn is `Session.ask` under the policy `local` on a ScriptedEngine with an immediate answer, with
the default SQLite store on disk, in sessions of ten turns. The time to iterate over the same answer
of the same engine is subtracted. With memory on, each turn recalls from all earlier ones.
Invariant: turns and the bare engine alternate, so that load on the machine affects both.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

import vanta
from vanta import GenerationRequest, Opening, Runtime
from vanta.testing import ScriptedEngine, scripted_plugin

from . import peer as peers
from .report import Figure, Settings, median, percentile

SUMMARY = "the cost of a turn over the bare engine, and of a start"

TURN_GOAL_MS = 0.7
RECALL_GOAL_MS = 2.0
IMPORT_GOAL_MS = 150.0
HELP_GOAL_MS = 400.0
ANSWER = "Hello there, how can I help you today?"
_TURNS_PER_SESSION = 10
_WARM_UP = 20
_MAX_PROCESSES = 20
_MAX_PEER_CALLS = 500
PROGRAMS = {
    "python": "pass",
    "import": "import vanta",
    "help": "import sys; from vanta.cli import main; sys.argv = ['vanta', '--help']; main()",
}


@dataclass(slots=True)
class Samples:
    """Durations in seconds, one of each kind per round."""

    bare: list[float] = field(default_factory=list)
    turn: list[float] = field(default_factory=list)
    in_memory: list[float] = field(default_factory=list)
    recalling: list[float] = field(default_factory=list)


def run(settings: Settings) -> list[Figure]:
    """Measure turns, then fresh processes."""
    samples = anyio.run(_turns, settings.times(2000, 500), settings)
    return [*_turn_figures(samples, settings), *_start_figures(settings)]


async def _turns(rounds: int, settings: Settings) -> Samples:
    with tempfile.TemporaryDirectory() as folder:
        engine = ScriptedEngine(ANSWER)
        async with (
            _open(Path(folder), ScriptedEngine(ANSWER)) as in_memory,
            _open(Path(folder), engine, on_disk=True) as on_disk,
            _open(
                Path(folder, "more"), ScriptedEngine(ANSWER), on_disk=True, memory=True
            ) as recalling,
        ):
            return await _alternate(rounds, (on_disk, in_memory, recalling), engine, settings)


def _open(
    folder: Path, engine: ScriptedEngine, *, on_disk: bool = False, memory: bool = False
) -> Opening:
    """Open a runtime; `memory` recalls by words alone. The peer has no memory."""
    track: dict[str, Any] = {"engine": "scripted", "model": engine.model}
    config: dict[str, Any] = {
        "data_dir": str(folder),
        "tracks": {"local": track, "api": {"enabled": False}},
        "memory": {"enabled": memory, "embedder": "none"},
    }
    if not on_disk:
        config["store_url"] = "sqlite://"
    return vanta.open({}, plugins=[scripted_plugin(local=engine)], policy="local", **config)


async def _alternate(
    rounds: int, runtimes: Sequence[Runtime], engine: ScriptedEngine, settings: Settings
) -> Samples:
    samples = Samples()
    bare = ScriptedEngine(ANSWER)
    session, other, third = (runtime.session("warm-up") for runtime in runtimes)
    for number in range(-_WARM_UP, rounds):
        if number == 0:
            samples = Samples()
        if number >= 0 and number % _TURNS_PER_SESSION == 0:
            name = f"session {number // _TURNS_PER_SESSION}"
            session, other, third = (runtime.session(name) for runtime in runtimes)
        samples.turn.append(await _timed(session.ask("Hello?")))
        samples.bare.append(await _timed(_iterate(bare, engine.requests[-1])))
        samples.in_memory.append(await _timed(other.ask("Hello?")))
        samples.recalling.append(await _timed(third.ask("Hello?")))
        settings.progress("turns", max(0, number + 1), rounds)
    return samples


async def _timed(work: Awaitable[object]) -> float:
    begun = time.perf_counter()
    await work
    return time.perf_counter() - begun


async def _iterate(engine: ScriptedEngine, request: GenerationRequest) -> None:
    async with engine.stream(request) as stream:
        async for _delta in stream:
            pass


def _turn_figures(samples: Samples, settings: Settings) -> Iterator[Figure]:
    peer = _peer(len(samples.bare), settings)
    over = _over(samples.turn, samples.bare)
    yield Figure(
        name="turn over the bare engine, median",
        value=median(over),
        unit="ms",
        goal=TURN_GOAL_MS,
        peer=peer.name,
        peer_value=median(peer.milliseconds),
        note=f"policy local, SQLite on disk, memory off, {len(over)} turns. {peer.note}".strip(),
    )
    yield Figure(
        name="turn over the bare engine, p99",
        value=percentile(over, 0.99),
        unit="ms",
        peer=peer.name,
        peer_value=percentile(peer.milliseconds, 0.99),
        note="for reference: one turn in a hundred is slower",
    )
    yield from _recall_figures(samples, peer)
    yield Figure(
        name="the same with a store in memory, median",
        value=median(_over(samples.in_memory, samples.bare)),
        unit="ms",
        note="for reference: the difference to the first figure is the share of the disk",
    )
    yield Figure(
        name="the bare engine, median",
        value=median([1000 * duration_s for duration_s in samples.bare]),
        unit="ms",
        note="for reference: the subtracted time",
    )


def _recall_figures(samples: Samples, peer: _Peer) -> Iterator[Figure]:
    recalling = _over(samples.recalling, samples.bare)
    yield Figure(
        name="turn over the bare engine, memory on, median",
        value=median(recalling),
        unit="ms",
        goal=TURN_GOAL_MS + RECALL_GOAL_MS,
        peer=peer.name,
        peer_value=median(peer.milliseconds),
        note="recall by words alone, from all earlier turns of this run; the peer has no memory",
    )
    yield Figure(
        name="turn over the bare engine, memory on, p99",
        value=percentile(recalling, 0.99),
        unit="ms",
        peer=peer.name,
        peer_value=percentile(peer.milliseconds, 0.99),
        note="for reference: one turn in a hundred is slower",
    )
    yield Figure(
        name="what memory adds to a turn, median",
        value=median(_over(samples.recalling, samples.turn)),
        unit="ms",
        goal=RECALL_GOAL_MS,
        note="the difference to a turn without memory in the same round",
    )


@dataclass(frozen=True, slots=True)
class _Peer:
    """The durations of litellm, or the reason why there are none."""

    name: str | None = None
    milliseconds: list[float] = field(default_factory=list)
    note: str = ""


def _peer(rounds: int, settings: Settings) -> _Peer:
    settings.progress("litellm", 0, 1)
    rounds = min(rounds, _MAX_PEER_CALLS)
    try:
        measured = peers.measure("litellm_overhead", str(rounds), settings=settings)
    except peers.NoPeer as why:
        return _Peer(note=str(why))
    name = f"litellm {measured['version']}, Router.acompletion with a mocked answer"
    return _Peer(name, [1000 * duration_s for duration_s in measured["seconds"]])


def _over(turns: list[float], bare: list[float]) -> list[float]:
    """Return the milliseconds of each turn, minus those of the bare engine in the same round."""
    return [1000 * (turn - engine) for turn, engine in zip(turns, bare, strict=True)]


def _start_figures(settings: Settings) -> list[Figure]:
    rounds = min(_MAX_PROCESSES, settings.times(_MAX_PROCESSES, 7))
    seconds: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    failures: dict[str, str] = {}
    for number in range(rounds):
        for name, program in PROGRAMS.items():
            try:
                seconds[name].append(_process(program))
            except subprocess.CalledProcessError as error:
                failures[name] = _last_line(error.stderr)
        settings.progress("fresh processes", number + 1, rounds)
    return [
        _start_figure("import vanta", seconds["import"], IMPORT_GOAL_MS, failures.get("import")),
        _start_figure("vanta --help", seconds["help"], HELP_GOAL_MS, failures.get("help")),
        _start_figure("python -c pass", seconds["python"], None, failures.get("python")),
    ]


def _start_figure(
    name: str, seconds: list[float], goal: float | None, failure: str | None
) -> Figure:
    value = None if failure else median([1000 * duration_s for duration_s in seconds])
    note = f"a new process each, wall clock, {len(seconds)} times; includes the start of Python"
    if goal is None:
        note = "for reference: the start of any Python program"
    return Figure(
        name=f"{name}, median",
        value=value,
        unit="ms",
        goal=goal,
        note=f"it failed: {failure}" if failure else note,
    )


def _process(program: str) -> float:
    begun = time.perf_counter()
    command = [sys.executable, "-c", program]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return time.perf_counter() - begun


def _last_line(text: str | None) -> str:
    return ((text or "").strip().splitlines() or ["no output"])[-1]
