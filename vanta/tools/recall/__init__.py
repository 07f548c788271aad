"""Which of many tools a question needs, and how their schemas fit into a share of the prompt.

    library = ToolLibrary(embedder)                       # of the runtime; keeps words and vectors
    recall = ToolRecall(library, offered, need)           # of a turn
    shown = await recall.choose("local", tools, needed=called, room=1920, count=count)
    result = await recall.find(query)                     # a call of `find_tools`

Invariant: what is shown fits the room, and a ranking never breaks a turn.
"""

from vanta.tools.recall.finding import FoundTools, find_tools
from vanta.tools.recall.index import Embed, ToolIndex
from vanta.tools.recall.packing import (
    Detail,
    PackedTool,
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
from vanta.tools.recall.turn_recall import ToolLibrary, ToolNeed, ToolRecall, recent_calls

__all__ = [
    "FIND_TOOLS",
    "Detail",
    "Embed",
    "FoundTools",
    "PackedTool",
    "Ranked",
    "RankedTool",
    "ScoredTool",
    "ToolIndex",
    "ToolLibrary",
    "ToolNeed",
    "ToolRecall",
    "clauses_of",
    "find_tools",
    "pack",
    "rank_tools",
    "recent_calls",
    "render_json",
    "render_signature",
    "score_tools",
    "shorten",
]
