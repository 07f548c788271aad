"""A program that owns an index and adds records until it is killed: `owner.py FOLDER`.

It prints the pid of the process that runs Chroma, then the number of each batch that is stored.
"""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

from tests.chroma.support import ADA, vectors
from vanta.memory import IndexContext
from vanta_chroma.index import ChromaIndex, ChromaOptions

BATCH = 20


async def main(folder: Path) -> None:
    index = ChromaIndex(ChromaOptions(), IndexContext(folder))
    await index.load()
    print(index.pid, flush=True)
    for batch in range(1000):
        ids = range(batch * BATCH, batch * BATCH + BATCH)
        await index.upsert(ADA, ids, vectors(BATCH, seed=batch))
        print(batch, flush=True)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]))
