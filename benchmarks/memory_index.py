"""The vector index `chroma`: its start, its searches, how much they miss, and how fast it is built.

Peer in the same run: the exact index `scan`, which also says what a search ought to have found. The
vectors are random, of the shape that embeddings of sentences have: some hundred topics in forty
directions that carry most, and noise in all. Invariant: both indexes are asked the same.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio

from vanta.memory import IndexContext, Partition, VectorIndex
from vanta.memory.search import ExactIndex

from .report import Figure, median, percentile
from .settings import Settings

_DIMENSION, _LIMIT, _SEARCHES = 384, 100, 200
_TOPICS, _DIRECTIONS = 500, 40
START_S, SEARCH_MS, BUILD_S = 1.5, 15.0, 10.0
_PARTITION = Partition("bench", private=False, embedder="random/384/1", dimension=_DIMENSION)
_NAMES = (
    ("index chroma: from nothing to the first answer", "s"),
    ("index chroma: search p95, top 100", "ms"),
    ("index chroma: neighbours found of the nearest 100", "%"),
    ("index chroma: building, per 10,000 vectors", "s"),
)


def figures(settings: Settings) -> list[Figure]:
    """All of them; one that cannot be taken says why."""
    if missing := [name for name in ("chromadb", "numpy") if find_spec(name) is None]:
        why = f"not installed: {', '.join(missing)}"
        return [Figure(name=name, value=None, unit=unit, note=why) for name, unit in _NAMES]
    with tempfile.TemporaryDirectory() as folder:
        return list(anyio.run(_measured, Path(folder), settings))


async def _measured(folder: Path, settings: Settings) -> Iterator[Figure]:
    from vanta_chroma.index import ChromaIndex, ChromaOptions

    count = 5_000 if settings.quick else 50_000
    rows, asked = _vectors(count, seed=1), _vectors(_SEARCHES, seed=2)

    def opened() -> VectorIndex:
        return ChromaIndex(ChromaOptions(), IndexContext(folder / "index"))

    settings.progress("index", 0, 3)
    index = opened()
    built_s = await _built(index, rows)
    await index.aclose()
    settings.progress("index", 1, 3)
    began = time.perf_counter()
    index = opened()
    await _searched(index, asked[:1])
    first_s = time.perf_counter() - began
    took, found = await _searched(index, asked)
    await index.aclose()
    settings.progress("index", 2, 3)
    scan = ExactIndex()
    await _built(scan, rows)
    exact_took, exact = await _searched(scan, asked)
    hit = sum(len(some & all_) for some, all_ in zip(found, exact, strict=True))
    note = f"{count:,} vectors of {_DIMENSION}; {_SEARCHES} searches"
    values = (
        (first_s, START_S, None, "lower"),
        (_p95_ms(took), SEARCH_MS, _p95_ms(exact_took), "lower"),
        (100 * hit / (_LIMIT * len(exact)), 95.0, 100.0, "higher"),
        (built_s * 10_000 / count, BUILD_S, None, "lower"),
    )
    middle = f"; median {1000 * (median(took) or 0):.1f} ms"
    return iter(
        Figure(
            name=name,
            value=value,
            unit=unit,
            better="higher" if better == "higher" else "lower",
            goal=goal,
            peer=None if peer is None else "index scan, exact, in memory",
            peer_value=peer,
            note=note + (middle if unit == "ms" else ""),
        )
        for (name, unit), (value, goal, peer, better) in zip(_NAMES, values, strict=True)
    )


async def _built(index: VectorIndex, rows: Any) -> float:
    """Seconds to put `rows` into an index, once it is loaded."""
    await index.load()
    began = time.perf_counter()
    await index.upsert(_PARTITION, range(len(rows)), rows)
    return time.perf_counter() - began


async def _searched(index: VectorIndex, asked: Any) -> tuple[list[float], list[set[int]]]:
    """Seconds that each search took, and what it found."""
    took, found = [], []
    for row in asked:
        began = time.perf_counter()
        (pairs,) = await index.search(_PARTITION, row[None, :], _LIMIT)
        took.append(time.perf_counter() - began)
        found.append({one for one, _ in pairs})
    return took, found


def _p95_ms(took: list[float]) -> float:
    return 1000 * (percentile(took, 0.95) or 0.0)


def _vectors(count: int, *, seed: int) -> Any:
    import numpy as np

    fixed, chance = np.random.default_rng(0), np.random.default_rng(seed)
    topics = fixed.standard_normal((_TOPICS, _DIRECTIONS))
    spread = fixed.standard_normal((_DIRECTIONS, _DIMENSION)) / _DIRECTIONS**0.5
    own = topics[chance.integers(0, _TOPICS, count)] * 0.7
    rows = (own + chance.standard_normal((count, _DIRECTIONS))) @ spread
    rows += 0.3 * chance.standard_normal((count, _DIMENSION))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
