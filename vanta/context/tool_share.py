"""The tools of a prompt: their share of it, their tokens, and what chooses among them.

A track's tools are counted as its own tokens of the JSON that engines and chat templates write, and
what a chat format puts around each. Invariant: tools that a request needs (a forced one, those that
were called in the turn) are always shown; the others only within their share.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from vanta.context.token_cache import token_cache_of
from vanta.engine import Engine, Tool
from vanta.trace import ToolsTrace, ToolTrace

PER_TOOL = 8
"""Tokens that a chat format puts around the schema of a tool."""

CountTools = Callable[[Sequence[Tool]], Awaitable[Sequence[int]]]
"""Returns the tokens of each tool in a track's prompt."""


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
        ToolTrace(name=tool.name, tokens=tokens) for tool, tokens in zip(tools, counts, strict=True)
    )
    trace = ToolsTrace(offered=len(tools), tokens=sum(counts), room=room, shown=shown)
    return ShownTools(tuple(tools), sum(counts), trace)


async def count_tools(engine: Engine, tools: Sequence[Tool]) -> list[int]:
    """Return the tokens of each tool in an engine's prompt. Each text is counted once.

    :param engine: the engine that counts.
    :param tools: the tools.
    :raises EngineError: if the engine cannot count.
    """
    counts = await token_cache_of(engine).texts(engine, [described(tool) for tool in tools])
    return [tokens + PER_TOOL for tokens in counts]


def described(tool: Tool) -> str:
    """Return the text by which the tokens of a tool are counted: the JSON that engines send and
    most chat templates write.

    :param tool: the tool.
    """
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
    }
    return json.dumps({"type": "function", "function": function}, ensure_ascii=False, default=str)
