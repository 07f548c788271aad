"""Conversations as they come: some far apart in the cache, one much longer than the others.

Peer: `llama-server` over HTTP, asked the same in the same order, where a folder has it
(`--llama-bin`); without it the engine itself in its best case.
Invariant: all prompts were read before; what is measured is answers, all asked for at once.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from vanta.engine import Engine

from .local_ground import WORDS, answer, engine_on, request, stories
from .local_peer import SERVER, llama_server, program
from .report import Figure, median
from .settings import Settings

Ask = Callable[[Sequence[str]], Awaitable[float]]
"""Tokens a second in all, for the answers to such texts, asked for at once."""

_LONG = f"Read this and go on with it. {WORDS * 330}"


@dataclass(frozen=True, slots=True)
class Case:
    """slots: conversations that are served at once, at the most, each in a window. before: what is
    asked first, one after another. texts: what is asked at once then. best: the same as easy as it
    can be, in one step or in several one after another."""

    name: str
    slots: int
    window: int
    before: tuple[str, ...]
    texts: tuple[str, ...]
    best: tuple[tuple[str, ...], ...]


def _cases() -> list[Case]:
    told = tuple(stories(16))
    return [
        Case(
            name="output at 8 conversations of 16, every other one",
            slots=16,
            window=512,
            before=told,
            texts=told[::2],
            best=(told[:8],),
        ),
        Case(
            name="output at one conversation of 4,000 tokens and 7 short ones",
            slots=8,
            window=4608,
            before=(_LONG, *told[:7]),
            texts=(_LONG, *told[:7]),
            best=((_LONG,), told[:7]),
        ),
    ]


async def mixed(path: Path, settings: Settings) -> list[Figure]:
    """The figures, of the model at `path`."""
    flash = (False, True) if program(settings, SERVER) else (False,)
    return [await _figure(case, path, settings, each) for case in _cases() for each in flash]


async def _figure(case: Case, path: Path, settings: Settings, flash: bool) -> Figure:
    tokens, rounds = 24 if settings.quick else 64, settings.times(3, 1)
    found, pairs = program(settings, SERVER), list[tuple[float, float]]()
    with contextlib.ExitStack() as stack:
        options = {"parallel": case.slots, "flash_attention": flash}
        async with engine_on(path, case.window, **options) as engine:
            ours, theirs = _asking(engine, tokens), None
            if found:
                whole = case.slots * case.window
                server = stack.enter_context(llama_server(found, path, case.slots, whole))
                theirs = _in_a_thread(server, tokens)
            for ask in filter(None, (ours, theirs)):
                for text in case.before:
                    await ask([text])
            for _ in range(rounds):
                best = theirs(case.texts) if theirs else _in_turn(ours, case.best)
                pairs.append((await ours(case.texts), await best))
    told = ", ".join(f"{one:.0f}:{other:.0f}" for one, other in pairs)
    return Figure(
        name=case.name + (", with flash attention" if flash else ""),
        value=median([one / other for one, other in pairs]),
        unit="x",
        better="higher",
        goal=1.0 if found else 0.9,
        peer=SERVER if found else "itself, the same conversations side by side or in turn",
        peer_value=1.0,
        note=f"tokens/s in all, prompts cached, engine:peer {told}",
    )


def _asking(engine: Engine, tokens: int) -> Ask:
    async def ask(texts: Sequence[str]) -> float:
        made = list[int]()

        async def one(text: str) -> None:
            told = await answer(engine, request(text, session=text[:40], tokens=tokens))
            made.append(told.usage.output_tokens if told.usage else 0)

        begun = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for text in texts:
                tasks.start_soon(one, text)
        return sum(made) / (time.perf_counter() - begun)

    return ask


def _in_a_thread(server: Callable[[Sequence[str], int], float], tokens: int) -> Ask:
    async def ask(texts: Sequence[str]) -> float:
        return await anyio.to_thread.run_sync(server, texts, tokens)

    return ask


async def _in_turn(ask: Ask, groups: Sequence[Sequence[str]]) -> float:
    """The rate of all groups, one after another; their answers are of one length."""
    count = sum(map(len, groups))
    return count / sum([len(group) / await ask(group) for group in groups])
