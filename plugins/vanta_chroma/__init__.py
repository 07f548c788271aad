"""The vector index `chroma`: Chroma in a process of its own, or a Chroma server.

Invariant: this process never imports Chroma; only the child process that the index starts does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vanta import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vanta.memory import IndexFactory

__all__ = ["vanta_vector_indexes"]


@hookimpl
def vanta_vector_indexes() -> Iterable[IndexFactory]:
    """Return the factory of the vector index `chroma`."""
    from vanta.memory import IndexFactory
    from vanta_chroma.index import ChromaIndex, ChromaOptions

    return (
        IndexFactory(
            name="chroma",
            summary="Chroma: in a process of its own, or a server by its URL",
            options=ChromaOptions,
            create=ChromaIndex,
            rank=10,
            requires="chromadb",
            extra="chroma",
        ),
    )
