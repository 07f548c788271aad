"""Memory: what was said before, found again when it matters, inside each track's budget.

`runtime.memory` is a `Memory`; what its methods take and give is here, too:

    scope = Scope("ada")
    found = await runtime.memory.recall(Question("What is my dog called?", scope))
    receipt = await runtime.memory.forget(Selection("ada", session="one"))
"""

from typing import TYPE_CHECKING

from vanta.memory.embedder import Embedder, EmbedderContext, EmbedderFactory
from vanta.memory.index import IndexContext, IndexFactory, Partition, VectorIndex
from vanta.memory.items import Filters, MemoryItem, Recalled, Recollection, Scope
from vanta.memory.memory import Memory, Question
from vanta.memory.store.forgetting import Receipt, Selection
from vanta.memory.store.repository import NewItem

if TYPE_CHECKING:
    from vanta.memory.embedder import Vectors as Vectors

__all__ = [
    "Embedder",
    "EmbedderContext",
    "EmbedderFactory",
    "Filters",
    "IndexContext",
    "IndexFactory",
    "Memory",
    "MemoryItem",
    "NewItem",
    "Partition",
    "Question",
    "Recalled",
    "Receipt",
    "Recollection",
    "Scope",
    "Selection",
    "VectorIndex",
]
