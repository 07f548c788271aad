"""How much many conversations get at once: the engine against llama.cpp's own ways to serve them.

Peers: the class `Llama` of llama-cpp-python, one after another, always; `llama-batched-bench`,
which only decodes, and `llama-server` over HTTP where a folder has them (`--llama-bin`).
Invariant: in every round engine and peers take turns at one width, and a figure is the median of
the rounds' ratios, so that a busy moment spoils a round and no more.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.to_thread

from vanta.engine import Engine

from .local_ground import WINDOW, answer, engine_on, request
from .local_peer import BATCHED, SERVER, batched_rate, llama_class, llama_server, program
from .report import Figure, median
from .settings import Settings

WIDTHS = (1, 4, 8, 16)
LLAMA = "llama-cpp-python's class Llama, one request after another"
_GOALS = {LLAMA: 1.0, BATCHED: 0.95, SERVER: 1.0}
_NOTES = {
    LLAMA: "prompts included",
    BATCHED: "decoding alone",
    SERVER: "prompts included, over HTTP",
}

Peer = Callable[[int, int], float]
"""Tokens a second in all, for so many conversations of so many tokens."""


@dataclass(slots=True)
class Race:
    """Rates of engine and peer at one width, round by round."""

    pairs: list[tuple[float, float]] = field(default_factory=list)

    def figure(self, peer: str, width: int) -> Figure:
        """The median ratio; a goal of 1 is one of 0.95 where nothing is to be gained at once."""
        told = ", ".join(f"{ours:.0f}:{theirs:.0f}" for ours, theirs in self.pairs)
        return Figure(
            name=f"output at {width} conversations, of {_short(peer)}",
            value=median([ours / theirs for ours, theirs in self.pairs]),
            unit="x",
            better="higher",
            goal=0.95 if (peer, width) == (LLAMA, 1) else _GOALS[peer],
            peer=peer,
            peer_value=1.0,
            note=f"tokens/s in all, {_NOTES[peer]}, engine:peer {told}",
        )


async def throughput(path: Path, settings: Settings) -> list[Figure]:
    """The figures of all peers at all widths."""
    tokens, rounds = settings.times(64, 24), 1 if settings.quick else 3
    with contextlib.ExitStack() as stack:
        peers, missing = _peers(path, settings, stack)
        races = {(name, width): Race() for name in peers for width in WIDTHS}
        async with engine_on(path, parallel=max(WIDTHS)) as engine:
            await answer(engine, request("Hello", tokens=4))
            for _ in range(rounds):
                for (name, width), race in races.items():
                    whole, decoding = await rates(engine, width, tokens)
                    theirs = await anyio.to_thread.run_sync(peers[name], width, tokens)
                    race.pairs.append((decoding if name == BATCHED else whole, theirs))
    return [*(race.figure(*key) for key, race in races.items()), *missing]


def _peers(
    path: Path, settings: Settings, stack: contextlib.ExitStack
) -> tuple[dict[str, Peer], list[Figure]]:
    """Those that are here, started, and a figure without value for each that is not."""
    peers: dict[str, Peer] = {LLAMA: stack.enter_context(llama_class(path, WINDOW))}
    batched, server = (program(settings, name) for name in (BATCHED, SERVER))
    if batched:
        peers[BATCHED] = lambda width, tokens: batched_rate(batched, path, width, tokens)
    if server:
        most = max(WIDTHS)
        peers[SERVER] = stack.enter_context(llama_server(server, path, most, WINDOW * most))
    return peers, list(_missing({BATCHED: batched, SERVER: server}))


def _missing(programs: dict[str, Path | None]) -> Iterator[Figure]:
    for name, found in programs.items():
        if found is None:
            note = f"{name} was not given: see --llama-bin"
            yield Figure(name=f"output, of {name}", value=None, unit="x", note=note)


async def rates(engine: Engine, width: int, tokens: int) -> tuple[float, float]:
    """Tokens a second in all, prompts included, and while all were decoding."""
    made: list[int] = []
    times: list[list[float]] = [[] for _ in range(width)]

    async def one(number: int) -> None:
        asked = request(f"Tell me a story about the number {number}.", tokens=tokens)
        told = await answer(engine, asked, times[number])
        made.append(told.usage.output_tokens if told.usage else 0)

    begun = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for number in range(width):
            tasks.start_soon(one, number)
    whole = sum(made) / (time.perf_counter() - begun)
    begin, end = max(each[0] for each in times), min(each[-1] for each in times)
    inside = sum(begin < moment <= end for each in times for moment in each)
    return whole, inside / (end - begin) if end > begin else whole


def _short(peer: str) -> str:
    return "the class Llama's" if peer == LLAMA else f"{peer}'s"
