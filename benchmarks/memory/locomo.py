"""Recall of evidence in long conversations (LoCoMo) within a token budget.

Each conversation is the memory of one user in a real store. Each question is recalled, ranked and
packed like the message of a turn. The figure is the share of the turns with evidence that are
completely in the packed block, averaged over the questions of categories 1 to 4 that name evidence.
Photos are not described. Nearest neighbours are exact. All figures are taken twice (`FORMS`): with
the speakers' names in the texts, which all rankings see, and as a session of a user and an
assistant, in which most names of the questions do not occur. Invariant: a conversation is scored
with weights that are fitted on the other conversations; the built-in weights are shown for
reference only.

The baselines of the same run are packed by the same code in the order of their ranking: the most
recent turns; SQLite's own `bm25()`; the cosine alone; reciprocal rank fusion of both; and a plain
fusion of scores (both divided by their maximum, half the cosine with the turn before, and 0.3 of
the scores of adjacent turns).
"""

from __future__ import annotations

import functools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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

from ..report import Figure, Settings, data_file, missing_data, percentile
from .conversations import (
    FILE,
    FORMS,
    USER,
    Dialogue,
    LocomoQuestion,
    close_dialogues,
    open_dialogues,
)
from .relevance import Retrieve, relevance_figures
from .weights import LabelledQuestion, fit

GOALS = {512: 78.0, 1024: 85.0, 2048: 90.0}
MULTI_HOP, MULTI_HOP_GOAL = 1, 65.0
CHOOSE_GOAL_MS = 5.0


Count = Callable[[str], int]
Order = Callable[[Dialogue, LocomoQuestion], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Retrieval:
    """A question, its candidates, and their features."""

    dialogue: Dialogue
    question: LocomoQuestion
    candidates: Sequence[RecallCandidate]
    labelled: LabelledQuestion


@dataclass(slots=True)
class Recall:
    """The shares of recalled evidence, by budget and category."""

    shares: dict[int, dict[int, list[float]]] = field(
        default_factory=lambda: {budget: {} for budget in GOALS}
    )

    def add(self, question: LocomoQuestion, budget: int, chosen: Sequence[int]) -> None:
        """Add the items that were packed for a question within a budget."""
        share = len(question.evidence & set(chosen)) / len(question.evidence)
        self.shares[budget].setdefault(question.category, []).append(share)

    def at(self, budget: int, category: int | None = None) -> float:
        """Return the mean in percent, over all questions or those of one category."""
        by_category = self.shares[budget]
        categories = by_category if category is None else (category,)
        shares = [share for key in categories for share in by_category.get(key, ())]
        return 100 * statistics.fmean(shares)


def figures(settings: Settings) -> list[Figure]:
    """Return all figures; those that cannot be measured state the reason.

    A quick run uses words alone, because embedding takes a minute.
    """
    path = data_file(FILE)
    if path is None:
        return [figure for name in FORMS for figure in _of_form(name, _missing(missing_data(FILE)))]
    count, counter = _counter()
    rows = json.loads(path.read_text("utf-8"))
    shown: list[Figure] = []
    last: list[Figure] = []
    for name, form in FORMS.items():
        with tempfile.TemporaryDirectory() as folder:
            dialogues = anyio.run(open_dialogues, settings, rows, Path(folder), form)
            try:
                _set_costs(dialogues, count)
                taken = [*_measured(settings, dialogues, counter), *_relevant(dialogues)]
                shown += _of_form(name, taken)
                last = [_selection_time(dialogues)]
            finally:
                anyio.run(close_dialogues, dialogues)
    return [*shown, *last]


def _of_form(name: str, figures: Sequence[Figure]) -> list[Figure]:
    """Return figures under names that state the form of the conversations."""
    return [
        replace(figure, name=figure.name.replace("locomo:", f"locomo, {name}:", 1))
        for figure in figures
    ]


def _measured(settings: Settings, dialogues: list[Dialogue], counter: str) -> list[Figure]:
    words = _held_out(_retrieve(dialogues, dense=False), LEXICAL_WEIGHTS)
    ranked = {"the most recent turns": _recent, "FTS5's bm25() alone": _fts}
    if dialogues[0].vectors is None:
        reason = "a quick run embeds nothing" if settings.quick else "no minilm: see vanta doctor"
        shown = [*_missing(reason), *_references("by words alone, held out", words, counter)]
    else:
        ranked |= {"cosines alone": _dense, "rank fusion": _fused_ranks, "score fusion": _fused}
        retrievals = _retrieve(dialogues, dense=True)
        best = _packed(dialogues, _fused)
        shown = _goals(_held_out(retrievals, HYBRID_WEIGHTS), best, dialogues, counter)
        shipped = _scored(
            retrievals, dict.fromkeys((dialogue.name for dialogue in dialogues), HYBRID_WEIGHTS)
        )
        shown += _references("by words alone, held out", words, counter)
        shown += _references("weights as shipped, fitted on these", shipped, counter)
    for name, order in ranked.items():
        shown += _references(name, _packed(dialogues, order), counter)
    return shown


def _relevant(dialogues: Sequence[Dialogue]) -> list[Figure]:
    """Return what is shown of what is recalled, by words and, with vectors, by meaning."""

    def retrieve(dense: bool) -> Retrieve:
        def find(dialogue: Dialogue, question: LocomoQuestion) -> list[RecallCandidate]:
            search = functools.partial(
                _candidates, dialogue=dialogue, question=question, dense=dense
            )
            found: list[RecallCandidate] = anyio.run(dialogue.store.transact, search)
            return found

        return find

    figures = list(relevance_figures(dialogues, retrieve(False), "by words"))
    if dialogues[0].vectors is not None:
        figures += relevance_figures(dialogues, retrieve(True), "by meaning")
    return figures


def _retrieve(dialogues: Sequence[Dialogue], *, dense: bool) -> list[Retrieval]:
    """Return the retrieval of every question."""
    retrievals: list[Retrieval] = []
    for dialogue in dialogues:
        for question in dialogue.questions:
            search = functools.partial(
                _candidates, dialogue=dialogue, question=question, dense=dense
            )
            candidates = anyio.run(dialogue.store.transact, search)
            rows = features(candidates, question.text, dialogue.now)
            ids = [candidate.item.id for candidate in candidates]
            retrievals.append(
                Retrieval(
                    dialogue, question, candidates, LabelledQuestion(ids, rows, question.evidence)
                )
            )
    return retrievals


def _candidates(
    connection: Any, dialogue: Dialogue, question: LocomoQuestion, *, dense: bool
) -> list[RecallCandidate]:
    return find_candidates(
        connection,
        Scope(USER),
        Filters(),
        question.text,
        query_vector=question.vector if dense else None,
        embedder=dialogue.fingerprint if dense else None,
        neighbour_ids=_dense(dialogue, question)[:NEIGHBOURS] if dense else (),
        unrelated=dialogue.unrelated if dense else None,
        now=dialogue.now,
    )


def _held_out(retrievals: Sequence[Retrieval], names: Mapping[str, float]) -> Recall:
    """Score each conversation with weights from the others."""
    weights = {
        name: fit([item.labelled for item in retrievals if item.dialogue.name != name], list(names))
        for name in {item.dialogue.name for item in retrievals}
    }
    return _scored(retrievals, weights)


def _scored(retrievals: Sequence[Retrieval], weights: Mapping[str, Mapping[str, float]]) -> Recall:
    recall = Recall()
    for item in retrievals:
        dialogue, question = item.dialogue, item.question
        ranked = rank(
            item.candidates, question.text, dialogue.now, RECALL_LIMIT, weights[dialogue.name]
        )
        for budget in GOALS:
            chosen = select_within_budget(ranked, budget, dialogue.cost, dialogue.header_cost)
            recall.add(question, budget, [recalled.item.id for recalled in chosen])
    return recall


def _packed(dialogues: Sequence[Dialogue], order: Order) -> Recall:
    """Return the recall of a baseline: items in its order, as far as they fit."""
    recall = Recall()
    for dialogue in dialogues:
        for question in dialogue.questions:
            ranked = order(dialogue, question)
            for budget in GOALS:
                recall.add(question, budget, _in_order(dialogue, ranked, budget))
    return recall


def _in_order(dialogue: Dialogue, ranked: Sequence[int], budget: int) -> list[int]:
    packed: list[int] = []
    days: set[str] = set()
    for key in ranked:
        day = day_of(dialogue.items[key])
        cost = dialogue.costs[key] + (0 if day in days else dialogue.header_cost)
        if cost <= budget:
            budget -= cost
            days.add(day)
            packed.append(key)
    return packed


def _recent(dialogue: Dialogue, _question: LocomoQuestion) -> list[int]:
    return sorted(dialogue.items, reverse=True)


def _fts_scores(dialogue: Dialogue, question: LocomoQuestion) -> dict[int, float]:
    words = query_terms(question.text)
    scope = scope_expression(Scope(USER), private=False)
    query = (
        "SELECT rowid, -bm25(memories_fts) FROM memories_fts WHERE memories_fts MATCH ? "
        "ORDER BY rank"
    )
    if not words:
        return {}

    def search(connection: Any) -> list[Any]:
        result = connection.exec_driver_sql(query, (match_expression(scope, [words]),))
        return list(result.all())

    return {row[0]: row[1] for row in anyio.run(dialogue.store.transact, search)}


def _fts(dialogue: Dialogue, question: LocomoQuestion) -> list[int]:
    return list(_fts_scores(dialogue, question))


def _dense(dialogue: Dialogue, question: LocomoQuestion) -> list[int]:
    return [int(row) + 1 for row in (-(dialogue.vectors @ question.vector)).argsort(kind="stable")]


def _fused_ranks(dialogue: Dialogue, question: LocomoQuestion) -> list[int]:
    scores: dict[int, float] = {}
    for ranked in (_fts(dialogue, question), _dense(dialogue, question)):
        for position, key in enumerate(ranked):
            scores[key] = scores.get(key, 0.0) + 1 / (61 + position)
    return sorted(scores, key=lambda key: (-scores[key], -key))


def _fused(dialogue: Dialogue, question: LocomoQuestion) -> list[int]:
    import numpy as np

    words = np.zeros(len(dialogue.items))
    for key, score in _fts_scores(dialogue, question).items():
        words[key - 1] = score
    sessions = [dialogue.items[key].session for key in sorted(dialogue.items)]
    follows = np.array([False, *(a == b for a, b in pairwise(sessions))])
    both = dialogue.vectors.copy()
    both[1:] += dialogue.vectors[:-1] * follows[1:, None]
    both /= np.linalg.norm(both, axis=1, keepdims=True)
    similarity, pair_similarity = dialogue.vectors @ question.vector, both @ question.vector
    own = words / (words.max() or 1.0) + similarity / similarity.max()
    own += 0.5 * pair_similarity / pair_similarity.max()
    scores = own.copy()
    scores[1:] += 0.3 * own[:-1] * follows[1:]
    scores[:-1] += 0.3 * own[1:] * follows[1:]
    return [int(row) + 1 for row in (-scores).argsort(kind="stable")]


def _goals(ours: Recall, peer: Recall, dialogues: Sequence[Dialogue], counter: str) -> list[Figure]:
    count = sum(len(dialogue.questions) for dialogue in dialogues)
    note = (
        f"held out: weights fitted on the other {len(dialogues) - 1} of {len(dialogues)} "
        f"conversations; {count} questions of categories 1 to 4, {counter}"
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
        by_category = ", ".join(f"category {kind} {value:.1f}" for kind, value in kinds)
        shown.append(
            Figure(
                name=f"locomo: {name}, at {budget} tokens",
                value=recall.at(budget),
                unit="%",
                better="higher",
                note=f"{by_category}; {counter}",
            )
        )
    return shown


def _selection_time(dialogues: Sequence[Dialogue]) -> Figure:
    """Measure the selection within a budget among 500 items."""
    dialogue = max(dialogues, key=lambda dialogue: len(dialogue.items))
    items = list(dialogue.items.values())[:500]
    ranked = [RecalledItem(item, (item.id * 7919 % 997) / 100) for item in items]
    durations_ms: list[float] = []
    for _ in range(50):
        began = time.perf_counter()
        select_within_budget(ranked, 2048, dialogue.cost, dialogue.header_cost)
        durations_ms.append((time.perf_counter() - began) * 1000)
    return Figure(
        name=f"choosing among {len(ranked)} recalled items, median",
        value=percentile(durations_ms, 0.5),
        unit="ms",
        goal=CHOOSE_GOAL_MS,
        note="a budget of 2,048 tokens; the costs are known",
    )


def _missing(reason: str) -> list[Figure]:
    shown = [
        Figure(
            name=f"locomo: evidence recalled at {budget} tokens",
            value=None,
            unit="%",
            better="higher",
            goal=goal,
            note=reason,
        )
        for budget, goal in GOALS.items()
    ]
    last = Figure(
        name="locomo: multi-hop evidence recalled at 1024 tokens",
        value=None,
        unit="%",
        better="higher",
        goal=MULTI_HOP_GOAL,
        note=reason,
    )
    return [*shown, last]


def _set_costs(dialogues: Sequence[Dialogue], count: Count) -> None:
    """Set the tokens of each line, and of the longest header."""
    for dialogue in dialogues:
        dialogue.costs = {
            key: count(render_line(item) + "\n") for key, item in dialogue.items.items()
        }
        days = {day_of(item) for item in dialogue.items.values()}
        dialogue.header_cost = max(count(render_header(day) + "\n") for day in days)


def _counter() -> tuple[Count, str]:
    """Return the token counter: o200k if its ranks are on disk, otherwise the estimate."""
    from vanta_openai.token_counting import RanksNotFoundError, encoding_of

    try:
        encoding = encoding_of("gpt-4o")
    except RanksNotFoundError as error:
        return estimate_text, f"tokens as estimated by vanta, with a margin ({error})"
    return lambda text: len(encoding.encode_ordinary(text)), "tokens of o200k_base"
