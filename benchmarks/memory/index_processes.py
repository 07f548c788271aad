"""Processes that own a vector index and are killed: `index_processes.py KILLS SEED INDEX`.

One process after another owns the same folder. It checks that all acknowledged records exist and
are their own nearest neighbours, repeats the operation in progress, and then adds, replaces and
removes records until SIGKILL hits it, the process in which it runs Chroma, or both, at a random
moment. An operation is acknowledged by a line in a pipe. A folder that is detected as damaged is
wiped, rebuilt from the acknowledged records, as memory does from its store, and counted. INDEX is
`ours`, or `plain` for Chroma with its defaults in the owner itself. Prints one JSON object, see
`IndexTally`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import anyio

from vanta import VectorIndexError
from vanta.memory import IndexContext, Partition, VectorIndex
from vanta_chroma.index import ChromaIndex, ChromaOptions

KILLS_PER_FOLDER = 50
LIFE_S = 0.8
DIMENSION = 64
PARTITION = Partition("ada", private=False, embedder="random/64/1", dimension=DIMENSION)
STARTED, DONE, REBUILT, CHECKED = "?", "+", "!", "="
TARGETS = ("owner", "chroma", "both")


@dataclass
class IndexTally:
    """The results of all kills.

    `built_again` counts damaged folders that were rebuilt, `unopened` owners that ended before
    their check, and `foreign` ids that should not exist.
    """

    kills: int = 0
    acknowledged: int = 0
    lost: int = 0
    foreign: int = 0
    not_found: int = 0
    built_again: int = 0
    unopened: int = 0
    slowest_check_s: float = 0.0


@dataclass
class Acknowledged:
    """The acknowledged version of each id, and the operation in progress.

    `pending` has the ids and their version, or None as the version of a removal.
    """

    versions: dict[int, int] = field(default_factory=dict)
    pending: tuple[list[int], int | None] | None = None

    def done(self) -> int:
        """Apply the operation in progress; return its number of records."""
        if self.pending is None:
            return 0
        ids, version = self.pending
        for key in ids:
            if version is None:
                self.versions.pop(key, None)
            else:
                self.versions[key] = version
        self.pending = None
        return len(ids)


def vectors(ids: list[int], versions: list[int]) -> Any:
    """Return the vector of each id in its version."""
    import numpy as np

    rows = [
        np.random.default_rng((key, version)).standard_normal(DIMENSION)
        for key, version in zip(ids, versions, strict=True)
    ]
    array = np.array(rows, np.float32).reshape(-1, DIMENSION)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


class PlainChroma(VectorIndex):
    """The peer: Chroma as in its documentation, in this process."""

    name = "plain"
    pid = None

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._client: Any = None

    async def load(self) -> None:
        import chromadb
        from chromadb.config import Settings

        if self._client is None:
            settings = Settings(anonymized_telemetry=False)
            self._client = chromadb.PersistentClient(str(self._folder), settings=settings)
            self._vectors = self._client.get_or_create_collection(
                "vectors", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
            )

    async def upsert(self, partition: Partition, ids: Any, vectors: Any) -> None:
        await self.load()
        for start in range(0, len(ids), 100):
            part = [str(key) for key in ids[start : start + 100]]
            self._vectors.upsert(ids=part, embeddings=vectors[start : start + 100])

    async def delete(self, partition: Partition, ids: Any) -> None:
        await self.load()
        self._vectors.delete(ids=[str(key) for key in ids])

    async def search(self, partition: Partition, vectors: Any, limit: int) -> Any:
        await self.load()
        result = self._vectors.query(
            query_embeddings=vectors, n_results=limit, include=["distances"]
        )
        pairs = zip(result["ids"], result["distances"], strict=True)
        return [[(int(ids[0]), 1 - distances[0])] if ids else [] for ids, distances in pairs]

    async def ids(self, partition: Partition) -> frozenset[int]:
        await self.load()
        return frozenset(int(key) for key in self._vectors.get(include=[])["ids"])

    async def wipe(self, partition: Partition) -> bool:
        raise VectorIndexError("this index cannot be repaired. Remove the folder.")

    async def aclose(self) -> None:
        if self._client is not None:
            self._client.close()


class Owner:
    """The process that owns the folder until it is killed."""

    def __init__(self, folder: Path, kind: str, state: dict[str, Any]) -> None:
        self.index: Any = PlainChroma(folder)
        if kind == "ours":
            self.index = ChromaIndex(ChromaOptions(), IndexContext(folder))
        self.rng = random.Random(state["seed"])  # noqa: S311
        self.records = Acknowledged(
            {int(key): version for key, version in state["versions"].items()}
        )
        self.records.pending = state["pending"]

    async def live(self) -> None:
        """Check the folder, then change it until stdin ends or the process is killed."""
        began = time.perf_counter()
        try:
            result = await self.check()
        except VectorIndexError:
            await self.rebuild()
            result = await self.check()
        took_s = time.perf_counter() - began
        send(CHECKED, {**result, "took_s": took_s, "chroma": self.index.pid})
        while not _stdin_ended():
            await self.step()
        await self.index.aclose()

    async def check(self) -> dict[str, int]:
        """Count the differences from the acknowledged records, except for the pending operation."""
        open_ids = set(self.records.pending[0]) if self.records.pending else set()
        stored = await self.index.ids(PARTITION)
        known = set(self.records.versions)
        certain = sorted(known - open_ids)
        not_found = 0
        for start in range(0, len(certain), 200):
            part = certain[start : start + 200]
            queries = vectors(part, [self.records.versions[key] for key in part])
            matches = await self.index.search(PARTITION, queries, 1)
            not_found += sum(
                not pairs or pairs[0][0] != key or pairs[0][1] < 0.999
                for key, pairs in zip(part, matches, strict=True)
            )
        lost, foreign = len(set(certain) - stored), len(stored - known - open_ids)
        return {"lost": lost, "foreign": foreign, "not_found": not_found}

    async def rebuild(self) -> None:
        """Rebuild a damaged index, as memory does."""
        send(REBUILT)
        await self.index.wipe(PARTITION)
        ids = list(self.records.versions)
        await self.index.upsert(PARTITION, ids, vectors(ids, list(self.records.versions.values())))

    async def step(self) -> None:
        """Add or remove some records; repeat a pending operation first."""
        if self.records.pending is None:
            ids = self.rng.sample(range(4000), self.rng.randint(1, 200))
            version = None if self.rng.random() < 0.15 else self.rng.randrange(1 << 30)
            self.records.pending = ids, version
        send(STARTED, self.records.pending)
        ids, version = self.records.pending
        try:
            if version is None:
                await self.index.delete(PARTITION, ids)
            else:
                await self.index.upsert(PARTITION, ids, vectors(ids, [version] * len(ids)))
        except VectorIndexError:
            await self.rebuild()
            return
        self.records.done()
        send(DONE)


def send(sign: str, value: Any = None) -> None:
    """Write a line for the killing process."""
    os.write(1, f"{sign}{json.dumps(value)}\n".encode())


def _stdin_ended() -> bool:
    """Return whether stdin ended, which stops this process."""
    import select

    return bool(select.select([0], [], [], 0)[0])


def _first_line() -> bytes:
    """Read the first line of stdin and nothing after it."""
    line = b""
    while not line.endswith(b"\n") and (chunk := os.read(0, 1 << 16)):
        line += chunk
    return line


class Killer:
    """Starts and kills owners."""

    def __init__(self, seed: int, kind: str) -> None:
        self.kind = kind
        self.rng = random.Random(seed)  # noqa: S311
        self.tally = IndexTally()
        self.records = Acknowledged()

    def run_owner(self, folder: Path, *, last: bool = False) -> None:
        """Run an owner until it is killed; the last one ends on its own."""
        command = [sys.executable, __file__, "own", str(folder), self.kind]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
            assert owner.stdin is not None
            assert owner.stdout is not None
            state = {"seed": self.rng.randrange(1 << 30), **asdict(self.records)}
            owner.stdin.write(f"{json.dumps(state)}\n".encode())
            owner.stdin.close() if last else owner.stdin.flush()
            result = self._read_check(owner.stdout)
            if result is None:
                self.tally.unopened += 1
                self.records = Acknowledged()
                shutil.rmtree(folder, ignore_errors=True)
            elif not last:
                self._kill(owner, result["chroma"])
            for line in owner.stdout:
                self._read_line(line.decode())

    def _kill(self, owner: subprocess.Popen[bytes], chroma: int | None) -> None:
        target = self.rng.choice(TARGETS) if chroma else "owner"
        time.sleep(self.rng.random() * LIFE_S)
        self.tally.kills += 1
        if chroma and target != "owner":
            os.kill(chroma, signal.SIGKILL)
        if target != "chroma":
            owner.kill()
            return
        time.sleep(self.rng.random() * LIFE_S)
        assert owner.stdin is not None
        owner.stdin.close()

    def _read_check(self, lines: Any) -> dict[str, Any] | None:
        """Add the check of an owner to the tally; return None if it ended before."""
        for raw in lines:
            line = raw.decode()
            if line[0] != CHECKED:
                self._read_line(line)
                continue
            result: dict[str, Any] = json.loads(line[1:])
            for name in ("lost", "foreign", "not_found"):
                setattr(self.tally, name, getattr(self.tally, name) + result[name])
            self.tally.slowest_check_s = max(self.tally.slowest_check_s, result["took_s"])
            return result
        return None

    def _read_line(self, line: str) -> None:
        if not line.endswith("\n") and line[0] != REBUILT:
            return  # truncated by the kill
        if line[0] == STARTED:
            self.records.pending = json.loads(line[1:])
        elif line[0] == DONE:
            self.tally.acknowledged += self.records.done()
        elif line[0] == REBUILT:
            self.tally.built_again += 1


def main(kills: int, seed: int, kind: str) -> dict[str, Any]:
    """Run all kills, with a new folder after every KILLS_PER_FOLDER."""
    killer = Killer(seed, kind)
    folder = Path(tempfile.mkdtemp())
    try:
        for number in range(kills):
            if number % KILLS_PER_FOLDER == 0:
                shutil.rmtree(folder)
                folder.mkdir()
                killer.records = Acknowledged()
            killer.run_owner(folder / "index")
            print(number + 1, file=sys.stderr, flush=True)
        killer.run_owner(folder / "index", last=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return asdict(killer.tally)


if __name__ == "__main__":
    if sys.argv[1] == "own":
        anyio.run(Owner(Path(sys.argv[2]), sys.argv[3], json.loads(_first_line())).live)
    else:
        print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])))
