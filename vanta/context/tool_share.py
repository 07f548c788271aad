"""The tools of a prompt: their share of it, their tokens, and what chooses among them.

Tools are counted in a track's own tokens as its engine writes them (`Engine.count_tools`).
Invariant: tools that a request needs (a forced one, those that were called in the turn) are always
shown; the others only within their share.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from vanta.engine import Tool
from vanta.tool_contract import ToolCounts
from vanta.trace import ToolsTrace, ToolTrace

CountTools = Callable[[Sequence[Tool]], Awaitable[ToolCounts]]
"""Returns the tokens of tools in a track's prompt. Cheap for tools that it has counted before."""


@dataclass(frozen=True, slots=True)
class ShownTools:
    """The tools of one request.

    :param tools: the tools as the model sees them.
    :param tokens: their tokens.
    :param trace: what was shown and why, for the turn's trace; None without tools.
    :param is_least: whether none of them could be left out.
    """

    tools: tuple[Tool, ...] = ()
    tokens: int = 0
    trace: ToolsTrace | None = None
    is_least: bool = True


NO_TOOLS_SHOWN = ShownTools()


class ToolChooser(Protocol):
    """Chooses the tools that a track is shown; see `vanta.tools.recall.ToolRecall`."""

    async def choose(
        self,
        track: str,
        tools: Sequence[Tool],
        *,
        needed: Collection[str],
        room: int | None,
        count: CountTools,
    ) -> ShownTools:
        """Return the tools of a request: all of them if they fit.

        :param track: the name of the track.
        :param tools: the tools that the request may have.
        :param needed: names of those that are shown even if they do not fit.
        :param room: tokens for all of them; None if the window is not known.
        :param count: returns the tokens of tools in this track's prompt.
        """
        ...


async def all_tools(tools: Sequence[Tool], room: int | None, count: CountTools) -> ShownTools:
    """Return all tools, whether they fit or not: the choice of a turn that cannot choose.

    :param tools: the tools.
    :param room: tokens for them, for the trace.
    :param count: returns their tokens.
    """
    if not tools:
        return NO_TOOLS_SHOWN
    counts = await count(tools)
    shown = tuple(
        ToolTrace(name=tool.name, tokens=tokens)
        for tool, tokens in zip(tools, counts.tools, strict=True)
    )
    tokens = counts.opening + sum(counts.tools)
    trace = ToolsTrace(offered=len(tools), tokens=tokens, room=room, shown=shown)
    return ShownTools(tuple(tools), tokens, trace)
