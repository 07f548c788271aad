"""A program whose agents are killed at random moments of their turns.

    python -m benchmarks.tools.killed_agents FOLDER KILLS SEED

Each round has two processes on one database. Each opens a runtime and runs turns whose scripted
model asks for calls with an effect; a call leaves a mark outside the database. Both are killed.
At the end a new runtime looks at the journal, continues every session that has a call without an
end, and a JSON object is printed: how often each call ran, the states, and how many calls without
an end the models were told of. Forked before any thread or loop is started.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import sqlite3
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio

import vanta
from vanta import GenerationRequest, ToolContext
from vanta.api import Opening
from vanta.testing import CallTool, ScriptedEngine, scripted_plugin

LOADED = ("anyio._backends._asyncio", "sqlalchemy.dialects.sqlite", "vanta.runtime", "jsonschema")
"""What agents need, loaded once before the forks."""

LONGEST_S = 0.08
MOST_MORE = 100
"""Kills beyond those asked for, as long as no call was left without an end: nothing to report."""
UNKNOWN = "The outcome of this call is unknown"


def opened(folder: Path, reply: Any, *, seed: int = 0) -> Opening:
    """Return a runtime on one scripted track, with a tool that leaves marks."""
    dice = random.Random(seed)  # noqa: S311 - moments, not secrets

    @vanta.tool
    async def mark(number: int, context: ToolContext) -> str:
        """Leave a mark."""
        await anyio.sleep(dice.uniform(0, 0.004))
        descriptor = os.open(folder / "marks", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, f"{context.idempotency_key}\n".encode())
        os.close(descriptor)
        await anyio.sleep(dice.uniform(0, 0.004))
        return f"Mark {number} is left."

    tracks = {
        "local": {"engine": "scripted", "model": "scripted-1"},
        "api": {"enabled": False},
    }
    config = {
        "data_dir": str(folder),
        "memory": {"enabled": False},
        "tracks": tracks,
        "policy": "local",
    }
    plugin = scripted_plugin(local=ScriptedEngine(reply=reply))
    return vanta.open(config, plugins=[plugin], own_tools=[mark])


def acts(request: GenerationRequest) -> list[Any]:
    """Ask for two calls in the first round and one in the second, then answer."""
    last = max(n for n, message in enumerate(request.messages) if message.role == "user")
    done = sum(message.role == "tool" for message in request.messages[last:])
    if done >= 3:
        return ["All marks are left."]
    wanted = (0, 1) if not done else (2,)
    return [CallTool("mark", f'{{"number": {n}}}', id=f"c{n}") for n in wanted]


async def agent(folder: Path, session: str, ready: int, seed: int) -> None:
    """Run turns for ever."""
    async with opened(folder, acts, seed=seed) as runtime:
        await runtime.session(session).ask("Leave your marks.")  # what is loaded late is loaded now
        os.write(ready, b"!")
        while True:
            await runtime.session(session).ask("Leave your marks.")


def killed(folder: Path, dice: random.Random, number: int) -> int:
    """Start two agents and kill each at a random moment; return how many were killed."""
    agents = [_started(folder, f"s{number}-{place}", number * 2 + place) for place in range(2)]
    for _, ready in agents:
        begun = os.read(ready, 1)
        os.close(ready)
        if not begun:
            raise SystemExit("an agent could not begin")
    for child, _ in agents:
        time.sleep(dice.uniform(0, LONGEST_S))  # the random moment
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return len(agents)


def _started(folder: Path, session: str, seed: int) -> tuple[int, int]:
    """Fork an agent; return its process and the pipe in which it says that it acts."""
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            anyio.run(agent, folder, session, tell, seed)
        finally:
            os._exit(1)  # only a failure comes here: the parent's own work is not the child's
    os.close(tell)
    return child, ready


def without_end(folder: Path) -> int:
    """Return how many calls the journal has that began and did not end."""
    with closing(sqlite3.connect(f"file:{folder / 'vanta.db'}?mode=ro", uri=True)) as database:
        query = "SELECT count(*) FROM tool_calls WHERE state IN ('started', 'unknown')"
        return int(database.execute(query).fetchone()[0])


async def outcome(folder: Path) -> dict[str, Any]:
    """Return what a new process finds, and tells the models."""
    told: set[str] = set()

    def reads(request: GenerationRequest) -> list[Any]:
        told.update(
            message.tool_call_id or ""
            for message in request.messages
            if message.role == "tool" and UNKNOWN in message.content
        )
        return ["I see."]

    async with opened(folder, reads) as runtime:
        await runtime.journal.abandoned()
        calls = await runtime.journal.list()
        for session in sorted({call.session for call in calls if call.state == "unknown"}):
            await runtime.session(session).ask("What became of your marks?")
    ran = Counter((folder / "marks").read_text().split())
    unknown = {call.key for call in calls if call.state == "unknown"}
    return {
        "calls": len(calls),
        "ran": len(ran),
        "twice": sum(times > 1 for times in ran.values()),
        "without_end": len(set(ran) - {c.key for c in calls if c.state == "finished"}),
        "untracked": len(set(ran) - {call.key for call in calls}),
        "unknown": len(unknown),
        "told": len(unknown & told),
        "other": sorted({c.state for c in calls} - {"finished", "unknown"}),
        "lost": len(set(ran) - {c.key for c in calls if c.state in ("finished", "unknown")}),
    }


def main() -> None:
    """Kill, and print the outcome."""
    folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    (folder / "marks").touch()
    dice = random.Random(seed)  # noqa: S311 - moments, not secrets
    for name in LOADED:
        importlib.import_module(name)
    done = 0
    while done < kills or not (done >= kills + MOST_MORE or without_end(folder)):
        done += killed(folder, dice, done)
    print(json.dumps({"kills": done, **anyio.run(outcome, folder)}))


if __name__ == "__main__":
    main()
