"""How much many conversations get at once: the engine against llama.cpp's own ways to serve them.

Peers: the class `Llama` of llama-cpp-python, one after another, always; `llama-batched-bench`,
which only decodes, and `llama-server` over HTTP where a folder has them (`--llama-bin`). The engine
as it comes does without flash attention (see its option `flash_attention`), the programs compute
with it: so both are measured in both ways where they can be.
Invariant: in every round engine and peers take turns at one width, and a figure is the median of
the rounds' ratios, so that a busy moment spoils a round and no more. No question is asked twice.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.to_thread

from vanta.engine import Engine

from .local_ground import WINDOW, answer, engine_on, request, stories
from .local_peer import BATCHED, SERVER, batched_rate, llama_server, program, python_peer
from .report import Figure, median
from .settings import Settings

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
"""Tokens a second in all, for answers of so many tokens to such texts, asked for at once."""


@dataclass(slots=True)
class Race:
    """Engine and peer at one width. flash: the engine computes with flash attention. rate: the
    peer's. pairs: rates of both, round by round."""

    name: str
    peer: str
    width: int
    flash: bool
    rate: Peer
    goal: float
    pairs: list[tuple[float, float]] = field(default_factory=list)

    async def run(self, engine: Engine, first: int, tokens: int) -> None:
        """One round, with questions from number `first` on."""
        texts = stories(self.width, first)
        whole, decoding = await rates(engine, texts, tokens)
        theirs = await anyio.to_thread.run_sync(self.rate, texts, tokens)
        self.pairs.append((decoding if self.peer == BATCHED else whole, theirs))

    def figure(self) -> Figure:
        """The median ratio."""
        told = ", ".join(f"{ours:.0f}:{theirs:.0f}" for ours, theirs in self.pairs)
        return Figure(
            name=f"output at {self.width} conversations, of {self.name}",
            value=median([ours / theirs for ours, theirs in self.pairs]),
            unit="x",
            better="higher",
            goal=self.goal,
            peer=self.peer,
            peer_value=1.0,
            note=f"tokens/s in all, {_NOTES[self.peer]}, engine:peer {told}",
        )


async def throughput(path: Path, settings: Settings) -> list[Figure]:
    """The figures of all peers at all widths."""
    tokens, rounds = 24 if settings.quick else 64, settings.times(3, 1)
    with contextlib.ExitStack() as stack:
        races = list(_races(path, settings, stack))
        async with (
            engine_on(path, parallel=max(WIDTHS), flash_attention=False) as plain,
            engine_on(path, parallel=max(WIDTHS), flash_attention=True) as flash,
        ):
            for engine in (plain, flash):
                await answer(engine, request("Hello", tokens=4))
            first = _FIRST
            for _ in range(rounds):
                for race in races:
                    await race.run(flash if race.flash else plain, first, tokens)
                    first += race.width
    return [*(race.figure() for race in races), *_missing(settings)]


def _races(path: Path, settings: Settings, stack: contextlib.ExitStack) -> Iterator[Race]:
    """Those whose peers are here, started. Nothing is to be gained over one request at once."""
    llama = stack.enter_context(python_peer("class", path, WINDOW))
    for width in WIDTHS:
        goal = 0.95 if width == 1 else 1.0
        yield Race("the class Llama's", LLAMA, width, False, llama, goal)
    batched, server = (program(settings, name) for name in (BATCHED, SERVER))
    for flash in (False, True) if batched else ():
        name = f"{BATCHED}'s, both {_FLASH if flash else 'without flash attention'}"
        rate = _batched(batched, path, flash=flash)
        yield from (Race(name, BATCHED, width, flash, rate, 0.95) for width in WIDTHS)
    if server:
        most = max(WIDTHS)
        ask = stack.enter_context(llama_server(server, path, most, WINDOW * most))
        for flash in (False, True):
            name = f"{SERVER}'s{f', {_FLASH}' if flash else ''}"
            yield from (Race(name, SERVER, width, flash, ask, 1.0) for width in WIDTHS)


def _batched(program: Path, path: Path, *, flash: bool) -> Peer:
    """llama.cpp's own benchmark: it decodes without texts, so many sequences."""
    return lambda texts, tokens: batched_rate(program, path, len(texts), tokens, flash=flash)


def _missing(settings: Settings) -> Iterator[Figure]:
    for name in (BATCHED, SERVER):
        if program(settings, name) is None:
            note = f"{name} was not given: see --llama-bin"
            yield Figure(name=f"output, of {name}", value=None, unit="x", note=note)


async def rates(engine: Engine, texts: Sequence[str], tokens: int) -> tuple[float, float]:
    """Tokens a second in all, prompts included, and while all were decoding."""
    made: list[int] = []
    times: list[list[float]] = [[] for _ in texts]

    async def one(text: str, moments: list[float]) -> None:
        told = await answer(engine, request(text, tokens=tokens), moments)
        made.append(told.usage.output_tokens if told.usage else 0)

    begun = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for text, moments in zip(texts, times, strict=True):
            tasks.start_soon(one, text, moments)
    whole = sum(made) / (time.perf_counter() - begun)
    begin, end = max(each[0] for each in times), min(each[-1] for each in times)
    inside = sum(begin < moment <= end for each in times for moment in each)
    return whole, inside / (end - begin) if end > begin else whole
