"""Processes that share one memory and are killed: `store_processes.py ROUNDS SEED INDEX`.

In each round two processes add, repeat, recall and forget exchanges in one store, and both are
killed with SIGKILL at random moments, one before the other. A third process then opens and checks
the store. An exchange is acknowledged by a line in a pipe once it is durable. INDEX is `scan` or
`chroma`. Prints one JSON object with the fields of `StoreTally`. Invariant: every child is a fork
of a process without threads and without a connection, and ends by SIGKILL or `os._exit`.
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

ROUNDS_PER_FOLDER = 20
LIFETIMES_S = {"scan": 0.5, "chroma": 3.0}  # Chroma's own process takes a second to start
MAX_RECALLS = 40
ADDED, WILL_FORGET, FORGOT = "+", "?", "-"


@dataclass
class StoreTally:
    """The results of all rounds.

    `added` are the acknowledged words of the current folder that are not forgotten, `gone` the
    forgotten ones.
    """

    kills: int = 0
    acknowledged: int = 0
    forgotten: int = 0
    lost: int = 0
    unopened: int = 0
    not_found: int = 0
    bytes_left: int = 0
    not_in_step: int = 0
    slowest_open_s: float = 0.0
    added: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)


@asynccontextmanager
async def open_memory(folder: Path, index: str) -> AsyncIterator[tuple[Store, Memory]]:
    """Open the store and the memory in a folder."""
    store = Store.open(sqlite_url(folder))
    vector_index: Any = ExactIndex()
    if index == "chroma":
        from vanta_chroma.index import ChromaIndex, ChromaOptions

        vector_index = ChromaIndex(ChromaOptions(), IndexContext(folder / "index"))
    memory = Memory.open(store, HashEmbedder(32), index=vector_index)
    try:
        async with memory.running():
            yield store, memory
    finally:
        await store.aclose()


async def live(folder: Path, index: str, seed: int, acknowledge: Callable[[str], None]) -> None:
    """Add, repeat, recall and forget exchanges until killed; acknowledge each operation."""
    rng = random.Random(seed)  # noqa: S311
    words: list[str] = []
    async with open_memory(folder, index) as (store, memory):
        while True:
            draw = rng.random()
            if draw < 0.7 or not words:
                words.append(await _add(store, memory, acknowledge))
            elif draw < 0.8:
                await _add(
                    store, memory, acknowledge, repeated="I say this one over and over again."
                )
            elif draw < 0.9:
                await memory.recall(Question(rng.choice(words), Scope("ada")), 1.0)
            else:
                await _forget(memory, words.pop(rng.randrange(len(words))), acknowledge)


async def _add(
    store: Store, memory: Memory, acknowledge: Callable[[str], None], repeated: str = ""
) -> str:
    word = f"w{uuid.uuid4().hex}"
    row = {"id": uuid.uuid4().hex, "user": "ada", "session": session_of(word), "private": False}
    row |= {"status": "answered", "track": "local", "cost_usd": 0.0}
    text = repeated or f"The word of the day is {word}."
    messages = (Message("user", text), Message("assistant", "I see."))
    await store.add(row, {}, Exchange(messages))
    if not repeated:
        acknowledge(ADDED + word)
    memory.nudge()
    return word


def session_of(word: str) -> str:
    """Return the session of a word: a hash, because records of turns keep the name."""
    return hashlib.sha256(word.encode()).hexdigest()


async def _forget(memory: Memory, word: str, acknowledge: Callable[[str], None]) -> None:
    acknowledge(WILL_FORGET + word)
    receipt = await memory.forget(Selection("ada", session=session_of(word)))
    if receipt.certain:
        acknowledge(FORGOT + word)


async def check(folder: Path, index: str, tally: StoreTally, seed: int) -> None:
    """Open the store and check every acknowledged word."""
    began = time.perf_counter()
    async with open_memory(folder, index) as (store, memory):
        await memory.stats()
        tally.slowest_open_s = time.perf_counter() - began
        exported = " ".join([item.text async for item in memory.export("ada")])
        added = sorted(tally.added)
        tally.lost = sum(word not in exported for word in added)
        for word in random.Random(seed).sample(added, min(MAX_RECALLS, len(added))):  # noqa: S311
            recollection = await memory.recall(Question(word, Scope("ada")))
            texts = [recalled.item.text for recalled in recollection.items]
            tally.not_found += not any(word in text for text in texts)
        tally.not_in_step = await _out_of_step(store, memory)
    files = [path for path in folder.rglob("*") if path.is_file()]  # noqa: ASYNC240 - the only task
    data = b"\0".join(path.read_bytes() for path in files)
    tally.bytes_left = sum(word.encode() in data for word in tally.gone)


async def _out_of_step(store: Store, memory: Memory) -> int:
    """Return the number of missing and extra vectors once the index is up to date."""
    embedder, index = memory.embedder, memory.index
    assert embedder is not None
    assert index is not None
    problem = await memory.ready(Scope("ada"))
    if problem:
        raise RuntimeError(problem)
    partition = Partition("ada", False, embedder.fingerprint, embedder.dimension)
    ids, _ = await store.read(partial(read_partition, partition=partition, limit=1_000_000))
    return len(frozenset(ids) ^ await index.ids(partition))


def fork(work: Callable[[int], None]) -> tuple[int, int]:
    """Fork a child that calls `work` with the end of a pipe; return its pid and the other end."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    try:
        os.close(reading)
        work(writing)
    except BaseException:  # noqa: BLE001 - a fork must never return into the code of its parent
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def run_round(folder: Path, index: str, rng: random.Random, tally: StoreTally) -> None:
    """Run two processes, kill both, and collect their acknowledgements."""
    children = []
    for _ in range(2):
        seed = rng.randrange(1 << 30)

        def work(end: int, seed: int = seed) -> None:
            anyio.run(live, folder, index, seed, lambda line: _write(end, line))

        children.append(fork(work))
    first = children[0][1]
    start = os.read(first, 1)  # the first acknowledgement: the store is open
    for pid, _ in children:
        time.sleep(rng.random() * LIFETIMES_S[index])
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        tally.kills += 1
    for number, (_, end) in enumerate(children):
        with os.fdopen(end, "rb") as pipe:
            output = pipe.read()
        _collect((start + output if number == 0 else output).decode(), tally)


def _collect(output: str, tally: StoreTally) -> None:
    for line in output.split("\n")[:-1]:
        sign, word = line[0], line[1:]
        if sign == ADDED:
            tally.acknowledged += 1
            tally.added.add(word)
        elif sign == WILL_FORGET:
            tally.added.discard(word)
        else:
            tally.forgotten += 1
            tally.gone.add(word)


def check_in_child(folder: Path, index: str, seed: int, tally: StoreTally) -> None:
    """Check a folder in a child process and add its results to the tally."""

    def work(end: int) -> None:
        own = StoreTally(added=tally.added, gone=tally.gone)
        anyio.run(check, folder, index, own, seed)
        results = [own.lost, own.not_found, own.bytes_left, own.not_in_step, own.slowest_open_s]
        _write(end, json.dumps(results))

    pid, end = fork(work)
    with os.fdopen(end, "rb") as pipe:
        output = pipe.read()
    os.waitpid(pid, 0)
    if not output:
        tally.unopened += 1
        return
    lost, not_found, bytes_left, not_in_step, took_s = json.loads(output)
    tally.lost += lost
    tally.not_found += not_found
    tally.bytes_left += bytes_left
    tally.not_in_step += not_in_step
    tally.slowest_open_s = max(tally.slowest_open_s, took_s)


def _write(end: int, line: str) -> None:
    os.write(end, f"{line}\n".encode())


def main(rounds: int, seed: int, index: str) -> dict[str, Any]:
    """Run all rounds, with a new folder after every ROUNDS_PER_FOLDER."""
    rng, tally = random.Random(seed), StoreTally()  # noqa: S311
    folder = Path(tempfile.mkdtemp())
    try:
        for number in range(rounds):
            if number % ROUNDS_PER_FOLDER == 0:
                shutil.rmtree(folder)
                folder.mkdir()
                tally.added.clear()
                tally.gone.clear()
            run_round(folder, index, rng, tally)
            check_in_child(folder, index, seed + number, tally)
            print(number + 1, file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {name: value for name, value in vars(tally).items() if name not in {"added", "gone"}}


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])))
