"""Processes that share one memory and are killed: `memory_mortals.py ROUNDS SEED INDEX`.

In each round two processes say, repeat, recall and forget in one store, and both are killed with
SIGKILL at random moments, one before the other; a third then opens what they left. What counts is
what they had acknowledged: a line in a pipe after the store said that it is durable. INDEX: `scan`
or `chroma`. Prints one JSON object: rounds, kills, acknowledged exchanges, lost ones, stores that
did not open, records that do not find themselves, forgotten ones of which a byte was left, and the
seconds that opening took. Invariant: every child is a fork of a process without threads and without
a connection, and leaves by SIGKILL or `os._exit`.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from vanta.memory import IndexContext, Memory, Partition, Question, Scope, Selection
from vanta.memory.search import ExactIndex
from vanta.memory.store import read_partition
from vanta.messages import Exchange, Message
from vanta.storage import Store, sqlite_url
from vanta.testing import HashEmbedder

ROUNDS_A_FOLDER = 20
LIVES_S = {"scan": 0.5, "chroma": 3.0}  # Chroma's own process takes a second to come up
ASKED = 40
SAID, WILL_FORGET, FORGOT = "+", "?", "-"


@dataclass
class Tally:
    """What all rounds came to. said: words acknowledged and not forgotten, in this folder."""

    kills: int = 0
    acknowledged: int = 0
    forgotten: int = 0
    lost: int = 0
    unopened: int = 0
    not_found: int = 0
    bytes_left: int = 0
    not_in_step: int = 0
    slowest_open_s: float = 0.0
    said: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)


@asynccontextmanager
async def remembering(folder: Path, index: str) -> AsyncIterator[tuple[Store, Memory]]:
    """The store and the memory in a folder."""
    store = Store.open(sqlite_url(folder))
    nearest: Any = ExactIndex()
    if index == "chroma":
        from vanta_chroma.index import ChromaIndex, ChromaOptions

        nearest = ChromaIndex(ChromaOptions(), IndexContext(folder / "index"))
    memory = Memory.open(store, HashEmbedder(32), index=nearest)
    try:
        async with memory.running():
            yield store, memory
    finally:
        await store.aclose()


async def live(folder: Path, index: str, seed: int, tell: Callable[[str], None]) -> None:
    """Say, repeat, recall and forget until killed; `tell` every acknowledgement."""
    chance = random.Random(seed)  # noqa: S311
    mine: list[str] = []
    async with remembering(folder, index) as (store, memory):
        while True:
            lot = chance.random()
            if lot < 0.7 or not mine:
                mine.append(await _say(store, memory, tell))
            elif lot < 0.8:
                await _say(store, memory, tell, again="I say this one over and over again.")
            elif lot < 0.9:
                await memory.recall(Question(chance.choice(mine), Scope("ada")), 1.0)
            else:
                await _forget(memory, mine.pop(chance.randrange(len(mine))), tell)


async def _say(store: Store, memory: Memory, tell: Callable[[str], None], again: str = "") -> str:
    word = f"w{uuid.uuid4().hex}"
    row = {"id": uuid.uuid4().hex, "user": "ada", "session": session_of(word), "private": False}
    row |= {"status": "answered", "track": "local", "cost_usd": 0.0}
    text = again or f"The word of the day is {word}."
    messages = (Message("user", text), Message("assistant", "I see."))
    await store.add(row, {}, Exchange(messages))
    if not again:
        tell(SAID + word)
    memory.nudge()
    return word


def session_of(word: str) -> str:
    """Each word has a session of its own, whose name does not give it away: records of turns keep
    it."""
    return hashlib.sha256(word.encode()).hexdigest()


async def _forget(memory: Memory, word: str, tell: Callable[[str], None]) -> None:
    tell(WILL_FORGET + word)
    receipt = await memory.forget(Selection("ada", session=session_of(word)))
    if receipt.certain:
        tell(FORGOT + word)


async def check(folder: Path, index: str, tally: Tally, seed: int) -> None:
    """Open what was left and look for everything in it."""
    began = time.perf_counter()
    async with remembering(folder, index) as (store, memory):
        await memory.stats()
        tally.slowest_open_s = time.perf_counter() - began
        there = " ".join([item.text async for item in memory.export("ada")])
        said = sorted(tally.said)
        tally.lost = sum(word not in there for word in said)
        for word in random.Random(seed).sample(said, min(ASKED, len(said))):  # noqa: S311
            recollection = await memory.recall(Question(word, Scope("ada")))
            texts = [recalled.item.text for recalled in recollection.items]
            tally.not_found += not any(word in text for text in texts)
        tally.not_in_step = await _out_of_step(store, memory)
    files = [path for path in folder.rglob("*") if path.is_file()]  # noqa: ASYNC240 - nobody waits
    left = b"\0".join(path.read_bytes() for path in files)
    tally.bytes_left = sum(word.encode() in left for word in tally.gone)


async def _out_of_step(store: Store, memory: Memory) -> int:
    """How many vectors the index lacks or has too much once it had the time to follow."""
    embedder, index = memory.embedder, memory.index
    assert embedder is not None
    assert index is not None
    trouble = await memory.ready(Scope("ada"))
    if trouble:
        raise RuntimeError(trouble)
    partition = Partition("ada", False, embedder.fingerprint, embedder.dimension)
    ids, _ = await store.read(partial(read_partition, partition=partition, limit=1_000_000))
    return len(frozenset(ids) ^ await index.ids(partition))


def born(work: Callable[[int], None]) -> tuple[int, int]:
    """Fork a child that does `work` with the end of a pipe; its pid and the other end."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    try:
        os.close(reading)
        work(writing)
    except BaseException:  # noqa: BLE001 - a fork must not go on as its parent
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def round_of_two(folder: Path, index: str, chance: random.Random, tally: Tally) -> None:
    """Let two live, kill both, take in what they acknowledged."""
    children = []
    for _ in range(2):
        seed = chance.randrange(1 << 30)

        def work(end: int, seed: int = seed) -> None:
            anyio.run(live, folder, index, seed, lambda line: _write(end, line))

        children.append(born(work))
    first = children[0][1]
    begun = os.read(first, 1)  # its first word: the store is open
    for pid, _ in children:
        time.sleep(chance.random() * LIVES_S[index])
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        tally.kills += 1
    for number, (_, end) in enumerate(children):
        with os.fdopen(end, "rb") as pipe:
            told = pipe.read()
        _take_in((begun + told if number == 0 else told).decode(), tally)


def _take_in(told: str, tally: Tally) -> None:
    for line in told.split("\n")[:-1]:
        sign, word = line[0], line[1:]
        if sign == SAID:
            tally.acknowledged += 1
            tally.said.add(word)
        elif sign == WILL_FORGET:
            tally.said.discard(word)
        else:
            tally.forgotten += 1
            tally.gone.add(word)


def look(folder: Path, index: str, seed: int, tally: Tally) -> None:
    """Have a child check a folder, and add what it found."""

    def work(end: int) -> None:
        mine = Tally(said=tally.said, gone=tally.gone)
        anyio.run(check, folder, index, mine, seed)
        found = [mine.lost, mine.not_found, mine.bytes_left, mine.not_in_step, mine.slowest_open_s]
        _write(end, json.dumps(found))

    pid, end = born(work)
    with os.fdopen(end, "rb") as pipe:
        told = pipe.read()
    os.waitpid(pid, 0)
    if not told:
        tally.unopened += 1
        return
    lost, not_found, bytes_left, not_in_step, took_s = json.loads(told)
    tally.lost += lost
    tally.not_found += not_found
    tally.bytes_left += bytes_left
    tally.not_in_step += not_in_step
    tally.slowest_open_s = max(tally.slowest_open_s, took_s)


def _write(end: int, line: str) -> None:
    os.write(end, f"{line}\n".encode())


def main(rounds: int, seed: int, index: str) -> dict[str, Any]:
    """All rounds; a new folder every few."""
    chance, tally = random.Random(seed), Tally()  # noqa: S311
    folder = Path(tempfile.mkdtemp())
    try:
        for number in range(rounds):
            if number % ROUNDS_A_FOLDER == 0:
                shutil.rmtree(folder)
                folder.mkdir()
                tally.said.clear()
                tally.gone.clear()
            round_of_two(folder, index, chance, tally)
            look(folder, index, seed + number, tally)
            print(number + 1, file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {name: value for name, value in vars(tally).items() if name not in {"said", "gone"}}


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])))
