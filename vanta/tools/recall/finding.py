"""The call of `find_tools`: a model looks for tools that it was not shown.

Invariant: the result names only tools that the turn may use, and every tool that it names can be
called afterwards.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vanta.tool_contract import ToolResult
from vanta.tools.recall.index import Embed, ToolIndex
from vanta.tools.recall.packing import first_sentences, render_signature
from vanta.tools.recall.ranking import ScoredTool, score_tools

if TYPE_CHECKING:
    from vanta.tools.registry import OfferedTool

FOUND_TOOLS = 8
"""Tools that one call of `find_tools` adds."""

WEAK = 0.3
"""Share of the best tool's score under which a tool is not added."""

LEAST_RELEVANCE = 1e-6
"""Relevance below which nothing of a tool fits: sums of parts are not exact."""

LISTED_TOOLS = 100
"""Names of tools that a call without a query lists."""

_LISTED_TOOLSETS = 20


@dataclass(frozen=True, slots=True)
class FoundTools:
    """What a call of `find_tools` gave.

    :param result: what the model reads: the signatures of the tools that were found.
    :param added: the tools that are to be shown from now on, best first. Count them as called in
        this turn (`recent` of `rank_tools`), so that they stay.
    """

    result: ToolResult
    added: tuple[OfferedTool, ...] = ()


async def find_tools(
    query: str,
    offered: Sequence[OfferedTool],
    *,
    shown: Collection[str] = (),
    embed: Embed | None = None,
    index: ToolIndex | None = None,
    limit: int = FOUND_TOOLS,
) -> FoundTools:
    """Return the hidden tools that fit a query best; without a query, a list of their names.

    :param query: what the tool should do; "" adds none.
    :param offered: all tools that the turn may use.
    :param shown: names of tools that the model has already.
    :param embed: returns the vectors of texts; None searches by words alone.
    :param index: keeps words and vectors between turns; None makes a new one.
    :param limit: most tools that are added.
    """
    index = index or ToolIndex()
    hidden = [item for item in offered if item.name not in shown]
    if not query.strip():
        return FoundTools(ToolResult(_listed(hidden)))
    ranked, _ = await score_tools(
        query, offered, embed=embed, recent={}, index=index, limit=len(shown) + 4 * limit
    )
    known = [entry.offered.name for entry in _good(ranked) if entry.offered.name in shown]
    found = [entry for entry in _good(ranked) if entry.offered.name not in shown][:limit]
    if not found:
        return FoundTools(ToolResult(_nothing(query, hidden, known)))
    lines = [render_signature(index.shown(entry.offered, "brief")).rstrip() for entry in found]
    text = "These tools were added and can be called now:\n" + "\n".join(lines)
    names = [entry.offered.name for entry in found]
    return FoundTools(ToolResult(text, {"added": names}), tuple(entry.offered for entry in found))


def _good(ranked: Sequence[ScoredTool]) -> list[ScoredTool]:
    """Return the tools that are not much worse than the best one."""
    best = max((entry.relevance for entry in ranked), default=0.0)
    least = max(WEAK * best, LEAST_RELEVANCE)
    return [entry for entry in ranked if entry.relevance >= least]


def _listed(hidden: Sequence[OfferedTool]) -> str:
    """Return the names of the hidden tools, a line for each toolset."""
    if not hidden:
        return "There are no other tools."
    toolsets: dict[str, list[str]] = {}
    for item in hidden[:LISTED_TOOLS]:
        toolsets.setdefault(item.toolset, []).append(item.name)
    lines = [f"{toolset}: {', '.join(names)}" for toolset, names in toolsets.items()]
    more = len(hidden) - LISTED_TOOLS
    rest = [f"and {more} more"] if more > 0 else []
    head = "Call find_tools with a query, what the tool should do, to add some of these tools:"
    return "\n".join([head, *lines, *rest])


def _nothing(query: str, hidden: Sequence[OfferedTool], known: Sequence[str]) -> str:
    """Return what the model reads if nothing was added."""
    shown = first_sentences(query, 80)
    if known:
        return f"No other tool fits {shown!r}; you have {', '.join(known[:FOUND_TOOLS])} already."
    if not hidden:
        return "There are no other tools."
    toolsets = sorted({item.toolset for item in hidden})[:_LISTED_TOOLSETS]
    return (
        f"No tool fits {shown!r}. Try other words, in English; the {len(hidden)} other tools are "
        f"of the toolsets {', '.join(toolsets)}."
    )
