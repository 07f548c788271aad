"""Recall of evidence in long conversations (LoCoMo), at a budget of tokens.

Each conversation is one user's memory, in a real store; each question recalls, ranks and packs as a
turn does (`retrieval`, `ranking`, `choosing`, `rendering`), and what counts is the share of the
turns with the evidence that are in the packed block as a whole: the mean over the questions of the
categories 1 to 4 that name evidence. Photos are not described: a turn is the words that were said.
Nearest neighbours are exact. Invariant: the weights that a conversation is scored with are fitted
on the other conversations; those that ship are fitted on all, and are shown for reference only.

Baselines, in the same run and packed by the same code in the order of their ranking: the most
recent turns; SQLite's own `bm25()`; the cosine alone; reciprocal rank fusion of both; and a plain
fusion of scores (both over their maximum, half the cosine with the turn before, 0.3 of the
neighbours' scores).
"""

from __future__ import annotations

import functools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio

from vanta.context import estimate_text
from vanta.memory import (
    Filters,
    RecalledItem,
    Scope,
    day_of,
    render_header,
    render_line,
    select_within_budget,
)
from vanta.memory.search import (
    HYBRID_WEIGHTS,
    LEXICAL_WEIGHTS,
    NEIGHBOURS,
    RECALL_LIMIT,
    RecallCandidate,
    features,
    find_candidates,
    match_expression,
    query_terms,
    rank,
    scope_expression,
)

from .memory_fit import Labelled, fit
from .memory_talks import FILE, USER, Asked, Talk, close_talks, data_file, open_talks
from .report import Figure, percentile
from .settings import Settings

GOALS = {512: 78.0, 1024: 85.0, 2048: 90.0}
MULTI_HOP, MULTI_HOP_GOAL = 1, 65.0
CHOOSE_GOAL_MS = 5.0


Count = Callable[[str], int]
Order = Callable[[Talk, Asked], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Tried:
    """A question, what was retrieved for it, and its features."""

    talk: Talk
    asked: Asked
    candidates: Sequence[RecallCandidate]
    labelled: Labelled


@dataclass(slots=True)
class Recall:
    """BudgetShares of evidence found, by budget and category."""

    shares: dict[int, dict[int, list[float]]] = field(
        default_factory=lambda: {budget: {} for budget in GOALS}
    )

    def note(self, asked: Asked, budget: int, chosen: Sequence[int]) -> None:
        """A question at a budget, and what was packed for it."""
        share = len(asked.evidence & set(chosen)) / len(asked.evidence)
        self.shares[budget].setdefault(asked.category, []).append(share)

    def at(self, budget: int, category: int | None = None) -> float:
        """The mean in per cent, over all questions or those of one category."""
        by_category = self.shares[budget]
        wanted = by_category if category is None else (category,)
        return 100 * statistics.fmean(x for one in wanted for x in by_category.get(one, ()))


def figures(settings: Settings) -> list[Figure]:
    """All of them; those that cannot be taken say why. A quick run is by words alone, since
    embedding takes a minute."""
    path = data_file()
    if path is None:
        return _missing(f"{FILE} is not there: name its folder in VANTA_BENCH_DATA")
    count, counter = _counter()
    with tempfile.TemporaryDirectory() as folder:
        told = json.loads(path.read_text("utf-8"))
        talks = anyio.run(open_talks, settings, told, Path(folder))
        try:
            _price(talks, count)
            return [*_measured(settings, talks, counter), _choosing(talks)]
        finally:
            anyio.run(close_talks, talks)


def _measured(settings: Settings, talks: list[Talk], counter: str) -> list[Figure]:
    words = _held_out(_tried(talks, dense=False), LEXICAL_WEIGHTS)
    ranked = {"the most recent turns": _recent, "FTS5's bm25() alone": _fts}
    if talks[0].vectors is None:
        why = "a quick run embeds nothing" if settings.quick else "no minilm: see vanta doctor"
        shown = [*_missing(why), *_references("by words alone, held out", words, counter)]
    else:
        ranked |= {"cosines alone": _dense, "rank fusion": _fused_ranks, "score fusion": _fused}
        tried = _tried(talks, dense=True)
        best = _packed(talks, _fused)
        shown = _goals(_held_out(tried, HYBRID_WEIGHTS), best, talks, counter)
        shipped = _scored(tried, dict.fromkeys((talk.name for talk in talks), HYBRID_WEIGHTS))
        shown += _references("by words alone, held out", words, counter)
        shown += _references("weights as shipped, fitted on these", shipped, counter)
    for name, order in ranked.items():
        shown += _references(name, _packed(talks, order), counter)
    return shown


def _tried(talks: Sequence[Talk], *, dense: bool) -> list[Tried]:
    """What retrieval gives for every question."""
    found: list[Tried] = []
    for talk in talks:
        for asked in talk.questions:
            look = functools.partial(_candidates, talk=talk, asked=asked, dense=dense)
            candidates = anyio.run(talk.store.transact, look)
            told = features(candidates, asked.text, talk.now)
            ids = [candidate.item.id for candidate in candidates]
            found.append(Tried(talk, asked, candidates, Labelled(ids, told, asked.evidence)))
    return found


def _candidates(connection: Any, talk: Talk, asked: Asked, *, dense: bool) -> list[RecallCandidate]:
    return find_candidates(
        connection,
        Scope(USER),
        Filters(),
        asked.text,
        query_vector=asked.vector if dense else None,
        embedder=talk.fingerprint if dense else None,
        neighbour_ids=_dense(talk, asked)[:NEIGHBOURS] if dense else (),
        now=talk.now,
    )


def _held_out(tried: Sequence[Tried], names: Mapping[str, float]) -> Recall:
    """Each conversation with weights from the others."""
    weights = {
        held: fit([one.labelled for one in tried if one.talk.name != held], list(names))
        for held in {one.talk.name for one in tried}
    }
    return _scored(tried, weights)


def _scored(tried: Sequence[Tried], weights: Mapping[str, Mapping[str, float]]) -> Recall:
    recall = Recall()
    for one in tried:
        talk = one.talk
        ranked = rank(one.candidates, one.asked.text, talk.now, RECALL_LIMIT, weights[talk.name])
        for budget in GOALS:
            chosen = select_within_budget(ranked, budget, talk.cost, talk.header_cost)
            recall.note(one.asked, budget, [recalled.item.id for recalled in chosen])
    return recall


def _packed(talks: Sequence[Talk], order: Order) -> Recall:
    """A baseline: items in its order, as far as they fit."""
    recall = Recall()
    for talk in talks:
        for asked in talk.questions:
            ranked = order(talk, asked)
            for budget in GOALS:
                recall.note(asked, budget, _in_order(talk, ranked, budget))
    return recall


def _in_order(talk: Talk, ranked: Sequence[int], budget: int) -> list[int]:
    taken: list[int] = []
    days: set[str] = set()
    for key in ranked:
        when = day_of(talk.items[key])
        price = talk.costs[key] + (0 if when in days else talk.header_cost)
        if price <= budget:
            budget -= price
            days.add(when)
            taken.append(key)
    return taken


def _recent(talk: Talk, _asked: Asked) -> list[int]:
    return sorted(talk.items, reverse=True)


def _fts_scores(talk: Talk, asked: Asked) -> dict[int, float]:
    words = query_terms(asked.text)
    part = scope_expression(Scope(USER), private=False)
    told = (
        "SELECT rowid, -bm25(memories_fts) FROM memories_fts WHERE memories_fts MATCH ? "
        "ORDER BY rank"
    )
    if not words:
        return {}

    def look(connection: Any) -> list[Any]:
        found = connection.exec_driver_sql(told, (match_expression(part, [words]),))
        return list(found.all())

    return {row[0]: row[1] for row in anyio.run(talk.store.transact, look)}


def _fts(talk: Talk, asked: Asked) -> list[int]:
    return list(_fts_scores(talk, asked))


def _dense(talk: Talk, asked: Asked) -> list[int]:
    return [int(row) + 1 for row in (-(talk.vectors @ asked.vector)).argsort(kind="stable")]


def _fused_ranks(talk: Talk, asked: Asked) -> list[int]:
    scores: dict[int, float] = {}
    for ranked in (_fts(talk, asked), _dense(talk, asked)):
        for place, key in enumerate(ranked):
            scores[key] = scores.get(key, 0.0) + 1 / (61 + place)
    return sorted(scores, key=lambda key: (-scores[key], -key))


def _fused(talk: Talk, asked: Asked) -> list[int]:
    import numpy as np

    words = np.zeros(len(talk.items))
    for key, score in _fts_scores(talk, asked).items():
        words[key - 1] = score
    sessions = [talk.items[key].session for key in sorted(talk.items)]
    follows = np.array([False, *(a == b for a, b in pairwise(sessions))])
    both = talk.vectors.copy()
    both[1:] += talk.vectors[:-1] * follows[1:, None]
    both /= np.linalg.norm(both, axis=1, keepdims=True)
    near, pairs = talk.vectors @ asked.vector, both @ asked.vector
    own = words / (words.max() or 1.0) + near / near.max() + 0.5 * pairs / pairs.max()
    scores = own.copy()
    scores[1:] += 0.3 * own[:-1] * follows[1:]
    scores[:-1] += 0.3 * own[1:] * follows[1:]
    return [int(row) + 1 for row in (-scores).argsort(kind="stable")]


def _goals(ours: Recall, peer: Recall, talks: Sequence[Talk], counter: str) -> list[Figure]:
    asked = sum(len(talk.questions) for talk in talks)
    note = (
        f"held out: weights fitted on the other {len(talks) - 1} of {len(talks)} conversations; "
        f"{asked} questions of categories 1 to 4, {counter}"
    )
    shown = [
        _figure(f"locomo: evidence recalled at {budget} tokens", ours.at(budget), goal, note, peer)
        for budget, goal in GOALS.items()
    ]
    for budget in GOALS:
        goal = MULTI_HOP_GOAL if budget == 1024 else None
        value, theirs = ours.at(budget, MULTI_HOP), peer.at(budget, MULTI_HOP)
        name = f"locomo: multi-hop evidence recalled at {budget} tokens"
        shown.append(_figure(name, value, goal, note, theirs))
    return shown


def _figure(name: str, value: float, goal: float | None, note: str, peer: Recall | float) -> Figure:
    budget = int(name.split()[-2])
    return Figure(
        name=name,
        value=value,
        unit="%",
        better="higher",
        goal=goal,
        peer="score fusion, untuned",
        peer_value=peer if isinstance(peer, float) else peer.at(budget),
        note=note,
    )


def _references(name: str, recall: Recall, counter: str) -> list[Figure]:
    shown = []
    for budget in GOALS:
        kinds = ((kind, recall.at(budget, kind)) for kind in sorted(recall.shares[budget]))
        each = ", ".join(f"category {kind} {value:.1f}" for kind, value in kinds)
        shown.append(
            Figure(
                name=f"locomo: {name}, at {budget} tokens",
                value=recall.at(budget),
                unit="%",
                better="higher",
                note=f"{each}; {counter}",
            )
        )
    return shown


def _choosing(talks: Sequence[Talk]) -> Figure:
    """How long `choose` takes among 500."""
    talk = max(talks, key=lambda one: len(one.items))
    items = list(talk.items.values())[:500]
    ranked = [RecalledItem(item, (item.id * 7919 % 997) / 100) for item in items]
    took: list[float] = []
    for _ in range(50):
        began = time.perf_counter()
        select_within_budget(ranked, 2048, talk.cost, talk.header_cost)
        took.append((time.perf_counter() - began) * 1000)
    return Figure(
        name=f"choosing among {len(ranked)} recalled items, median",
        value=percentile(took, 0.5),
        unit="ms",
        goal=CHOOSE_GOAL_MS,
        note="a budget of 2,048 tokens; costs are known",
    )


def _missing(why: str) -> list[Figure]:
    shown = [
        Figure(
            name=f"locomo: evidence recalled at {budget} tokens",
            value=None,
            unit="%",
            better="higher",
            goal=goal,
            note=why,
        )
        for budget, goal in GOALS.items()
    ]
    name = "locomo: multi-hop evidence recalled at 1024 tokens"
    last = Figure(name=name, value=None, unit="%", better="higher", goal=MULTI_HOP_GOAL, note=why)
    return [*shown, last]


def _price(talks: Sequence[Talk], count: Count) -> None:
    """The tokens of each line, and of the longest header."""
    for talk in talks:
        talk.costs = {key: count(render_line(item) + "\n") for key, item in talk.items.items()}
        days = {day_of(item) for item in talk.items.values()}
        talk.header_cost = max(count(render_header(one) + "\n") for one in days)


def _counter() -> tuple[Count, str]:
    """Who counts tokens: o200k where its ranks are on disk, else the estimator high."""
    from vanta_openai.token_counting import RanksNotFoundError, encoding_of

    try:
        encoding = encoding_of("gpt-4o")
    except RanksNotFoundError as error:
        return estimate_text, f"tokens as vanta estimates them, on the high side ({error})"
    return lambda text: len(encoding.encode_ordinary(text)), "tokens of o200k_base"
