"""The vector index `chroma`: start, search latency, recall of neighbours, and build time.

The peer in the same run is the exact index `scan`, which also gives the true neighbours. The
vectors are random with the structure of sentence embeddings: some hundred topics in forty dominant
directions, and noise in all. Invariant: both indexes get the same queries.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio

from vanta.memory import Partition, VectorIndex
from vanta.memory.search import ExactIndex

from ..report import Figure, Settings, median, percentile
from .corpus import chroma

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
    """Return all figures; one that cannot be measured states the reason."""
    if missing := [name for name in ("chromadb", "numpy") if find_spec(name) is None]:
        reason = f"not installed: {', '.join(missing)}"
        return [Figure(name=name, value=None, unit=unit, note=reason) for name, unit in _NAMES]
    with tempfile.TemporaryDirectory() as folder:
        return list(anyio.run(_measured, Path(folder), settings))


async def _measured(folder: Path, settings: Settings) -> Iterator[Figure]:
    count = 5_000 if settings.quick else 50_000
    rows, queries = _vectors(count, seed=1), _vectors(_SEARCHES, seed=2)

    settings.progress("index", 0, 3)
    index = chroma(folder)
    built_s = await _build(index, rows)
    await index.aclose()
    settings.progress("index", 1, 3)
    began = time.perf_counter()
    index = chroma(folder)
    await _search(index, queries[:1])
    first_s = time.perf_counter() - began
    durations, matches = await _search(index, queries)
    await index.aclose()
    settings.progress("index", 2, 3)
    scan = ExactIndex()
    await _build(scan, rows)
    exact_durations, exact = await _search(scan, queries)
    hits = sum(len(some & all_) for some, all_ in zip(matches, exact, strict=True))
    note = f"{count:,} vectors of {_DIMENSION}; {_SEARCHES} searches"
    values = (
        (first_s, START_S, None, "lower"),
        (_p95_ms(durations), SEARCH_MS, _p95_ms(exact_durations), "lower"),
        (100 * hits / (_LIMIT * len(exact)), 95.0, 100.0, "higher"),
        (built_s * 10_000 / count, BUILD_S, None, "lower"),
    )
    median_note = f"; median {1000 * (median(durations) or 0):.1f} ms"
    return iter(
        Figure(
            name=name,
            value=value,
            unit=unit,
            better="higher" if better == "higher" else "lower",
            goal=goal,
            peer=None if peer is None else "index scan, exact, in memory",
            peer_value=peer,
            note=note + (median_note if unit == "ms" else ""),
        )
        for (name, unit), (value, goal, peer, better) in zip(_NAMES, values, strict=True)
    )


async def _build(index: VectorIndex, rows: Any) -> float:
    """Return the seconds to add `rows` to a loaded index."""
    await index.load()
    began = time.perf_counter()
    await index.upsert(_PARTITION, range(len(rows)), rows)
    return time.perf_counter() - began


async def _search(index: VectorIndex, queries: Any) -> tuple[list[float], list[set[int]]]:
    """Return the seconds and the ids of each search."""
    durations, matches = [], []
    for row in queries:
        began = time.perf_counter()
        (pairs,) = await index.search(_PARTITION, row[None, :], _LIMIT)
        durations.append(time.perf_counter() - began)
        matches.append({key for key, _ in pairs})
    return durations, matches


def _p95_ms(durations: list[float]) -> float:
    return 1000 * (percentile(durations, 0.95) or 0.0)


def _vectors(count: int, *, seed: int) -> Any:
    import numpy as np

    fixed, rng = np.random.default_rng(0), np.random.default_rng(seed)
    topics = fixed.standard_normal((_TOPICS, _DIRECTIONS))
    spread = fixed.standard_normal((_DIRECTIONS, _DIMENSION)) / _DIRECTIONS**0.5
    centres = topics[rng.integers(0, _TOPICS, count)] * 0.7
    rows = (centres + rng.standard_normal((count, _DIRECTIONS))) @ spread
    rows += 0.3 * rng.standard_normal((count, _DIMENSION))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
