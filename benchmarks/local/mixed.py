"""Mixed conversations: some far apart in the cache, one much longer than the others.

The peer is `llama-server` over HTTP with the same requests in the same order, if `--llama-bin` has
it, otherwise the engine itself in its best case. Invariant: all prompts are cached before; only
concurrent answers are measured.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from vanta import Engine

from ..report import Figure, Settings, median
from .engine import WORDS, answer, engine_on, request, stories
from .peers import SERVER, llama_server, program

Ask = Callable[[Sequence[str]], Awaitable[float]]
"""Texts -> total tokens per second of their concurrent answers."""

_LONG = f"Read this and go on with it. {WORDS * 330}"


@dataclass(frozen=True, slots=True)
class MixedCase:
    """A mix of conversations.

    `slots` is the number of concurrent conversations, each with a window of `window` tokens. The
    texts of `before` are sent one after another, then `texts` at once. `best` are the groups of the
    best case: each group is sent at once, one group after another.
    """

    name: str
    slots: int
    window: int
    before: tuple[str, ...]
    texts: tuple[str, ...]
    best: tuple[tuple[str, ...], ...]


def _cases() -> list[MixedCase]:
    texts = tuple(stories(16))
    return [
        MixedCase(
            name="output at 8 conversations of 16, every other one",
            slots=16,
            window=512,
            before=texts,
            texts=texts[::2],
            best=(texts[:8],),
        ),
        MixedCase(
            name="output at one conversation of 4,000 tokens and 7 short ones",
            slots=8,
            window=4608,
            before=(_LONG, *texts[:7]),
            texts=(_LONG, *texts[:7]),
            best=((_LONG,), texts[:7]),
        ),
    ]


async def mixed_conversations(path: Path, settings: Settings) -> list[Figure]:
    """Return the figures of the model at `path`."""
    modes = (False, True) if program(settings, SERVER) else (False,)
    return [await _figure(case, path, settings, flash) for case in _cases() for flash in modes]


async def _figure(case: MixedCase, path: Path, settings: Settings, flash: bool) -> Figure:
    tokens, rounds = 24 if settings.quick else 64, settings.times(3, 1)
    server_program, pairs = program(settings, SERVER), list[tuple[float, float]]()
    with contextlib.ExitStack() as stack:
        options = {"parallel": case.slots, "flash_attention": flash}
        async with engine_on(path, case.window, **options) as engine:
            ours, theirs = _ask_engine(engine, tokens), None
            if server_program:
                window = case.slots * case.window
                server = stack.enter_context(llama_server(server_program, path, case.slots, window))
                theirs = _ask_server(server, tokens)
            for ask in filter(None, (ours, theirs)):
                for text in case.before:
                    await ask([text])
            for _ in range(rounds):
                best = theirs(case.texts) if theirs else _in_turn(ours, case.best)
                pairs.append((await ours(case.texts), await best))
    ratios = ", ".join(f"{rate:.0f}:{best_rate:.0f}" for rate, best_rate in pairs)
    return Figure(
        name=case.name + (", with flash attention" if flash else ""),
        value=median([rate / best_rate for rate, best_rate in pairs]),
        unit="x",
        better="higher",
        goal=1.0 if server_program else 0.9,
        peer=SERVER if server_program else "itself, the same conversations side by side or in turn",
        peer_value=1.0,
        note=f"tokens/s in all, prompts cached, engine:peer {ratios}",
    )


def _ask_engine(engine: Engine, tokens: int) -> Ask:
    async def ask(texts: Sequence[str]) -> float:
        token_counts = list[int]()

        async def ask_one(text: str) -> None:
            reply = await answer(engine, request(text, session=text[:40], tokens=tokens))
            token_counts.append(reply.usage.output_tokens if reply.usage else 0)

        begun = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for text in texts:
                tasks.start_soon(ask_one, text)
        return sum(token_counts) / (time.perf_counter() - begun)

    return ask


def _ask_server(server: Callable[[Sequence[str], int], float], tokens: int) -> Ask:
    async def ask(texts: Sequence[str]) -> float:
        return await anyio.to_thread.run_sync(server, texts, tokens)

    return ask


async def _in_turn(ask: Ask, groups: Sequence[Sequence[str]]) -> float:
    """Return the rate of all groups, one after another; all answers have the same length."""
    count = sum(map(len, groups))
    return count / sum([len(group) / await ask(group) for group in groups])
