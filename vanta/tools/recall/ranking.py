"""Which tools a question needs, and which of them its track is shown.

The score of a tool is a sum of parts, each relative to the best tool: the words of the question,
its meaning, and the same for the clause of the question that the tool fits best. A question that
needs several tools names them in several clauses, so once a tool is chosen for a clause, other
clauses count more. The shorter of two tools that fit alike comes first, since more of them fit. A
tool that was called a short time ago scores higher; one that was called in this turn always comes
first, since the transcript refers to it.

Invariants: the ranking never breaks a turn: without an embedder, or with one that is slow or
broken, words alone decide; what is shown fits the room, as counted by the caller.
"""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from vanta.context.tool_share import CountTools
from vanta.errors import describe
from vanta.tool_contract import Tool
from vanta.tools.recall.index import Embed, ToolIndex, named, search_terms
from vanta.tools.recall.packing import Detail, pack, pack_whole

if TYPE_CHECKING:
    from vanta.tools.registry import OfferedTool

WORDS, MEANING = 1.0, 0.75
"""Weights of words and meaning, chosen like those of clauses on every other question of
`benchmarks/tools`."""

CLAUSE = 0.5
"""Weight of the best clause, beside 1 for the whole question."""

LENGTH = 0.45
"""Weight of the logarithm of a tool's length: of two tools that fit alike, the room is better spent
on the shorter one."""

CLAUSE_SHARE = 0.5
"""Share of the question's best score by words that a clause's must have to count in full."""

SATISFIED = 0.7
"""Factor of a clause's weight for each tool that is chosen for it."""

RECENT, THIS_TURN = 0.5, 10.0
"""What is added for a tool that was called in the turn before, and for one of this turn."""

LEAST_TOKENS = 8
"""Tokens of the shortest text of a tool, to rank no more tools than may fit."""

CANDIDATES = 128
"""Best tools among which clauses are balanced."""

MAX_CLAUSES = 12
MAX_QUESTION = 8_000
"""Characters of a question that are read: half from its beginning, half from its end."""

EMBED_WAIT_S = 0.25
"""Seconds that a ranking waits for the vectors of a question. Those of tools are made beforehand
by `ToolIndex.embed_tools`; until all are there, words alone decide."""

_CLAUSE_END = re.compile(
    r"(?<=[.?!;:])\s+|[\u3001\u3002\uff01\uff0c\uff1b\uff1f\n]+|,\s+"
    r"|\s+(?:and|then|also|plus|und|dann|sowie|et|puis|y|luego|poi|daarna|och|oraz|potem|ve"
    r"|sonra|\u0438|\u0437\u0430\u0442\u0435\u043c|\u043f\u043e\u0442\u043e\u043c|\uadf8\ub9ac\uace0)\s+",
    re.IGNORECASE,
)
"""Ends of sentences and "and", "then", "also" in the languages whose function words are known."""

FIND_TOOLS = Tool(
    name="find_tools",
    description="Find tools that are not listed.",
    parameters={"type": "object", "properties": {"query": {"type": "string"}}},
    effect="read",
    private=True,
)
"""The tool by which a model finds what was not shown. `find_tools` runs its calls."""


@dataclass(frozen=True, slots=True)
class ScoredTool:
    """A tool, and how well it fits a question.

    :param offered: the tool.
    :param score: its score, the sum of the parts.
    :param parts: the parts of its score, by name.
    """

    offered: OfferedTool
    score: float
    parts: Mapping[str, float]

    @property
    def relevance(self) -> float:
        """The score without the part that the tool's length has in it; 0 if nothing fits."""
        return self.score - self.parts.get("length", 0.0)


@dataclass(frozen=True, slots=True)
class RankedTool:
    """A tool that a track is shown.

    :param offered: the tool as it is offered. Arguments are checked against its schema.
    :param tool: the tool as it is shown: under the name that the model sees, with the description
        and the schema that fit.
    :param score: its score; 0 if all tools fit, so that none was ranked.
    :param parts: the parts of its score, by name.
    :param tokens: tokens of its text.
    :param detail: how much of its schema is shown.
    """

    offered: OfferedTool
    tool: Tool
    score: float = 0.0
    parts: Mapping[str, float] = field(default_factory=dict)
    tokens: int = 0
    detail: Detail = "full"


@dataclass(frozen=True, slots=True)
class Ranked:
    """Which tools a track is shown.

    :param shown: the tools, best first; in the order of the offer if all fit.
    :param hidden: the tools that are not shown, in the order of the offer.
    :param finder: whether `FIND_TOOLS` is to be shown, too, since there are hidden tools.
    :param tokens: tokens of all that is shown, including `FIND_TOOLS`.
    :param note: why meaning took no part, or "".
    """

    shown: tuple[RankedTool, ...]
    hidden: tuple[OfferedTool, ...] = ()
    finder: bool = False
    tokens: int = 0
    note: str = ""


async def rank_tools(
    question: str,
    offered: Sequence[OfferedTool],
    *,
    room: int,
    count: CountTools,
    embed: Embed | None = None,
    recent: Mapping[str, int] | None = None,
    index: ToolIndex | None = None,
) -> Ranked:
    """Return the tools that fit into their share of a prompt, those that the question needs first.

    :param question: the message of the turn.
    :param offered: all tools that the turn may use.
    :param room: tokens for the texts of the tools.
    :param count: returns the tokens of tools in the track's prompt.
    :param embed: returns the vectors of texts, the same function each time; None ranks by words
        alone. A private turn passes the function of an embedder that is private, or None.
    :param recent: for tools that were called, how many turns ago: 0 for this turn. By the name that
        the model sees.
    :param index: keeps words and vectors between turns; None makes a new one.
    """
    index = index or ToolIndex()
    whole = await show_whole(offered, room, count)
    if whole is not None:
        return whole
    best = room // LEAST_TOKENS + CANDIDATES
    scored, note = await score_tools(
        question, offered, embed=embed, recent=recent or {}, index=index, limit=best
    )
    return await show_best(scored, offered, room, count, index, note=note)


async def show_whole(offered: Sequence[OfferedTool], room: int, count: CountTools) -> Ranked | None:
    """Return all tools in full, in the order of the offer, or None if they do not fit.

    :param offered: the tools.
    :param room: tokens for them.
    :param count: returns the tokens of tools.
    """
    opening = (await count([FIND_TOOLS])).opening if offered else 0
    packed = await pack_whole(
        len(offered), room - opening, count, lambda place, _detail: named(offered[place])
    )
    if packed is None:
        return None
    shown = tuple(RankedTool(offered[item.place], item.tool, tokens=item.tokens) for item in packed)
    return Ranked(shown, tokens=opening + sum(item.tokens for item in packed))


async def show_best(
    scored: Sequence[ScoredTool],
    offered: Sequence[OfferedTool],
    room: int,
    count: CountTools,
    index: ToolIndex,
    *,
    needed: int = 0,
    note: str = "",
) -> Ranked:
    """Return the tools that fit, the best ones first and with the most detail.

    :param scored: the tools, best first.
    :param offered: all tools, in the order of the offer.
    :param room: tokens for them.
    :param count: returns the tokens of tools.
    :param index: keeps their forms.
    :param needed: how many of the first ones are shown even if they do not fit.
    :param note: why meaning took no part, or "".
    """
    counts = await count([FIND_TOOLS])
    room -= counts.opening
    finder_tokens = counts.tools[0] if counts.tools[0] <= room // 2 else None
    packed = await pack(
        len(scored),
        room - (finder_tokens or 0),
        count,
        lambda place, detail: index.shown(scored[place].offered, detail),
        needed=needed,
    )
    shown: list[RankedTool] = []
    for item in packed:
        entry = scored[item.place]
        shown.append(
            RankedTool(entry.offered, item.tool, entry.score, entry.parts, item.tokens, item.detail)
        )
    names = {entry.offered.name for entry in shown}
    hidden = tuple(item for item in offered if item.name not in names)
    if not hidden:
        finder_tokens = None
    total = sum(item.tokens for item in packed) + (finder_tokens or 0)
    total += counts.opening if total else 0
    return Ranked(tuple(shown), hidden, finder_tokens is not None, total, note)


async def score_tools(
    question: str,
    offered: Sequence[OfferedTool],
    *,
    embed: Embed | None,
    recent: Mapping[str, int],
    index: ToolIndex,
    limit: int,
) -> tuple[list[ScoredTool], str]:
    """Return the best tools, best first, and why meaning took no part, or "".

    :param question: what is asked.
    :param offered: the tools.
    :param embed: returns the vectors of texts; None ranks by words alone.
    :param recent: turns since tools were called, by name.
    :param index: the words and vectors of the tools.
    :param limit: most tools that are returned.
    """
    texts = [_bounded(question), *clauses_of(_bounded(question))]
    vectors, note = await _vectors(offered, texts, embed, index)

    def rank() -> list[ScoredTool]:
        words = index.words(offered, texts)
        cosines = None if vectors is None else index.cosines(offered, vectors)
        return _scored(offered, words, cosines, recent, index.sizes(offered))[:limit]

    try:
        return await anyio.to_thread.run_sync(rank, abandon_on_cancel=True), note
    except Exception as error:  # an embedder's vectors may have any shape
        if vectors is None:
            raise
        vectors, note = None, f"the embedder failed: {describe(error)}"
    return await anyio.to_thread.run_sync(rank, abandon_on_cancel=True), note


def _scored(
    offered: Sequence[OfferedTool],
    found: Sequence[Sequence[float]],
    cosines: Sequence[Sequence[float]] | None,
    recent: Mapping[str, int],
    sizes: Sequence[int],
) -> list[ScoredTool]:
    """Return the tools, best first.

    :param found: scores by words, of the question and of each clause.
    :param cosines: the same by meaning; None if it takes no part.
    :param recent: turns since tools were called, by name.
    :param sizes: the characters of each tool.
    """
    least = CLAUSE_SHARE * max(found[0], default=0.0)
    words = [_relative(scores, least) for scores in found]
    meanings = [_relative(row) for row in cosines] if cosines else None
    fits = [
        [WORDS * word + MEANING * meaning for word, meaning in zip(*pair, strict=True)]
        for pair in zip(words, meanings or [[0.0] * len(offered)] * len(words), strict=True)
    ]
    bonus = [_bonus(recent.get(item.name)) for item in offered]
    lengths = _lengths(sizes)
    whole = [sum(parts) for parts in zip(fits[0], bonus, lengths, strict=True)]
    order, clauses = _diverse(whole, fits[1:])
    scored: list[ScoredTool] = []
    for place in order:
        parts = {
            "words": WORDS * words[0][place],
            "clause": clauses[place],
            "recent": bonus[place],
            "length": lengths[place],
        }
        if meanings:
            parts["meaning"] = MEANING * meanings[0][place]
        scored.append(ScoredTool(offered[place], sum(parts.values()), parts))
    return scored


def clauses_of(question: str) -> list[str]:
    """Return the clauses of a question that have a word, without repetitions; none if there is only
    one. Of very many the first and the last ones.

    :param question: any text.
    """
    pieces = dict.fromkeys(piece.strip() for piece in _CLAUSE_END.split(question))
    clauses = [piece for piece in pieces if any(map(str.isalpha, search_terms(piece)))]
    if len(clauses) > MAX_CLAUSES:
        clauses = [*clauses[: MAX_CLAUSES // 2], *clauses[-MAX_CLAUSES // 2 :]]
    return clauses if len(clauses) > 1 else []


def _bounded(question: str) -> str:
    if len(question) <= MAX_QUESTION:
        return question
    return f"{question[: MAX_QUESTION // 2]}\n{question[-MAX_QUESTION // 2 :]}"


def _relative(scores: Sequence[float], least: float = 0.0) -> list[float]:
    """Return scores as shares of the best one, or of `least` if that is more; those below 0 are
    0."""
    best = max([least, *scores])
    return [max(0.0, score) / best if best > 0 else 0.0 for score in scores]


def _lengths(sizes: Sequence[int]) -> list[float]:
    """Return what the length of each tool adds to its score: 0 for one of usual length."""
    logs = [math.log(max(1, size)) for size in sizes]
    mean = sum(logs) / len(logs) if logs else 0.0
    return [LENGTH * (mean - log) for log in logs]


def _bonus(age: int | None) -> float:
    if age is None:
        return 0.0
    return THIS_TURN if age <= 0 else RECENT * 0.5 ** min(age - 1, 60)


async def _vectors(
    offered: Sequence[OfferedTool], texts: Sequence[str], embed: Embed | None, index: ToolIndex
) -> tuple[Any, str]:
    """Return the vectors of the texts, or None and the reason."""
    if embed is None:
        return None, ""
    lacking = await anyio.to_thread.run_sync(index.missing, offered, embed, abandon_on_cancel=True)
    if lacking:
        return None, f"{len(lacking)} tools have no vector yet"
    try:
        with anyio.fail_after(EMBED_WAIT_S):
            return await embed(texts), ""
    except TimeoutError:
        return None, f"the embedder took longer than {EMBED_WAIT_S:g} s"
    except Exception as error:  # noqa: BLE001 - an embedder is a plugin and may raise anything
        return None, f"the embedder failed: {describe(error)}"


def _diverse(
    whole: Sequence[float], clauses: Sequence[Sequence[float]]
) -> tuple[list[int], list[float]]:
    """Return the places of the tools, best first, and the part of each score that is its clause's.

    The weight of a clause falls with each tool that is chosen for it. Weights only fall, so a heap
    of earlier scores has the next best tool at its top once that score is up to date.
    """
    own = [0] * len(whole)
    fit = [0.0] * len(whole)
    for number, scores in enumerate(clauses):
        for place, score in enumerate(scores):
            if score > fit[place]:
                own[place], fit[place] = number, score
    weights = [CLAUSE] * len(clauses)
    plain = [score + CLAUSE * best for score, best in zip(whole, fit, strict=True)]
    order = sorted(range(len(whole)), key=lambda place: -plain[place])
    heap = [(-plain[place], place) for place in order[:CANDIDATES]]
    chosen: list[int] = []
    parts = [CLAUSE * best for best in fit]
    while heap:
        before, place = heapq.heappop(heap)
        rows = zip(weights, clauses, strict=True)
        part = max((weight * row[place] for weight, row in rows), default=0.0)
        now = -(whole[place] + part)
        if heap and now > before and now > heap[0][0]:
            heapq.heappush(heap, (now, place))
            continue
        chosen.append(place)
        parts[place] = part
        if fit[place] > 0:
            weights[own[place]] *= SATISFIED
    return chosen + order[CANDIDATES:], parts
