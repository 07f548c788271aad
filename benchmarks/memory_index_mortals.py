"""Processes that own a vector index and are killed: `memory_index_mortals.py KILLS SEED HOW`.

One process after the other owns the same folder: it looks whether all that was acknowledged is
there and finds itself, does again what was under way, and goes on putting in, replacing and taking
out, until it is killed by SIGKILL at a random moment: it, or the process in which it runs Chroma,
or both at once. What counts is what it had acknowledged: a line in a pipe. A folder that says of
itself that it is damaged is wiped and filled from what was acknowledged, as memory does from its
store, and counted. HOW: `ours`, or `plain` for Chroma as it comes, in the owner itself. Prints one
JSON object, see `Tally`.
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

from vanta.errors import VectorIndexError
from vanta.memory import IndexContext, Partition, VectorIndex
from vanta_chroma.index import ChromaIndex, ChromaOptions

KILLS_A_FOLDER = 50
LIFE_S = 0.8
LIVES_AGAIN_S = 60.0
DIMENSION = 64
PARTITION = Partition("ada", private=False, embedder="random/64/1", dimension=DIMENSION)
DOING, DONE, BUILT, CHECKED = "?", "+", "!", "="
WAYS = ("owner", "chroma", "both")


@dataclass
class Tally:
    """What all kills came to. built_again: folders found damaged, wiped and filled. unopened:
    owners that did not get as far as looking. foreign: ids that were there and ought not to be."""

    kills: int = 0
    acknowledged: int = 0
    lost: int = 0
    foreign: int = 0
    not_found: int = 0
    built_again: int = 0
    unopened: int = 0
    slowest_check_s: float = 0.0


@dataclass
class Truth:
    """What was acknowledged: a version for each id. doing: what was under way, ids and version
    (None: taking them out)."""

    versions: dict[int, int] = field(default_factory=dict)
    doing: tuple[list[int], int | None] | None = None

    def done(self) -> int:
        """Take what was under way for done; how many records that were."""
        if self.doing is None:
            return 0
        ids, version = self.doing
        for one in ids:
            if version is None:
                self.versions.pop(one, None)
            else:
                self.versions[one] = version
        self.doing = None
        return len(ids)


def vectors(ids: list[int], versions: list[int]) -> Any:
    """The vector of each id in each version."""
    import numpy as np

    rows = [
        np.random.default_rng((one, version)).standard_normal(DIMENSION)
        for one, version in zip(ids, versions, strict=True)
    ]
    array = np.array(rows, np.float32).reshape(-1, DIMENSION)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


class PlainChroma(VectorIndex):
    """Chroma as its documentation uses it, in this process: the peer."""

    name = "plain"
    pid = None

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._client: Any = None

    async def load(self) -> None:
        import chromadb
        from chromadb.config import Settings

        if self._client is None:
            quiet = Settings(anonymized_telemetry=False)
            self._client = chromadb.PersistentClient(str(self._folder), settings=quiet)
            self._vectors = self._client.get_or_create_collection(
                "vectors", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
            )

    async def upsert(self, partition: Partition, ids: Any, vectors: Any) -> None:
        await self.load()
        for start in range(0, len(ids), 100):
            part = [str(one) for one in ids[start : start + 100]]
            self._vectors.upsert(ids=part, embeddings=vectors[start : start + 100])

    async def delete(self, partition: Partition, ids: Any) -> None:
        await self.load()
        self._vectors.delete(ids=[str(one) for one in ids])

    async def search(self, partition: Partition, vectors: Any, limit: int) -> Any:
        await self.load()
        found = self._vectors.query(
            query_embeddings=vectors, n_results=limit, include=["distances"]
        )
        pairs = zip(found["ids"], found["distances"], strict=True)
        return [[(int(ids[0]), 1 - far[0])] if ids else [] for ids, far in pairs]

    async def ids(self, partition: Partition) -> frozenset[int]:
        await self.load()
        return frozenset(int(one) for one in self._vectors.get(include=[])["ids"])

    async def wipe(self, partition: Partition) -> bool:
        raise VectorIndexError("nothing mends this one. Remove the folder.")

    async def aclose(self) -> None:
        if self._client is not None:
            self._client.close()


class Owner:
    """The process that owns the folder, until it is killed."""

    def __init__(self, folder: Path, how: str, told: dict[str, Any]) -> None:
        self.index: Any = PlainChroma(folder)
        if how == "ours":
            self.index = ChromaIndex(ChromaOptions(), IndexContext(folder))
        self.chance = random.Random(told["seed"])  # noqa: S311
        self.truth = Truth({int(one): version for one, version in told["versions"].items()})
        self.truth.doing = told["doing"]

    async def live(self) -> None:
        """Look, then work, until stdin ends or the end comes otherwise."""
        began = time.perf_counter()
        try:
            found = await self.check()
        except VectorIndexError:
            await self.build_again()
            found = await self.check()
        took_s = time.perf_counter() - began
        tell(CHECKED, {**found, "took_s": took_s, "chroma": self.index.pid})
        while not _over():
            await self.step()
        await self.index.aclose()

    async def check(self) -> dict[str, int]:
        """What is not as it was acknowledged, but for what was under way."""
        open_ids = set(self.truth.doing[0]) if self.truth.doing else set()
        there = await self.index.ids(PARTITION)
        known = set(self.truth.versions)
        sure = sorted(known - open_ids)
        wrong = 0
        for start in range(0, len(sure), 200):
            part = sure[start : start + 200]
            asked = vectors(part, [self.truth.versions[one] for one in part])
            found = await self.index.search(PARTITION, asked, 1)
            wrong += sum(
                not pairs or pairs[0][0] != one or pairs[0][1] < 0.999
                for one, pairs in zip(part, found, strict=True)
            )
        lost, foreign = len(set(sure) - there), len(there - known - open_ids)
        return {"lost": lost, "foreign": foreign, "not_found": wrong}

    async def build_again(self) -> None:
        """What memory does with an index that is damaged."""
        tell(BUILT)
        await self.index.wipe(PARTITION)
        ids = list(self.truth.versions)
        await self.index.upsert(PARTITION, ids, vectors(ids, list(self.truth.versions.values())))

    async def step(self) -> None:
        """Put some in, or take some out; what was under way comes first."""
        if self.truth.doing is None:
            ids = self.chance.sample(range(4000), self.chance.randint(1, 200))
            version = None if self.chance.random() < 0.15 else self.chance.randrange(1 << 30)
            self.truth.doing = ids, version
        tell(DOING, self.truth.doing)
        ids, version = self.truth.doing
        try:
            if version is None:
                await self.index.delete(PARTITION, ids)
            else:
                await self.index.upsert(PARTITION, ids, vectors(ids, [version] * len(ids)))
        except VectorIndexError:
            await self.build_again()
            return
        self.truth.done()
        tell(DONE)


def tell(sign: str, what: Any = None) -> None:
    """A line for the one that kills."""
    os.write(1, f"{sign}{json.dumps(what)}\n".encode())


def _over() -> bool:
    """Whether nobody wants this process any more."""
    import select

    return bool(select.select([0], [], [], 0)[0])


def _first_line() -> bytes:
    """The first line of stdin, and nothing after it."""
    line = b""
    while not line.endswith(b"\n") and (piece := os.read(0, 1 << 16)):
        line += piece
    return line


class Killer:
    """Starts owners and ends them."""

    def __init__(self, seed: int, how: str) -> None:
        self.how = how
        self.chance = random.Random(seed)  # noqa: S311
        self.tally = Tally()
        self.truth = Truth()

    def one(self, folder: Path, *, last: bool = False) -> None:
        """An owner's life, from its look to its end, which is its own for the last one."""
        command = [sys.executable, __file__, "own", str(folder), self.how]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
            assert owner.stdin is not None
            assert owner.stdout is not None
            told = {"seed": self.chance.randrange(1 << 30), **asdict(self.truth)}
            owner.stdin.write(f"{json.dumps(told)}\n".encode())
            owner.stdin.close() if last else owner.stdin.flush()
            found = self._checked(owner.stdout)
            if found is None:
                self.tally.unopened += 1
                self.truth = Truth()
                shutil.rmtree(folder, ignore_errors=True)
            elif not last:
                self._kill(owner, found["chroma"])
            for line in owner.stdout:
                self._take_in(line.decode())

    def _kill(self, owner: subprocess.Popen[bytes], chroma: int | None) -> None:
        way = self.chance.choice(WAYS) if chroma else "owner"
        time.sleep(self.chance.random() * LIFE_S)
        self.tally.kills += 1
        if chroma and way != "owner":
            os.kill(chroma, signal.SIGKILL)
        if way != "chroma":
            owner.kill()
            return
        time.sleep(self.chance.random() * LIFE_S)
        assert owner.stdin is not None
        owner.stdin.close()

    def _checked(self, lines: Any) -> dict[str, Any] | None:
        """Take in what an owner found; None if it did not get as far as that."""
        for raw in lines:
            line = raw.decode()
            if line[0] != CHECKED:
                self._take_in(line)
                continue
            found: dict[str, Any] = json.loads(line[1:])
            for name in ("lost", "foreign", "not_found"):
                setattr(self.tally, name, getattr(self.tally, name) + found[name])
            self.tally.slowest_check_s = max(self.tally.slowest_check_s, found["took_s"])
            return found
        return None

    def _take_in(self, line: str) -> None:
        if not line.endswith("\n") and line[0] != BUILT:
            return  # cut short by the kill
        if line[0] == DOING:
            self.truth.doing = json.loads(line[1:])
        elif line[0] == DONE:
            self.tally.acknowledged += self.truth.done()
        elif line[0] == BUILT:
            self.tally.built_again += 1


def main(kills: int, seed: int, how: str) -> dict[str, Any]:
    """All kills; a new folder every few."""
    killer = Killer(seed, how)
    folder = Path(tempfile.mkdtemp())
    try:
        for number in range(kills):
            if number % KILLS_A_FOLDER == 0:
                shutil.rmtree(folder)
                folder.mkdir()
                killer.truth = Truth()
            killer.one(folder / "index")
            print(number + 1, file=sys.stderr, flush=True)
        killer.one(folder / "index", last=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return asdict(killer.tally)


if __name__ == "__main__":
    if sys.argv[1] == "own":
        anyio.run(Owner(Path(sys.argv[2]), sys.argv[3], json.loads(_first_line())).live)
    else:
        print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])))
