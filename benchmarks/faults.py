"""Streams that break, and turns that must not leak: what the scheduler promises, counted.

Faults: an api track over real sockets is cut, stalls or sends a malformed frame after a random
number of tokens; a local track that knows the same answer goes on. Every turn has to end with the
unbroken answer, no later than the stall timeout plus a first token. Peer: the same SDK alone, which
passes the failure on. Privacy: random policies and turns, private and not; every byte that the
non-private server received is searched for what was said in private. Invariant: the local track is
scripted, so that the right text is known to the letter.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
import tempfile
from collections.abc import Iterator
from typing import Any

import anyio

import vanta
from vanta import Opening
from vanta.errors import ErrorKind, VantaError
from vanta.scheduling import BUILTIN, Policy
from vanta.testing import Behaviour, Fail, Say, ScriptedEngine, Upstream, scripted_plugin

from .report import Figure, percentile
from .settings import Settings

SUMMARY = "streams that break are finished, private turns never leave"

WORDS = [f"word{number} " for number in range(40)]
ANSWER = "".join(WORDS).strip()
TOKENS = [*WORDS[:-1], WORDS[-1].strip()]
STALL_S = 0.15
FAULTS = {"cut": Behaviour.cut, "stall": Behaviour.stall, "malformed": Behaviour.malformed}
PEER = "the same SDK alone"


def run(settings: Settings) -> Iterator[Figure]:
    """Break streams, then keep secrets."""
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
    count, rng = settings.times(200, 25), random.Random(1)  # noqa: S311 - a schedule, no secret
    delays, whole, alone = [], 0, 0
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
                whole += text == ANSWER
                delays.append(delay_s)
                settings.progress(fault, number + 1, count)
            for _ in range(count):
                upstream.then(FAULTS[fault](rng.randrange(1, len(TOKENS)), TOKENS))
                alone += await _ask_alone(runtime)
    limit_ms = STALL_S * 1000 + 100 if fault == "stall" else 100
    return [
        Figure(
            name=f"{fault}: turns that end with the unbroken answer",
            value=100 * whole / count,
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
            note=f"goal: stall timeout ({STALL_S * 1000:.0f} ms where it stalls) + 100 ms.",
        ),
    ]


async def _ask(runtime: vanta.Runtime, session: str) -> tuple[str, float]:
    """The text of a turn, and the longest pause between two of its deltas."""
    try:
        async with runtime.session(session).stream("go") as turn:
            times = [event.at_s async for event in turn if isinstance(event, vanta.TextDelta)]
            text = turn.reply.text
    except VantaError:
        return "", 0.0
    pauses = [later - sooner for sooner, later in itertools.pairwise(times)]
    return text, max(pauses, default=0.0)


async def _ask_alone(runtime: vanta.Runtime) -> bool:
    """Whether the api's engine alone ends with the whole answer."""
    from vanta.engine import GenerationRequest
    from vanta.messages import Message

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
                    hidden = rng.random() < 0.5
                    private += hidden
                    await _turn(runtime, rng, number, hidden=hidden)
                    settings.progress("privacy", number + 1, count)
            received = upstream.received
            leaked = received.count(b"SECRET")
            asked = len(upstream.chats)
    return [
        Figure(
            name="private turns found in what the non-private server received",
            value=leaked,
            unit="turns",
            goal=0,
            note=f"{private} private of {count} turns, random policies and tracks that break; the "
            f"server answered {asked} other requests with {len(received):,} bytes searched.",
        )
    ]


async def _turn(runtime: vanta.Runtime, rng: random.Random, number: int, *, hidden: bool) -> None:
    said = f"SECRET {number}" if hidden else f"hello {number}"
    session = runtime.session(f"s{number % 50}")
    try:
        await session.ask(said, policy=_random_policy(rng), private=hidden)
    except VantaError:
        return


def _random_policy(rng: random.Random) -> Policy:
    """A built-in policy with its legs shuffled and its knobs turned."""
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
    takeover = rng.choice(["continue", "restart", "fail"])
    return dataclasses.replace(base, legs=tuple(legs), takeover=takeover, max_extra_share=None)


def _shaky(rng: random.Random, said: str) -> Iterator[Say | Fail | str]:
    """A local answer that repeats what was said, and often refuses, breaks or fails."""
    mood = rng.random()
    if mood < 0.2:
        yield "I'm sorry, I cannot help with that."
        return
    if mood < 0.9:
        yield f"you said {said} to the local track "
    if mood > 0.6:
        yield Fail(rng.choice([ErrorKind.SERVER, ErrorKind.AUTH]))
