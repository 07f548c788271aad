"""Streams without an end, without sense, or both: what a turn costs whatever its server sends.

`ROWS` are named streams, one for each thing that may come without an end; beside them, hypothesis
makes up sequences of up to 10,000 frames. The server is `frame_server`, in a process of its own.
The oracle: a turn ends at most 0.2 s after its deadline, adds at most 200 MB, never holds the event
loop for 50 ms, and has exactly one final event. Invariant: each figure is the worst of all turns.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from anyio.from_thread import start_blocking_portal

import vanta
from vanta import AnswerBound, Delta, Fold, Pace, TurnFailed, TurnFinished, VantaError
from vanta.testing import LoadMeter

from ..report import Figure, Settings
from .frame_server import ENDLESS, FRAMES

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

LATE_S, MOST_BYTES, STALL_S = 0.2, 200_000_000, 0.05
MOST_FRAMES = 10_000
_SIZES = (0, 1, 5, 50, 500, 1000, 10_000, 200_000)
_COUNTS = (1, 1, 1, 2, 10, 100, 1000, 5000, ENDLESS)


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What the server sends.

    :param frames: kind, size and number of each frame.
    :param status: HTTP status.
    :param coding: content coding, "" for none.
    :param rest: other fields of the plan, see `frame_server`.
    """

    frames: tuple[tuple[str, int, int], ...]
    status: int = 200
    coding: str = ""
    rest: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the plan as the server reads it."""
        frames = [list(frame) for frame in self.frames]
        plan = {"frames": frames, "status": self.status, "coding": self.coding, **self.rest}
        return json.dumps(plan)


def _endless(kind: str, size: int, **rest: Any) -> StreamPlan:
    return StreamPlan((("text", 5, 1), (kind, size, ENDLESS)), **rest)


ROWS: dict[str, StreamPlan] = {
    "text in deltas of 1 kB": _endless("text", 1000),
    "text in deltas of 200 kB": _endless("text", 200_000),
    "text in deltas of one character": _endless("text", 1),
    "wide text": _endless("wide", 100),
    "words": _endless("words", 5000),
    "reasoning": _endless("reasoning", 1000),
    "arguments of a tool call": _endless("argument", 1000),
    "tool calls": StreamPlan((("calls_without_end", 10, ENDLESS),)),
    "100,000 tool calls in ten events": StreamPlan((("calls", 10_000, 10),)),
    "logprobs": _endless("logprobs", 500),
    "deltas without content": _endless("empty", 0),
    "events without anything": _endless("bare", 0),
    "events without data": _endless("no_data", 0),
    "comments": _endless("comment", 10),
    "comments without blank lines": _endless("comment_line", 10),
    "lines of data without blank lines": _endless("data_lines", 10),
    "a line without an end": _endless("no_newline", 60_000),
    "line breaks": _endless("newlines", 60_000),
    "carriage returns": _endless("carriage_returns", 60_000),
    "deep nesting": _endless("nested", 100_000),
    "a million small objects": _endless("objects", 300_000),
    "a number without an end": _endless("digits", 500_000),
    "usage": _endless("usage", 7),
    "text after the end": StreamPlan((("text", 5, 1), ("done", 0, 1), ("text", 1000, ENDLESS))),
    "comments after a finish reason": StreamPlan(
        (("text", 5, 1), ("finish", 0, 1), ("comment", 5, ENDLESS))
    ),
    "white space before anything": StreamPlan((("newlines", 60_000, ENDLESS),)),
    "a whole completion": StreamPlan((("json", 0, 1), ("no_newline", 60_000, ENDLESS))),
    "a page": StreamPlan((("page", 60_000, ENDLESS),)),
    "the body of an error": StreamPlan((("no_newline", 60_000, ENDLESS),), status=500),
    "the compressed body of an error": StreamPlan(
        (("newlines", 60_000, ENDLESS),), status=400, coding="gzip"
    ),
    "a compressed stream": _endless("text", 60_000, coding="gzip"),
    "a deflated stream of line breaks": _endless("newlines", 60_000, coding="deflate"),
    "a stream compressed twice": _endless("newlines", 60_000, coding="gzip, gzip"),
    "an error that is slow to search": StreamPlan((("text", 5, 1), ("slow_error", 200_000, 1))),
    "a refusal that is slow to search": StreamPlan((("slow_refusal", 20_000, 1),), status=400),
    "headers": StreamPlan((("done", 0, 1),), rest={"headers": 5000}),
    "interim answers": StreamPlan((("done", 0, 1),), rest={"interim": 50_000}),
}
"""One stream for each thing that may come without an end."""


@dataclass(frozen=True, slots=True)
class TurnCost:
    """What one turn cost.

    :param late_s: seconds that it lasted beyond its deadline.
    :param grown_bytes: memory that it added at its peak.
    :param busy_s: the longest processor time for which it held the event loop.
    :param finals: the number of its final events.
    """

    late_s: float
    grown_bytes: int
    busy_s: float
    finals: int


Measure = Callable[[StreamPlan], TurnCost]
"""Takes a turn whose server sends a plan."""


@contextlib.contextmanager
def frame_server(always: StreamPlan | None = None) -> Iterator[str]:
    """Run the server; yield its base URL. always: what it sends whatever is requested."""
    command = [sys.executable, "-m", "benchmarks.faults.frame_server"]
    command += [always.to_json()] if always else []
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    ) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.kill()


@asynccontextmanager
async def open_runtime(base_url: str, **rest: Any) -> AsyncIterator[vanta.Runtime]:
    """Open a runtime whose tracks are at `base_url`; the policy `api` uses one of them."""
    track = {"engine": "openai", "model": "m", "options": {"base_url": base_url}}
    with tempfile.TemporaryDirectory() as folder:
        config = {
            "data_dir": folder,
            "tracks": {"api": track, "local": {**track, "private": True}},
            "policy": "api",
            "memory": {"enabled": False},
            "retries": 0,
            **rest,
        }
        async with vanta.open(config) as runtime:
            yield runtime


async def cost_of(runtime: vanta.Runtime, message: str, deadline_s: float) -> TurnCost:
    """Take a turn and return what it cost."""
    finals = 0
    began = time.monotonic()
    async with LoadMeter() as load:
        with contextlib.suppress(VantaError):
            async with runtime.session(f"s{began}").stream(message, deadline_s=deadline_s) as turn:
                async for event in turn:
                    finals += isinstance(event, TurnFinished | TurnFailed)
        took_s = time.monotonic() - began
        await anyio.sleep(0.01)
    return TurnCost(took_s - deadline_s, load.grown_bytes, load.longest_busy_s, finals)


@contextlib.contextmanager
def measuring(deadline_s: float, backend: str = "asyncio", **rest: Any) -> Iterator[Measure]:
    """Open a server and a runtime; yield what takes a turn for a plan and returns its cost.

    rest: configuration of the runtime.
    """
    with (
        frame_server() as base_url,
        start_blocking_portal(backend) as portal,
        portal.wrap_async_context_manager(open_runtime(base_url, **rest)) as runtime,
    ):
        first = StreamPlan((("text", 5, 1), ("done", 0, 1)))  # which loads and imports
        portal.call(cost_of, runtime, first.to_json(), 30.0)
        gc.collect()
        gc.freeze()  # a full collection of what the process had before is not a turn's cost
        try:
            yield lambda plan: portal.call(cost_of, runtime, plan.to_json(), deadline_s)
        finally:
            gc.unfreeze()


def plans() -> SearchStrategy[StreamPlan]:
    """Return a strategy of plans with up to 10,000 frames, or with an endless one."""
    from hypothesis import strategies as st

    kind = st.sampled_from(sorted(FRAMES))
    frame = st.tuples(kind, st.sampled_from(_SIZES), st.sampled_from(_COUNTS))
    other = st.sampled_from([("stall", 50, 1), ("stall", 2000, 1), ("cut", 0, 1), ("text", 5, 3)])
    begun = st.tuples(st.sampled_from(["text", "reasoning", "call", "comment"]), st.just(5))
    frames = st.tuples(
        begun.map(lambda item: (*item, 1)), st.lists(st.one_of(frame, frame, other), max_size=6)
    ).map(lambda parts: _limited((parts[0], *parts[1])))
    return st.builds(
        StreamPlan,
        frames,
        st.sampled_from([200] * 12 + [400, 500]),
        st.sampled_from([""] * 6 + ["gzip", "deflate"]),
    )


def _limited(frames: tuple[tuple[str, int, int], ...]) -> tuple[tuple[str, int, int], ...]:
    """Return frames whose finite counts are at most `MOST_FRAMES` together."""
    limited, left = [], MOST_FRAMES
    for kind, size, count in frames:
        limited.append((kind, size, min(count, left)))
        left -= max(0, limited[-1][2])
    return tuple(limited)


def figures(settings: Settings) -> Iterator[Figure]:
    """Measure the named streams, those made up, and the cost of a delta."""
    with measuring(0.4 if settings.quick else 1.0) as measure:
        costs = {}
        for number, (name, plan) in enumerate(ROWS.items()):
            costs[name] = measure(plan)
            settings.progress("named streams", number + 1, len(ROWS))
        yield from _figures("named streams", costs)
        if importlib.util.find_spec("hypothesis"):
            yield from _figures("made-up streams", _made_up(settings, measure))
        else:
            yield _not_taken()
    yield _delta_figure(settings)


def _made_up(settings: Settings, measure: Measure) -> dict[str, TurnCost]:
    """Return the costs of plans that hypothesis makes up, always the same ones."""
    from hypothesis import HealthCheck, Phase, given
    from hypothesis import settings as rules

    costs: dict[str, TurnCost] = {}
    count = settings.times(400, 25)

    @rules(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(plans())
    def take(plan: StreamPlan) -> None:
        costs[plan.to_json()] = measure(plan)
        settings.progress("made-up streams", len(costs), count)

    take()
    return costs


def _figures(what: str, costs: dict[str, TurnCost]) -> Iterator[Figure]:
    def worst(name: str) -> tuple[float, str]:
        plan = max(costs, key=lambda item: getattr(costs[item], name))
        return getattr(costs[plan], name), f"{len(costs)} streams; the worst: {plan}"

    late_s, note = worst("late_s")
    yield Figure(
        name=f"{what}: longest time beyond the deadline",
        value=1000 * max(0.0, late_s),
        unit="ms",
        goal=1000 * LATE_S,
        note=note,
    )
    grown, note = worst("grown_bytes")
    yield Figure(
        name=f"{what}: most memory that a turn adds",
        value=grown / 1e6,
        unit="MB",
        goal=MOST_BYTES / 1e6,
        note=note,
    )
    busy_s, note = worst("busy_s")
    yield Figure(
        name=f"{what}: longest stall of the event loop",
        value=1000 * busy_s,
        unit="ms",
        goal=1000 * STALL_S,
        note=f"processor time. {note}",
    )
    wrong = [plan for plan, cost in costs.items() if cost.finals != 1]
    yield Figure(
        name=f"{what}: turns without exactly one final event",
        value=len(wrong),
        unit="turns",
        goal=0,
        note=f"{len(costs)} streams" + (f"; one of them: {wrong[0]}" if wrong else ""),
    )


def _not_taken() -> Figure:
    note = "hypothesis is not installed: pip install hypothesis"
    return Figure(name="made-up streams", value=None, unit="turns", goal=0, note=note)


def _delta_figure(settings: Settings) -> Figure:
    """Return what the bound adds to a delta, against folding it alone, in the same run."""
    count, repetitions = 2000, settings.times(400, 100)
    deltas = [Delta(text=f"word{number % 7} ") for number in range(count)]
    # The least of many short runs, in turns: other work on the machine interrupts most of them.
    times = [(_fold_alone(deltas), _fold_bounded(deltas)) for _ in range(repetitions)]
    alone_s, bounded_s = map(min, zip(*times, strict=True))
    return Figure(
        name="time that the bound adds to a delta",
        value=1e6 * (bounded_s - alone_s) / count,
        unit="us",
        goal=1.0,
        note=f"folding a delta alone takes {1e6 * alone_s / count:.2f} us",
    )


def _fold_alone(deltas: list[Delta]) -> float:
    fold, began = Fold(), time.perf_counter()
    for delta in deltas:
        fold.add(delta)
    return time.perf_counter() - began


def _fold_bounded(deltas: list[Delta]) -> float:
    fold, bound, pace, began = Fold(), AnswerBound(1_000_000), Pace(), time.perf_counter()
    for number, delta in enumerate(deltas):
        fold.add(bound.cut(delta))
        if bound.is_reached or (number % 16 == 0 and pace.is_due):
            pace = Pace()
    return time.perf_counter() - began
