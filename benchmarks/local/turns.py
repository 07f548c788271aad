"""The first token of the twentieth turn of a conversation: only new tokens are prefilled.

Measured on the engine alone, with a short and a long history, and in a session of a runtime with a
store and memory on, in which the turn recalls facts of another session. The peer is one bare
`llama_decode` of the same number of new tokens after the same number of cached ones. Invariant:
turn and peer alternate, and the numbers of new and cached tokens are those reported by the engine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import anyio.to_thread

import vanta
from vanta import Engine, GenerationRequest, Message, Opening, Runtime, Sampling, Usage

from ..report import Figure, Settings, median
from .engine import WORDS, answer, engine_on
from .peers import python_peer

Bare = Callable[..., float]
"""Cached tokens, new tokens -> seconds to prefill the new ones."""

_WINDOW = 4096
_GOAL = 1.1
_PEER = "one llama_decode of the new tokens"
_FACTS = (
    "My sister Anna lives in Lisbon and paints boats.",
    "I was born in a village near Tartu, and my first school had one room.",
    "Our dog is called Plum; he is afraid of rain.",
    "I work at a press that prints maps of the sea.",
)
_PUZZLE = " ".join(f"{WORDS.split()[number * 7 % 10]} {number}" for number in range(40))


async def later_turns(path: Path, settings: Settings) -> list[Figure]:
    """Return the figures of the model at `path`."""
    rounds = settings.times(5, 2)
    ratios: dict[int, list[float]] = {500: [], 2000: []}
    notes: dict[int, str] = {}
    async with engine_on(path, window=_WINDOW, parallel=3) as engine:
        with python_peer("reader", path, _WINDOW) as bare:
            for number in range(rounds):
                for length, values in ratios.items():
                    ratio, notes[length] = await _turn(engine, bare, length, f"{number} {length}")
                    values.append(ratio)
            remembered, note = await _remembered(path, bare, rounds)
    return [
        *(
            _figure(f"{length} tokens of history", ratios[length], notes[length])
            for length in ratios
        ),
        _figure("2000 tokens of history in a session with memory", remembered, note),
    ]


def _figure(history: str, ratios: list[float], note: str) -> Figure:
    return Figure(
        name=f"first token upon {history}, of reading what is new",
        value=median(ratios),
        unit="x",
        goal=_GOAL,
        peer=_PEER,
        peer_value=1.0,
        note=note,
    )


async def _turn(engine: Engine, bare: Bare, length: int, session: str) -> tuple[float, str]:
    """Measure a turn including template, tokenizer, queue and threads.

    The previous reply, which was generated token by token, counts as new.
    """
    words = f"{session} {WORDS * 300}"[: int(length * 4.6 / 19)]
    messages: tuple[Message, ...] = (Message("system", f"Session {session}."),)
    for turn in range(18):
        messages += (Message("user" if turn % 2 == 0 else "assistant", f"{turn} {words}"),)
    messages += (Message("user", "Go on, please."),)
    sampling = Sampling(temperature=0.0, max_tokens=40)
    reply = await answer(engine, GenerationRequest(messages, sampling, session=session))
    messages += (Message("assistant", reply.text), Message("user", "Go on, please, about rain."))
    request = GenerationRequest(messages, Sampling(temperature=0.0, max_tokens=1), session=session)
    completion = await answer(engine, request)
    assert completion.usage is not None
    assert completion.timings is not None
    assert completion.timings.first_token_s is not None
    return await _against(bare, completion.usage, completion.timings.first_token_s)


async def _remembered(path: Path, bare: Bare, rounds: int) -> tuple[list[float], str]:
    """Measure a whole turn: its record, recall, packing into the budget of the track, and the race.

    Memory is enabled after the first turns of each conversation, only to save time.
    """
    ratios, note = list[float](), ""
    with tempfile.TemporaryDirectory() as folder:
        async with _open(path, folder, memory=False) as runtime:
            for fact in _FACTS:
                await runtime.session("facts").ask(fact, sampling=_greedy(4))
            for number in range(rounds):
                for turn in range(18):
                    words = f"Talk {number}, {turn}: {_PUZZLE}"[:330]
                    await runtime.session(f"talk {number}").ask(words, sampling=_greedy(8))
        async with _open(path, folder, memory=True) as runtime:
            for number in range(rounds):
                ratio, note = await _twentieth(runtime, bare, f"talk {number}")
                ratios.append(ratio)
    return ratios, note


def _open(path: Path, folder: str, *, memory: bool) -> Opening:
    track = {"model": str(path), "window": _WINDOW, "options": {"parallel": 3}}
    return vanta.open(
        "default",
        data_dir=folder,
        tracks={"local": track, "api": {"enabled": False}},
        memory={"enabled": memory},
        policy="local",
        deadline_s=120,
    )


async def _twentieth(runtime: Runtime, bare: Bare, name: str) -> tuple[float, str]:
    session = runtime.session(name)
    await session.ask("My sister's name again?", sampling=_greedy(40))
    reply = await session.ask("Where does my sister Anna live?", sampling=_greedy(8))
    context = reply.trace.context["local"]
    assert reply.usage is not None
    assert reply.timings.first_content_s is not None
    ratio, note = await _against(bare, reply.usage, reply.timings.first_content_s)
    return ratio, f"{note}; {context.memory_tokens} of them memories"


def _greedy(tokens: int) -> Sampling:
    return Sampling(temperature=0.0, max_tokens=tokens)


async def _against(bare: Bare, usage: Usage, first_s: float) -> tuple[float, str]:
    """Return the ratio of the first token's latency to the bare prefill, and a note."""
    cached = usage.cached_input_tokens or 0
    new = usage.input_tokens - cached
    alone_s = await anyio.to_thread.run_sync(bare, cached, new)
    note = (
        f"{new} tokens read upon {cached}: {1000 * first_s:.0f} ms, alone {1000 * alone_s:.0f} ms"
    )
    return first_s / alone_s, note
