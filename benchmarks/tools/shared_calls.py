"""Races of two tracks that want the same call: it runs once.

The local track is a scripted engine, the api track a real HTTP server on loopback. Both ask for the
same read call, with its arguments spelled differently, at random moments a few milliseconds apart;
the tool takes a random time, so that the second leg finds the call not begun, running or done.
Invariant: runs are counted by the program itself, not by vanta's journal.
"""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio

import vanta
from vanta import GenerationRequest, Reply
from vanta.testing import (
    Behaviour,
    CallTool,
    Pause,
    ScriptedEngine,
    Upstream,
    scripted_plugin,
)

from ..report import Figure, Settings

RACES, RACES_QUICK = 1000, 20
APART_S = 0.008
NAME = "equal calls of two legs that ran once"


def figures(settings: Settings) -> list[Figure]:
    """Return the share of races whose call ran exactly once."""
    return anyio.run(_measured, settings)


async def _measured(settings: Settings) -> list[Figure]:
    count = settings.times(RACES, RACES_QUICK)
    dice = random.Random(1)  # noqa: S311 - moments, not secrets
    runs: Counter[str] = Counter()
    replies: list[Reply] = []

    @vanta.tool(effect="read")
    async def look_up(city: str, day: int) -> str:
        """Look a city up."""
        runs[f"{city} {day}"] += 1
        await anyio.sleep(dice.uniform(0, APART_S / 2))
        return f"It rains in {city}."

    def local(request: GenerationRequest) -> list[Any]:
        day = request.messages[-1].content.split()[-1]
        return [
            Pause(dice.uniform(0, APART_S / 2)),
            CallTool("look_up", f'{{"day": {day}, "city": "Rome"}}'),
        ]

    with tempfile.TemporaryDirectory() as folder:
        async with (
            Upstream() as upstream,
            vanta.open(
                _config(Path(folder), upstream.base_url),
                plugins=[scripted_plugin(local=ScriptedEngine(reply=local))],
                own_tools=[look_up],
            ) as runtime,
        ):
            for day in range(count):
                call = Behaviour.calls("look_up", f'{{"city":"Rome","day":{day}}}')
                upstream.always(call.but(ttft_s=dice.uniform(0, APART_S)))
                upstream.then(Behaviour.answer("It rains."))
                session = runtime.session(f"s{day}")
                replies.append(await session.ask(f"Rome, day {day}", policy="prefer"))
                settings.progress("tools: equal calls", day, count)
    return [_figure(count, runs, replies)]


def _config(folder: Path, base_url: str) -> dict[str, Any]:
    server = {"base_url": base_url, "api_key_env": "VANTA_BENCH_NO_KEY"}
    return {
        "data_dir": str(folder),
        "memory": {"enabled": False},
        "tracks": {
            "local": {"engine": "scripted", "model": "scripted-1"},
            "api": {"engine": "openai", "model": "test-model", "options": server},
        },
    }


def _figure(count: int, runs: Counter[str], replies: Sequence[Reply]) -> Figure:
    once = sum(runs[f"Rome {day}"] == 1 for day in range(count))
    shared = sum(call.shared for reply in replies for call in reply.trace.calls)
    calls = sum(len(reply.trace.calls) for reply in replies)
    note = f"{count} races, {calls} calls in their traces; in {shared} both legs had asked"
    return Figure(
        name=NAME, value=100 * once / count, unit="%", better="higher", goal=100.0, note=note
    )
