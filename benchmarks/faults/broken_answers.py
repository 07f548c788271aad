"""Streams that break and turns that must stay private: the promises of the scheduler, counted.

Faults: an api track over real sockets is cut, stalls or sends a malformed frame after a random
number of tokens, and a local track with the same answer takes over. Every turn must end with the
unbroken answer, at most the stall timeout plus a first token later. The peer is the same SDK alone,
which raises the failure. Privacy: random policies and turns, private and not; every byte received
by the non-private server is searched for private text. Invariant: the local track is scripted, so
that the exact text is known.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
import tempfile
from collections.abc import Iterator
from typing import Any, get_args

import anyio

import vanta
from vanta import ErrorKind, GenerationRequest, Message, Opening, VantaError
from vanta.scheduling import BUILTIN, Policy, TakeoverMode
from vanta.testing import Behaviour, Fail, Say, ScriptedEngine, Upstream, scripted_plugin

from ..report import Figure, Settings, percentile

WORDS = [f"word{number} " for number in range(40)]
ANSWER = "".join(WORDS).strip()
TOKENS = [*WORDS[:-1], WORDS[-1].strip()]
STALL_S = 0.15
FAULTS = {"cut": Behaviour.cut, "stall": Behaviour.stall, "malformed": Behaviour.malformed}
PEER = "the same SDK alone"


def figures(settings: Settings) -> Iterator[Figure]:
    """Measure faults, then privacy."""
    for fault in FAULTS:
        yield from anyio.run(_fault_figures, fault, settings)
    yield from anyio.run(_privacy_figures, settings)


def _open(folder: str, base_url: str, local: ScriptedEngine, **rest: Any) -> Opening:
    config = {
        "data_dir": folder,
        "tracks": {
            "local": {"engine": "scripted", "model": "scripted-1", "private": True},
            "api": {"model": "m", "options": {"base_url": base_url}},
        },
        **rest,
    }
    return vanta.open(config, plugins=[scripted_plugin(local=local)])


async def _fault_figures(fault: str, settings: Settings) -> list[Figure]:
    count, rng = settings.times(200, 25), random.Random(1)  # noqa: S311 - a schedule, not a secret
    delays, complete, alone = [], 0, 0
    local = ScriptedEngine(ANSWER)
    with tempfile.TemporaryDirectory() as folder:
        async with (
            Upstream() as upstream,
            _open(
                folder, upstream.base_url, local, stall_timeout_s=STALL_S, policy="prefer"
            ) as runtime,
        ):
            for number in range(count):
                upstream.then(FAULTS[fault](rng.randrange(1, len(TOKENS)), TOKENS))
                text, delay_s = await _ask(runtime, f"{fault} {number}")
                complete += text == ANSWER
                delays.append(delay_s)
                settings.progress(fault, number + 1, count)
            for _ in range(count):
                upstream.then(FAULTS[fault](rng.randrange(1, len(TOKENS)), TOKENS))
                alone += await _ask_alone(runtime)
    limit_ms = STALL_S * 1000 + 100 if fault == "stall" else 100
    return [
        Figure(
            name=f"{fault}: turns that end with the unbroken answer",
            value=100 * complete / count,
            unit="%",
            better="higher",
            goal=100,
            peer=PEER,
            peer_value=100 * alone / count,
            note=f"{count} streams, each broken after 1 to {len(TOKENS) - 1} tokens.",
        ),
        Figure(
            name=f"{fault}: longest pause before the text goes on, p99",
            value=1000 * (percentile(delays, 0.99) or 0.0),
            unit="ms",
            goal=limit_ms,
            note=f"goal: 100 ms, plus the stall timeout ({STALL_S * 1000:.0f} ms) for a stall.",
        ),
    ]


async def _ask(runtime: vanta.Runtime, session: str) -> tuple[str, float]:
    """Return the text of a turn and the longest pause in seconds between two of its deltas."""
    try:
        async with runtime.session(session).stream("go") as turn:
            times = [event.at_s async for event in turn if isinstance(event, vanta.TextDelta)]
            text = turn.reply.text
    except VantaError:
        return "", 0.0
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    return text, max(pauses, default=0.0)


async def _ask_alone(runtime: vanta.Runtime) -> bool:
    """Return whether the engine of the api track alone ends with the whole answer."""
    request, text = GenerationRequest((Message("user", "go"),)), ""
    try:
        with anyio.fail_after(2 * STALL_S):
            async with runtime.tracks["api"].engine.stream(request) as stream:
                async for delta in stream:
                    text += delta.text
    except (VantaError, TimeoutError):
        return False
    return text == ANSWER


async def _privacy_figures(settings: Settings) -> list[Figure]:
    count, rng = settings.times(10_000, 500), random.Random(2)  # noqa: S311
    local = ScriptedEngine(reply=lambda request: _shaky(rng, request.messages[-1].content))
    private = leaked = 0
    with tempfile.TemporaryDirectory() as folder:
        async with Upstream(default=Behaviour.answer("hello")) as upstream:
            async with _open(folder, upstream.base_url, local, deadline_s=5.0) as runtime:
                for number in range(count):
                    is_private = rng.random() < 0.5
                    private += is_private
                    await _turn(runtime, rng, number, is_private=is_private)
                    settings.progress("privacy", number + 1, count)
            received = upstream.received
            leaked = received.count(b"SECRET")
            requests = len(upstream.chats)
    return [
        Figure(
            name="private turns found in what the non-private server received",
            value=leaked,
            unit="turns",
            goal=0,
            note=f"{private} private of {count} turns, random policies and broken tracks; the "
            f"server answered {requests} other requests with {len(received):,} bytes searched.",
        )
    ]


async def _turn(
    runtime: vanta.Runtime, rng: random.Random, number: int, *, is_private: bool
) -> None:
    text = f"SECRET {number}" if is_private else f"hello {number}"
    session = runtime.session(f"s{number % 50}")
    try:
        await session.ask(text, policy=_random_policy(rng), private=is_private)
    except VantaError:
        return


def _random_policy(rng: random.Random) -> Policy:
    """Return a built-in policy with shuffled legs and random settings."""
    base = rng.choice(BUILTIN)
    legs = [
        dataclasses.replace(
            leg,
            start_after_s=rng.choice([0.0, 0.0, 0.002, None]),
            hold_s=rng.choice([0.0, 0.0, 0.003, None]),
        )
        for leg in base.legs
    ]
    rng.shuffle(legs)
    takeover = rng.choice(get_args(TakeoverMode))
    return dataclasses.replace(base, legs=tuple(legs), takeover=takeover, max_extra_share=None)


def _shaky(rng: random.Random, message: str) -> Iterator[Say | Fail | str]:
    """Yield a local answer that repeats the message, and often refuses, breaks or fails."""
    chance = rng.random()
    if chance < 0.2:
        yield "I'm sorry, I cannot help with that."
        return
    if chance < 0.9:
        yield f"you wrote {message} to the local track "
    if chance > 0.6:
        yield Fail(rng.choice([ErrorKind.SERVER, ErrorKind.AUTH]))
