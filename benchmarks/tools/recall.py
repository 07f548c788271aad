"""Recall of the tools that a question needs within a budget of tokens (BFCL).

A question counts if every tool that it needs is shown; tokens are those of all shown text at four
characters each. Ours is `vanta.tools.recall.rank_tools` with the embedder `minilm`, or by words
alone if there is none, as turns use it: tools are the JSON that engines send and chat templates
write. Its weights were chosen on every other question; the others are held out.

The baselines of the same run rank by SQLite's `bm25()`, by the cosine alone, and by both, each
divided by its best. They show the schemas as they came, or the same short signatures as ours, which
separates what the ranking does from what the packing does. Invariant: each way is asked the same
questions, and none shows more than its budget.
"""

from __future__ import annotations

import re
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from vanta import VantaError
from vanta.memory import Embedder
from vanta.tool_contract import Tool, ToolCounts
from vanta.tools.recall import (
    Ranked,
    ToolIndex,
    clauses_of,
    rank_tools,
    render_json,
    render_signature,
    shorten,
)

from ..memory.corpus import embedder as open_embedder
from ..report import Figure, Settings, data_file, missing_data, percentile
from .questions import FILE, ToolData, ToolQuestion, read_data

GOALS = {1024: (94.0, 80.0), 512: (89.0, 65.0)}
"""Goals in percent for one needed tool and for several, by budget."""

RANK_GOAL_MS = 25.0
KINDS = ("one tool", "several tools")
NEIGHBOURS = 200
EVERY = 20
BATCH = 512

_FULL, _SHORT = "whole schemas", "the same signatures"
_NO_VECTORS = "no minilm: see vanta doctor"
_QUICK = "a quick run embeds nothing"


@dataclass(slots=True)
class ToolShares:
    """Whether questions were shown all their tools, by budget."""

    hits: dict[int, list[tuple[ToolQuestion, bool]]] = field(
        default_factory=lambda: {budget: [] for budget in GOALS}
    )

    def add(self, question: ToolQuestion, budget: int, shown: set[int]) -> None:
        """Add what a question was shown."""
        self.hits[budget].append((question, question.needed <= shown))

    def at(self, budget: int, kind: str, *, held_out: bool = False) -> float | None:
        """Return the share in percent; None without such a question."""
        hits = [
            hit
            for question, hit in self.hits[budget]
            if question.is_multiple == (kind != KINDS[0]) and (question.held_out or not held_out)
        ]
        return 100 * sum(hits) / len(hits) if hits else None

    def line(self, kind: str) -> str:
        """Return the shares at all budgets, as text."""
        values = {budget: self.at(budget, kind) for budget in GOALS}
        return ", ".join(f"{value or 0:.1f} at {budget}" for budget, value in values.items())


class Vectors:
    """The vectors of texts by an embedder, each made once."""

    def __init__(self, model: Embedder) -> None:
        self._model = model
        self._rows: dict[str, Any] = {}

    async def embed(self, texts: Sequence[str]) -> list[Any]:
        """Return the vectors of texts."""
        lacking = list(dict.fromkeys(text for text in texts if text not in self._rows))
        if lacking:
            self._rows.update(zip(lacking, await self._model.embed(lacking), strict=True))
        return [self._rows[text] for text in texts]


def figures(settings: Settings) -> list[Figure]:
    """Return all figures; those that cannot be measured state the reason."""
    path = data_file(FILE)
    if path is None:
        return _missing(missing_data(FILE))
    return anyio.run(_measured, settings, path)


def count(text: str) -> int:
    """Return the tokens of a text, at four characters each."""
    return -(-len(text) // 4)


async def _measured(settings: Settings, path: Path) -> list[Figure]:
    data = read_data(path, every=EVERY if settings.quick else 1)
    with tempfile.TemporaryDirectory() as folder:
        model = None if settings.quick else await _embedder(Path(folder))
        vectors = Vectors(model) if model else None
        index = ToolIndex()
        if vectors:
            await _embed_all(settings, data, vectors, index)
        times: list[float] = []
        ours = await _ours(data, vectors, index, render_json, times)
        signatures = await _ours(data, vectors, index, render_signature, [])
        peers = await _peers(data, vectors)
        if model:
            await model.aclose()
    absent = _QUICK if settings.quick else _NO_VECTORS
    how = "by words and meaning" if vectors else f"by words alone ({absent})"
    return [
        *_goals(ours, peers, how),
        *_references("vanta, held out", ours, how, held_out=True),
        *_references("vanta, as signatures", signatures, f"{how}; no engine is shown them so"),
        *(figure for name, shares in peers.items() for figure in _references(name, shares, "")),
        _time(times),
    ]


async def _embedder(folder: Path) -> Embedder | None:
    try:
        model = open_embedder("minilm", folder)
        await model.load()
    except (VantaError, KeyError):
        return None
    return model


async def _embed_all(
    settings: Settings, data: ToolData, vectors: Vectors, index: ToolIndex
) -> None:
    """Make all vectors beforehand, so that no ranking waits for them."""
    await index.embed_tools(data.tools, vectors.embed)
    texts = [
        text for question in data.questions for text in (question.text, *clauses_of(question.text))
    ]
    for start in range(0, len(texts), BATCH):
        settings.progress("tools: questions", start, len(texts))
        await vectors.embed(texts[start : start + BATCH])
    await vectors.embed(data.schemas)


async def _ours(
    data: ToolData,
    vectors: Vectors | None,
    index: ToolIndex,
    render: Callable[[Tool], str],
    times: list[float],
) -> ToolShares:
    shares = ToolShares()
    places = {item.name: place for place, item in enumerate(data.tools)}
    embed = vectors.embed if vectors else None

    async def counted(tools: Sequence[Tool]) -> ToolCounts:
        return ToolCounts(0, tuple(count(render(tool)) for tool in tools))

    for question in data.questions:
        for budget in GOALS:
            started = time.perf_counter()
            ranked = await rank_tools(
                question.text,
                data.tools,
                room=budget,
                count=counted,
                embed=embed,
                index=index,
            )
            times.append(1000 * (time.perf_counter() - started))
            _check(ranked, budget, render)
            shares.add(question, budget, {places[item.offered.name] for item in ranked.shown})
    return shares


def _check(ranked: Ranked, budget: int, render: Callable[[Tool], str]) -> None:
    """Check that what is shown fits, counted anew, and that no way to search was left out."""
    text = [render(item.tool) for item in ranked.shown]
    if sum(map(count, text)) > ranked.tokens or ranked.tokens > budget or ranked.note:
        raise RuntimeError(f"{ranked.tokens} of {budget} tokens, {ranked.note!r}")


async def _peers(data: ToolData, vectors: Vectors | None) -> dict[str, ToolShares]:
    """Return the shares of each baseline, with each way to show a tool."""
    words = _Fts(data.schemas)
    short = [render_signature(shorten(item.tool, "bare")) for item in data.tools]
    costs = {_FULL: [count(text) for text in data.schemas], _SHORT: [count(text) for text in short]}
    rows = await vectors.embed(data.schemas) if vectors else None
    names = ["FTS5's bm25()", *(["cosines", "score fusion"] if vectors else [])]
    shares = {f"{name}, {way}": ToolShares() for name in names for way in costs}
    for question in data.questions:
        scores = {names[0]: words.scores(question.text)}
        if vectors and rows is not None:
            (vector,) = await vectors.embed([question.text])
            scores["cosines"] = {place: float(row @ vector) for place, row in enumerate(rows)}
            scores["score fusion"] = _fused(scores[names[0]], scores["cosines"])
        for name, values in scores.items():
            order = sorted(values, key=lambda place: -values[place])[:NEIGHBOURS]
            for way, cost in costs.items():
                for budget in GOALS:
                    shares[f"{name}, {way}"].add(question, budget, _packed(order, cost, budget))
    return shares


class _Fts:
    """The schemas in SQLite's full-text index."""

    def __init__(self, schemas: Sequence[str]) -> None:
        self._database = sqlite3.connect(":memory:")
        self._database.execute("CREATE VIRTUAL TABLE tools USING fts5(text)")
        self._database.executemany(
            "INSERT INTO tools(rowid, text) VALUES (?, ?)", list(enumerate(schemas))
        )

    def scores(self, question: str) -> dict[int, float]:
        """Return bm25 of the tools that share a word with a question."""
        words = dict.fromkeys(re.findall(r"\w+", question.lower()))
        match = " OR ".join(f'"{word}"' for word in words)
        query = "SELECT rowid, -bm25(tools) FROM tools WHERE tools MATCH ?"
        return dict(self._database.execute(query, (match,)).fetchall()) if words else {}


def _fused(words: Mapping[int, float], cosines: Mapping[int, float]) -> dict[int, float]:
    best_words = max(words.values(), default=0.0) or 1.0
    best_cosine = max(cosines.values(), default=0.0) or 1.0
    return {
        place: words.get(place, 0.0) / best_words + cosine / best_cosine
        for place, cosine in cosines.items()
    }


def _packed(order: Sequence[int], cost: Sequence[int], room: int) -> set[int]:
    shown: set[int] = set()
    for place in order:
        if cost[place] <= room:
            room -= cost[place]
            shown.add(place)
    return shown


def _goals(ours: ToolShares, peers: Mapping[str, ToolShares], how: str) -> Iterator[Figure]:
    whole = {name: shares for name, shares in peers.items() if name.endswith(_FULL)}
    for budget, goals in GOALS.items():
        for kind, goal in zip(KINDS, goals, strict=True):
            values = {name: shares.at(budget, kind) or 0.0 for name, shares in whole.items()}
            peer = max(values, key=lambda name: values[name])
            yield Figure(
                name=_figure_name(budget, kind),
                value=ours.at(budget, kind),
                unit="%",
                better="higher",
                goal=goal,
                peer=peer,
                peer_value=values[peer],
                note=f"{how}; held out {ours.at(budget, kind, held_out=True) or 0:.1f}",
            )


def _references(
    name: str, shares: ToolShares, note: str, *, held_out: bool = False
) -> Iterator[Figure]:
    for budget in GOALS:
        for kind in KINDS:
            value = shares.at(budget, kind, held_out=held_out)
            yield Figure(
                name=f"recall: {name}, {kind} at {budget} tokens",
                value=value,
                unit="%",
                better="higher",
                note=note if value is not None else "no such question in a quick run",
            )


def _time(times: Sequence[float]) -> Figure:
    return Figure(
        name="recall: time to rank all tools, median",
        value=percentile(times, 0.5),
        unit="ms",
        goal=RANK_GOAL_MS,
        note=f"p95 {percentile(times, 0.95) or 0:.1f} ms; vectors of the question not included",
    )


def _figure_name(budget: int, kind: str) -> str:
    return f"recall: questions shown all they need within {budget} tokens, {kind}"


def _missing(reason: str) -> list[Figure]:
    return [
        Figure(
            name=_figure_name(budget, kind),
            value=None,
            unit="%",
            better="higher",
            goal=goal,
            note=reason,
        )
        for budget, goals in GOALS.items()
        for kind, goal in zip(KINDS, goals, strict=True)
    ]
