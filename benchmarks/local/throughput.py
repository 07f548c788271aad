"""Throughput of concurrent conversations: the engine against the alternatives of llama.cpp.

The peers are the class `Llama` of llama-cpp-python, one request after another, and, if
`--llama-bin` has them, `llama-batched-bench`, which only decodes, and `llama-server` over HTTP. By
default the engine runs without flash attention (see its option `flash_attention`) and the programs
with it, so both are measured in both modes where possible.

Invariant: in each round engine and peers take turns at one width, and a figure is the median of the
ratios of all rounds, so that load on the machine affects one round only. No message is sent twice.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.to_thread

from vanta import Engine

from ..report import Figure, Settings, median
from .engine import WINDOW, answer, engine_on, request, stories
from .peers import BATCHED, SERVER, batched_rate, llama_server, program, python_peer

WIDTHS = (1, 4, 8, 16)
_FIRST = 1000
LLAMA = "llama-cpp-python's class Llama, one request after another"
_FLASH = "with flash attention"
_NOTES = {
    LLAMA: "prompts included, streamed",
    BATCHED: "decoding alone",
    SERVER: "prompts included, streamed over HTTP",
}

Peer = Callable[[Sequence[str], int], float]
"""Texts, tokens per answer -> total tokens per second of the concurrent answers."""


@dataclass(slots=True)
class WidthComparison:
    """Engine and peer at one number of concurrent conversations.

    `flash` enables flash attention in the engine, `rate` measures the peer, and `pairs` are the
    rates of both in each round.
    """

    name: str
    peer: str
    width: int
    flash: bool
    rate: Peer
    goal: float
    pairs: list[tuple[float, float]] = field(default_factory=list)

    async def run(self, engine: Engine, first: int, tokens: int) -> None:
        """Run one round, with messages numbered from `first`."""
        texts = stories(self.width, first)
        total, decoding = await rates(engine, texts, tokens)
        theirs = await anyio.to_thread.run_sync(self.rate, texts, tokens)
        self.pairs.append((decoding if self.peer == BATCHED else total, theirs))

    def figure(self) -> Figure:
        """Return the figure of the median ratio."""
        rates_note = ", ".join(f"{ours:.0f}:{theirs:.0f}" for ours, theirs in self.pairs)
        return Figure(
            name=f"output at {self.width} conversations, of {self.name}",
            value=median([ours / theirs for ours, theirs in self.pairs]),
            unit="x",
            better="higher",
            goal=self.goal,
            peer=self.peer,
            peer_value=1.0,
            note=f"tokens/s in all, {_NOTES[self.peer]}, engine:peer {rates_note}",
        )


async def concurrent_throughput(path: Path, settings: Settings) -> list[Figure]:
    """Return the figures of all peers at all widths."""
    tokens, rounds = 24 if settings.quick else 64, settings.times(3, 1)
    with contextlib.ExitStack() as stack:
        comparisons = list(_comparisons(path, settings, stack))
        async with (
            engine_on(path, parallel=max(WIDTHS), flash_attention=False) as plain,
            engine_on(path, parallel=max(WIDTHS), flash_attention=True) as flash,
        ):
            for engine in (plain, flash):
                await answer(engine, request("Hello", tokens=4))
            first = _FIRST
            for _ in range(rounds):
                for comparison in comparisons:
                    await comparison.run(flash if comparison.flash else plain, first, tokens)
                    first += comparison.width
    return [*(comparison.figure() for comparison in comparisons), *_missing(settings)]


def _comparisons(
    path: Path, settings: Settings, stack: contextlib.ExitStack
) -> Iterator[WidthComparison]:
    """Start the available peers and yield their comparisons.

    A width of 1 has a lower goal, because there is nothing to gain without concurrency.
    """
    llama = stack.enter_context(python_peer("class", path, WINDOW))
    for width in WIDTHS:
        goal = 0.95 if width == 1 else 1.0
        yield WidthComparison("the class Llama's", LLAMA, width, False, llama, goal)
    batched, server = (program(settings, name) for name in (BATCHED, SERVER))
    for flash in (False, True):
        if batched is None:
            break
        name = f"{BATCHED}'s, both {_FLASH if flash else 'without flash attention'}"
        rate = _batched(batched, path, flash=flash)
        yield from (WidthComparison(name, BATCHED, width, flash, rate, 0.95) for width in WIDTHS)
    if server:
        slots = max(WIDTHS)
        ask = stack.enter_context(llama_server(server, path, slots, WINDOW * slots))
        for flash in (False, True):
            name = f"{SERVER}'s{f', {_FLASH}' if flash else ''}"
            yield from (WidthComparison(name, SERVER, width, flash, ask, 1.0) for width in WIDTHS)


def _batched(program: Path, path: Path, *, flash: bool) -> Peer:
    """Return the rate of llama.cpp's own benchmark, which decodes sequences without texts."""
    return lambda texts, tokens: batched_rate(program, path, len(texts), tokens, flash=flash)


def _missing(settings: Settings) -> Iterator[Figure]:
    for name in (BATCHED, SERVER):
        if program(settings, name) is None:
            note = f"{name} was not found: see --llama-bin"
            yield Figure(name=f"output, of {name}", value=None, unit="x", note=note)


async def rates(engine: Engine, texts: Sequence[str], tokens: int) -> tuple[float, float]:
    """Return the total tokens per second with prompts, and while all were decoding."""
    token_counts: list[int] = []
    times: list[list[float]] = [[] for _ in texts]

    async def ask_one(text: str, moments: list[float]) -> None:
        reply = await answer(engine, request(text, tokens=tokens), moments)
        token_counts.append(reply.usage.output_tokens if reply.usage else 0)

    begun = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for text, moments in zip(texts, times, strict=True):
            tasks.start_soon(ask_one, text, moments)
    total = sum(token_counts) / (time.perf_counter() - begun)
    begin, end = max(row[0] for row in times), min(row[-1] for row in times)
    inside = sum(begin < moment <= end for row in times for moment in row)
    return total, inside / (end - begin) if end > begin else total
