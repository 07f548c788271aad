"""Which of many tools a question needs, and how their schemas fit into a share of the prompt.

    index = ToolIndex()                                   # of the runtime; keeps words and vectors
    ranked = await rank_tools(question, offered, room=512, count=count, embed=embed, index=index)
    found = await find_tools(query, offered, shown=names, embed=embed, index=index)

Invariant: what is shown fits the room, and a ranking never breaks a turn.
"""

from vanta.tools.recall.finding import FoundTools, find_tools
from vanta.tools.recall.index import Embed, ToolIndex
from vanta.tools.recall.packing import (
    Detail,
    PackedTool,
    Render,
    pack,
    render_json,
    render_signature,
    shorten,
)
from vanta.tools.recall.ranking import (
    FIND_TOOLS,
    Ranked,
    RankedTool,
    ScoredTool,
    clauses_of,
    rank_tools,
    score_tools,
)

__all__ = [
    "FIND_TOOLS",
    "Detail",
    "Embed",
    "FoundTools",
    "PackedTool",
    "Ranked",
    "RankedTool",
    "Render",
    "ScoredTool",
    "ToolIndex",
    "clauses_of",
    "find_tools",
    "pack",
    "rank_tools",
    "render_json",
    "render_signature",
    "score_tools",
    "shorten",
]
