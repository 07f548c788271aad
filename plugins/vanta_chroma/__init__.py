"""The built-in plugin `chroma`: the vector index of memory, in a process of its own.

Imports nothing heavy; Chroma is loaded by the process that the index starts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from vanta.hookspecs import hookimpl

if TYPE_CHECKING:
    from vanta.memory.index import IndexContext, IndexFactory, VectorIndex


@hookimpl
def vanta_vector_indexes() -> Iterable[IndexFactory]:
    """The vector index `chroma`."""
    from vanta.memory.index import IndexFactory
    from vanta_chroma.options import ChromaOptions

    return (
        IndexFactory(
            name="chroma",
            summary="Chroma: in a process of its own, or a server by its URL",
            options=ChromaOptions,
            create=_create,
            rank=10,
            requires="chromadb",
            extra="chroma",
        ),
    )


def _create(options: Any, context: IndexContext) -> VectorIndex:
    from vanta_chroma.index import ChromaIndex

    return ChromaIndex(options, context)
