"""Memory: what a user said and the documents they added, recalled within each track's budget.

    runtime.memory                        # a Memory, or None
    scope = Scope("ada")
    recollection = await runtime.memory.recall(Question("What is my dog called?", scope))
    receipt = await runtime.memory.forget(Selection("ada", session="one"))

Invariant: recalls stay within their scope, and a slow or broken recall never breaks a turn. Names
are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vanta.fronts import lazy_front

if TYPE_CHECKING:
    from vanta.memory.dates import times_mentioned
    from vanta.memory.documents import Chunk, Document, chunk_document, read_document
    from vanta.memory.embedder import (
        CosineScale,
        Embedder,
        EmbedderContext,
        EmbedderFactory,
        Vectors,
    )
    from vanta.memory.index import IndexContext, IndexFactory, Partition, VectorIndex
    from vanta.memory.items import (
        SUPERSEDED,
        Filters,
        ItemKind,
        MemoryItem,
        NewItem,
        Question,
        RecalledItem,
        Recollection,
        Scope,
    )
    from vanta.memory.memory import Memory
    from vanta.memory.recall import PendingRecall, TurnRecall
    from vanta.memory.rendering import (
        day_of,
        one_line,
        render_block,
        render_header,
        render_line,
        select_within_budget,
    )
    from vanta.memory.store.forgetting import (
        ForgetPreview,
        ForgetReceipt,
        RemovedCounts,
        Selection,
    )
    from vanta.memory.store.importing import ReplaceCounts

_NAMES = {
    "vanta.memory.dates": "times_mentioned",
    "vanta.memory.documents": "Chunk Document chunk_document read_document",
    "vanta.memory.embedder": "CosineScale Embedder EmbedderContext EmbedderFactory Vectors",
    "vanta.memory.index": "IndexContext IndexFactory Partition VectorIndex",
    "vanta.memory.items": (
        "SUPERSEDED Filters ItemKind MemoryItem NewItem Question RecalledItem Recollection Scope"
    ),
    "vanta.memory.memory": "Memory",
    "vanta.memory.recall": "PendingRecall TurnRecall",
    "vanta.memory.rendering": (
        "day_of one_line render_block render_header render_line select_within_budget"
    ),
    "vanta.memory.store.forgetting": "ForgetPreview ForgetReceipt RemovedCounts Selection",
    "vanta.memory.store.importing": "ReplaceCounts",
}

__all__ = [
    "SUPERSEDED",
    "Chunk",
    "CosineScale",
    "Document",
    "Embedder",
    "EmbedderContext",
    "EmbedderFactory",
    "Filters",
    "ForgetPreview",
    "ForgetReceipt",
    "IndexContext",
    "IndexFactory",
    "ItemKind",
    "Memory",
    "MemoryItem",
    "NewItem",
    "Partition",
    "PendingRecall",
    "Question",
    "RecalledItem",
    "Recollection",
    "RemovedCounts",
    "ReplaceCounts",
    "Scope",
    "Selection",
    "TurnRecall",
    "VectorIndex",
    "Vectors",
    "chunk_document",
    "day_of",
    "one_line",
    "read_document",
    "render_block",
    "render_header",
    "render_line",
    "select_within_budget",
    "times_mentioned",
]


__getattr__ = lazy_front(__name__, _NAMES)


def __dir__() -> list[str]:
    return sorted(__all__)
