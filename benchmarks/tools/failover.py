"""Agent turns whose committed track breaks after its first call, and are finished by another.

The server is `breaking_server`: its first track asks for a call, is given the result, and breaks in
one of four ways; its second track is sound. A turn is finished if its reply has the tool's result.
Invariant: the tool has an effect (`write`) and is counted by the program itself, not by vanta's
journal. The peer is an agent of pydantic-ai over a `FallbackModel` of the same two tracks, streamed
as vanta is; the note has its whole answers, too.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

import vanta
from vanta import VantaError

from .. import peer as peers
from ..report import Figure, Settings
from .breaking_server import KINDS, SOUND

TURNS, TURNS_QUICK = 200, 3
SILENCE_S = 0.5
TOGETHER = 8
RECEIPT = "receipt for"


@dataclass(slots=True)
class Tally:
    """What became of the turns of one kind.

    :ivar finished: turns whose reply has the tool's result.
    :ivar runs: how often the tool ran, by turn.
    :ivar failures: the errors of turns, by text.
    """

    finished: int = 0
    runs: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def repeated(self) -> int:
        """Turns whose tool ran more than once."""
        return sum(times > 1 for times in self.runs.values())


@contextlib.contextmanager
def breaking_server() -> Iterator[str]:
    """Run the server in a process of its own; yield its base URL."""
    command = [sys.executable, "-m", "benchmarks.tools.breaking_server"]
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    ) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def figures(settings: Settings) -> list[Figure]:
    """Return the turns that were finished, and those that repeated a call, by kind."""
    turns = settings.times(TURNS, TURNS_QUICK)
    with breaking_server() as base_url:
        tallies: dict[str, Tally] = {}
        for kind in KINDS:
            settings.progress("tools: failover", len(tallies), len(KINDS))
            tallies[kind] = anyio.run(_tally, base_url, kind, turns)
        peer, why = _peer(base_url, turns, settings)
    return [*_finished(tallies, turns, peer, why), _repeated(tallies, turns, peer)]


async def _tally(base_url: str, kind: str, turns: int) -> Tally:
    tally = Tally()
    limiter = anyio.CapacityLimiter(TOGETHER)

    @vanta.tool(effect="write")
    def send(to: str, *, context: vanta.ToolContext) -> str:
        """Send the letter."""
        tally.runs[context.session] += 1
        return f"{RECEIPT} {to}"

    async def turn(runtime: vanta.Runtime, name: str) -> None:
        async with limiter:
            try:
                reply = await runtime.session(name).ask("Send the letter to Anna.")
            except VantaError as error:
                tally.failures[str(error)] += 1
            else:
                tally.finished += f"{RECEIPT} Anna" in reply.text

    with tempfile.TemporaryDirectory() as folder:
        async with (
            vanta.open(_config(base_url, kind, folder), own_tools=[send]) as runtime,
            anyio.create_task_group() as group,
        ):
            for number in range(turns):
                group.start_soon(turn, runtime, f"s{number}")
    return tally


def _config(base_url: str, kind: str, folder: str) -> dict[str, Any]:
    def track(name: str) -> dict[str, Any]:
        options = {"base_url": f"{base_url}/{name}/v1"}
        return {"engine": "openai", "model": "m", "options": options}

    return {
        "data_dir": folder,
        "tracks": {"api": track(kind), "local": track(SOUND)},
        "policy": "prefer",
        "stall_timeout_s": SILENCE_S,
        "memory": {"enabled": False},
        "retries": 0,
    }


def _peer(base_url: str, turns: int, settings: Settings) -> tuple[dict[str, Any] | None, str]:
    settings.progress("tools: pydantic-ai", 0, 1)
    arguments = (base_url, str(turns), str(SILENCE_S), *KINDS)
    try:
        measured = peers.measure(
            "pydantic_ai_failover", *arguments, settings=settings, package="pydantic-ai-slim"
        )
    except peers.NoPeer as why:
        return None, str(why)
    return measured, ""


def _finished(
    tallies: dict[str, Tally], turns: int, peer: dict[str, Any] | None, why: str
) -> Iterator[Figure]:
    for kind, tally in tallies.items():
        note = f"{turns} turns"
        if tally.failures:
            note += f"; {tally.failures.most_common(1)[0][0]}"
        if peer:
            whole = 100 * peer["whole"][kind]["finished"] / turns
            note += f"; the peer without streaming: {whole:.4g} %"
        yield Figure(
            name=f"agent turns finished when the committed track breaks after its call: {kind}",
            value=100 * tally.finished / turns,
            unit="%",
            better="higher",
            goal=100.0,
            peer=_name(peer),
            peer_value=100 * peer["streamed"][kind]["finished"] / turns if peer else None,
            note=f"{note}. {why}".strip(". ") if why else note,
        )


def _repeated(tallies: dict[str, Tally], turns: int, peer: dict[str, Any] | None) -> Figure:
    return Figure(
        name="of these, turns whose tool ran twice",
        value=float(sum(tally.repeated for tally in tallies.values())),
        unit="turns",
        goal=0.0,
        peer=_name(peer),
        peer_value=float(sum(item["repeated"] for item in peer["streamed"].values()))
        if peer
        else None,
        note=f"of {turns * len(tallies)}",
    )


def _name(peer: dict[str, Any] | None) -> str | None:
    return f"pydantic-ai {peer['version']}, FallbackModel, streamed" if peer else None
