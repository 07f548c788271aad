"""The cost of a round: a call and its result, journaled and stored, over the bare engine and tool.

A turn of one round answers at once; a turn of two rounds calls one tool first. Both run under the
policy `local` on a ScriptedEngine with the default SQLite store on disk, in sessions of ten turns.
A round's cost is the difference of the two, less the second answer of the bare engine and the bare
function. Invariant: all are taken one after another in every repetition, so that load on the
machine affects all of them; the tool has an effect (`write`), whose start is durable before it
runs.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import anyio

import vanta
from vanta import GenerationRequest, Opening
from vanta.testing import CallTool, ScriptedEngine, scripted_plugin

from ..report import Figure, Settings, median, percentile

TURNS, TURNS_QUICK = 1000, 60
GOAL_MS = 2.0
ANSWER = "It is sunny in Oslo, with a light wind from the north."
CALL = CallTool("look_up", '{"city": "Oslo"}')
Effect = Literal["read", "write"]
_PER_SESSION = 10
_WARM_UP = 20


async def look_up(city: str) -> str:
    """Return the weather of a city."""
    return f"sunny in {city}"


@dataclass(slots=True)
class Samples:
    """Durations in seconds, one of each kind per repetition."""

    one_round: list[float] = field(default_factory=list)
    two_rounds: dict[str, list[float]] = field(default_factory=dict)
    bare: list[float] = field(default_factory=list)

    def cost_ms(self, effect: str) -> list[float]:
        """Return what each second round cost, in milliseconds."""
        rows = zip(self.two_rounds[effect], self.one_round, self.bare, strict=True)
        return [1000 * (two - one - bare) for two, one, bare in rows]


def figures(settings: Settings) -> Iterator[Figure]:
    """Return the cost of a round whose call writes, and of one whose call reads."""
    samples = anyio.run(_samples, settings.times(TURNS, TURNS_QUICK), settings)
    writes, reads = samples.cost_ms("write"), samples.cost_ms("read")
    yield Figure(
        name="a round over the bare engine and tool, stored and journaled, median",
        value=median(writes),
        unit="ms",
        goal=GOAL_MS,
        note=f"{len(writes)} turns, SQLite on disk, a call that writes",
    )
    yield Figure(
        name="the same, p99",
        value=percentile(writes, 0.99),
        unit="ms",
        note="for reference: one round in a hundred is slower",
    )
    yield Figure(
        name="the same with a call that reads, median",
        value=median(reads),
        unit="ms",
        goal=GOAL_MS,
        note="it starts before the commit, and its start need not be durable",
    )
    yield Figure(
        name="a turn of one round with tools offered, median",
        value=median([1000 * duration_s for duration_s in samples.one_round]),
        unit="ms",
        note=f"for reference; the bare engine and tool: "
        f"{1000 * statistics.median(samples.bare):.3f} ms",
    )


async def _samples(turns: int, settings: Settings) -> Samples:
    engines = {"plain": ScriptedEngine(ANSWER)}
    engines |= {effect: ScriptedEngine(reply=_script) for effect in ("write", "read")}
    bare = ScriptedEngine(ANSWER)
    samples = Samples()
    with tempfile.TemporaryDirectory() as folder:
        async with (
            _open(Path(folder, "plain"), engines["plain"], "write") as plain,
            _open(Path(folder, "write"), engines["write"], "write") as writing,
            _open(Path(folder, "read"), engines["read"], "read") as reading,
        ):
            for number in range(-_WARM_UP, turns):
                if not number:
                    samples = Samples()
                name = f"session {number // _PER_SESSION}"
                samples.one_round.append(await _timed(plain.session(name).ask("Weather?")))
                for effect, runtime in (("write", writing), ("read", reading)):
                    took_s = await _timed(runtime.session(name).ask("Weather?"))
                    samples.two_rounds.setdefault(effect, []).append(took_s)
                request = engines["write"].requests[-1]
                samples.bare.append(await _timed(_engine_and_tool(bare, request)))
                settings.progress("tools: rounds", max(0, number), turns)
    return samples


def _script(request: GenerationRequest) -> list[CallTool | str]:
    """Return a call in the first round, and the answer once its result is there."""
    return [ANSWER if request.messages[-1].role == "tool" else CALL]


def _open(folder: Path, engine: ScriptedEngine, effect: Effect) -> Opening:
    track = {"engine": "scripted", "model": engine.model}
    config = {
        "data_dir": str(folder),
        "tracks": {"local": track, "api": {"enabled": False}},
        "memory": {"enabled": False},
    }
    return vanta.open(
        config,
        plugins=[scripted_plugin(local=engine)],
        own_tools=[vanta.tool(effect=effect)(look_up)],
        policy="local",
    )


async def _timed(work: Awaitable[object]) -> float:
    begun = time.perf_counter()
    await work
    return time.perf_counter() - begun


async def _engine_and_tool(engine: ScriptedEngine, request: GenerationRequest) -> None:
    async with engine.stream(request) as stream:
        async for _delta in stream:
            pass
    await look_up("Oslo")
