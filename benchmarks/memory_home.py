"""A memory for benchmarks: a store that is filled at once, real embedders, the real index.

Texts are made of invented words whose frequencies fall like those of a language (Zipf), in sessions
of twenty; vectors are random ones of the embedder's shape, since a search takes as long whatever
they mean, and embedding 50,000 texts takes many minutes. Invariant: the same seed gives the same.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from vanta.errors import VantaError
from vanta.memory import Embedder, EmbedderContext, IndexContext, Memory, NewItem, VectorIndex
from vanta.memory.store import add_items, save_vectors
from vanta.models import ModelStore, builtin_entries, builtin_sources, default_root
from vanta.plugin_loading import PluginSet, load
from vanta.storage import Store, sqlite_url

USER = "ada"
_SESSION = 20
_WORDS = 20_000
_LONG = 22


class Corpus:
    """Invented texts and questions."""

    def __init__(self, seed: int = 0) -> None:
        self._chance = random.Random(seed)  # noqa: S311
        letters = "bcdfglmnprstv"
        self._words = [
            "".join(self._chance.choice(letters) + self._chance.choice("aeiou") for _ in range(n))
            for n in (2 + (rank * 7919) % 3 for rank in range(_WORDS))
        ]
        self._weights = [1.0 / (rank + 3) for rank in range(_WORDS)]

    def text(self, words: int = _LONG) -> str:
        """A text of so many words."""
        return " ".join(self._chance.choices(self._words, self._weights, k=words))

    def items(self, count: int) -> Iterator[NewItem]:
        """Items of one user, a minute apart."""
        for number in range(count):
            yield NewItem(
                USER,
                "message",
                self.text(),
                1_700_000_000.0 + 60 * number,
                session=f"s{number // _SESSION}",
                role="user" if number % 2 else "assistant",
            )


def parts() -> PluginSet:
    """The plugins that are installed."""
    return load()


def embedder(name: str, folder: Path) -> Embedder:
    """An embedder by name, with the weights that lie in the user's model store. Raises VantaError
    where they do not."""
    models = ModelStore(default_root(), builtin_entries(), builtin_sources())
    factory = parts().embedders[name]
    context = EmbedderContext("", folder / "embedders", models.find)
    options = factory.options()
    why = factory.off(options, context)
    if why:
        raise VantaError(why)
    return factory.create(options, context)


def chroma(folder: Path) -> VectorIndex:
    """The index `chroma` in a folder."""
    factory = parts().vector_indexes["chroma"]
    return factory.create(factory.options(), IndexContext(folder / "index"))


@asynccontextmanager
async def memory_in(
    folder: Path, name: str | None, *, with_chroma: bool = True
) -> AsyncIterator[tuple[Store, Memory]]:
    """The memory of a folder with one embedder, or with none."""
    store = Store.open(sqlite_url(folder))
    index = chroma(folder) if name and with_chroma else None
    memory = Memory.open(store, embedder(name, folder) if name else None, index=index)
    try:
        async with memory.running():
            yield store, memory
    finally:
        await store.aclose()


async def fill(store: Store, count: int, made_by: Embedder | None, corpus: Corpus) -> None:
    """Put `count` items in, each with a vector as if `made_by` had made it."""
    items = corpus.items(count)
    number = 0
    while portion := list(islice(items, 1000)):
        ids = await store.transact(partial(add_items, items=portion))
        if made_by is not None:
            blobs = random_vectors(len(ids), made_by.dimension, number)
            await store.transact(
                partial(save_vectors, embedder=made_by.fingerprint, ids=ids, vectors=blobs)
            )
        number += len(ids)


def random_vectors(count: int, dimension: int, seed: int) -> list[bytes]:
    """So many float32 vectors of length 1, around a few hundred centres as real ones are."""
    import numpy as np

    chance: Any = np.random.default_rng(seed)
    centres = np.random.default_rng(7).standard_normal((300, dimension))
    rows = centres[chance.integers(0, 300, count)] + 0.8 * chance.standard_normal(
        (count, dimension)
    )
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return [row.astype("<f4").tobytes() for row in rows]
