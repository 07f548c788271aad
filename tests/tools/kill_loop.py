"""A program in which processes journal and run write calls until they are killed.

    python -m tests.tools.kill_loop FOLDER KILLS SEED

Each round has two processes on one database, which request, start, run and finish calls, resume
each other's, and are killed at random moments. A run appends the call's key to a file. At the end a
JSON object is printed: how often each call ran, and its state in the journal.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import anyio

from tests.tools.calls import open_journal, record
from vanta import CallStateError
from vanta.tools import CallRecord, Journal

LONGEST_S = 0.05


def run(folder: Path, entry: CallRecord) -> None:
    """Do what a write call does: leave a mark outside the database."""
    descriptor = os.open(folder / "effects", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, f"{entry.key}\n".encode())
    os.close(descriptor)


async def call(journal: Journal, folder: Path, entry: CallRecord) -> None:
    """Start, run and finish one call, unless it was started before."""
    try:
        await journal.start(entry.key)
    except CallStateError:
        return
    run(folder, entry)
    await journal.finish(entry.key, '"done"')


async def work(folder: Path, ready: int) -> None:
    """Do calls for ever: new ones, and all that another process left behind."""
    async with open_journal(folder) as journal:
        await journal.abandoned()
        while True:
            new = [record() for _ in range(3)]
            await journal.request(*new)
            os.write(ready, b"!")
            left = await journal.list(states=["requested", "approved", "unknown"])
            async with anyio.create_task_group() as tasks:
                for entry in left[-8:]:
                    tasks.start_soon(call, journal, folder, entry)
                single = record()
                await journal.begin(single)
                run(folder, single)
                await journal.finish(single.key, '"done"')


def round_of_kills(folder: Path, chance: random.Random) -> None:
    """Start two processes, and kill each at a random moment of its work."""
    children = []
    for _ in range(2):
        ready, tell = os.pipe()
        child = os.fork()
        if child == 0:
            anyio.run(work, folder, tell)
        os.close(tell)
        os.read(ready, 1)
        os.close(ready)
        children.append(child)
    for child in children:
        time.sleep(chance.uniform(0, LONGEST_S))  # the random moment
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


async def outcome(folder: Path) -> dict[str, object]:
    """Return what a new process finds."""
    async with open_journal(folder) as journal:
        await journal.abandoned()
        calls = await journal.list()
    ran = Counter((folder / "effects").read_text().split())
    states = {entry.key: entry.state for entry in calls}
    return {"ran": ran, "states": states, "attempts": {it.key: it.attempts for it in calls}}


def main() -> None:
    """Kill, and print the outcome."""
    folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets
    for _ in range(kills // 2):
        round_of_kills(folder, chance)
    print(json.dumps(anyio.run(outcome, folder)))


if __name__ == "__main__":
    main()
