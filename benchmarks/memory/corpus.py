"""A memory for benchmarks: a generated corpus, real embedders, and the real index.

Texts consist of invented words with the frequencies of a language (Zipf), in sessions of twenty.
Vectors are random with the dimension of the embedder, because the time of a search does not depend
on their meaning and embedding 50,000 texts takes many minutes. Invariant: the same seed gives the
same corpus.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from vanta import VantaError
from vanta.memory import Embedder, EmbedderContext, IndexContext, Memory, NewItem, VectorIndex
from vanta.memory.store import add_items, save_vectors
from vanta.models import ModelStore, builtin_entries, builtin_sources, default_root
from vanta.plugin_loading import PluginSet, load
from vanta.storage import Store, sqlite_url

USER = "ada"
_ITEMS_PER_SESSION = 20
_WORDS = 20_000
_WORDS_PER_TEXT = 22


class Corpus:
    """Generates texts and questions."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = random.Random(seed)  # noqa: S311
        letters = "bcdfglmnprstv"
        self._words = [
            "".join(self._rng.choice(letters) + self._rng.choice("aeiou") for _ in range(n))
            for n in (2 + (rank * 7919) % 3 for rank in range(_WORDS))
        ]
        self._weights = [1.0 / (rank + 3) for rank in range(_WORDS)]

    def text(self, words: int = _WORDS_PER_TEXT) -> str:
        """Return a text of `words` words."""
        return " ".join(self._rng.choices(self._words, self._weights, k=words))

    def items(self, count: int) -> Iterator[NewItem]:
        """Yield `count` items of one user, a minute apart."""
        for number in range(count):
            yield NewItem(
                USER,
                "message",
                self.text(),
                1_700_000_000.0 + 60 * number,
                session=f"s{number // _ITEMS_PER_SESSION}",
                role="user" if number % 2 else "assistant",
            )


def plugins() -> PluginSet:
    """Load the installed plugins."""
    return load()


def embedder(name: str, folder: Path) -> Embedder:
    """Create an embedder with the weights in the model store of the user.

    :raises VantaError: if the weights are missing.
    """
    models = ModelStore(default_root(), builtin_entries(), builtin_sources())
    factory = plugins().embedders[name]
    context = EmbedderContext("", folder / "embedders", models.find)
    options = factory.options()
    reason = factory.off(options, context)
    if reason:
        raise VantaError(reason)
    return factory.create(options, context)


def chroma(folder: Path) -> VectorIndex:
    """Create the index `chroma` in a folder."""
    factory = plugins().vector_indexes["chroma"]
    return factory.create(factory.options(), IndexContext(folder / "index"))


@asynccontextmanager
async def memory_in(
    folder: Path, name: str | None, *, with_chroma: bool = True
) -> AsyncIterator[tuple[Store, Memory]]:
    """Open the store and the memory of a folder, with an embedder or without."""
    store = Store.open(sqlite_url(folder))
    index = chroma(folder) if name and with_chroma else None
    memory = Memory.open(store, embedder(name, folder) if name else None, index=index)
    try:
        async with memory.running():
            yield store, memory
    finally:
        await store.aclose()


async def fill(store: Store, count: int, embedder_used: Embedder | None, corpus: Corpus) -> None:
    """Add `count` items, each with a random vector in the space of an embedder."""
    items = corpus.items(count)
    number = 0
    while batch := list(islice(items, 1000)):
        ids = await store.transact(partial(add_items, items=batch))
        if embedder_used is not None:
            blobs = random_vectors(len(ids), embedder_used.dimension, number)
            await store.transact(
                partial(save_vectors, embedder=embedder_used.fingerprint, ids=ids, vectors=blobs)
            )
        number += len(ids)


def random_vectors(count: int, dimension: int, seed: int) -> list[bytes]:
    """Return float32 vectors of length 1 in a few hundred clusters, like real embeddings."""
    import numpy as np

    rng: Any = np.random.default_rng(seed)
    centres = np.random.default_rng(7).standard_normal((300, dimension))
    rows = centres[rng.integers(0, 300, count)] + 0.8 * rng.standard_normal((count, dimension))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return [row.astype("<f4").tobytes() for row in rows]
