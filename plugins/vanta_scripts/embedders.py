"""The embedders that expectations ask: memory's own, and others by name.

Invariant: an embedder is loaded once for a cast; memory's own is shared and left open, the others
are closed with the cast.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from vanta.errors import EmbedderError
from vanta.runtime.memory_factory import embedder_named

if TYPE_CHECKING:
    from vanta.memory import Embedder
    from vanta.runtime import Runtime


class Embedders:
    """Those of one cast; close it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._made: dict[str, Embedder] = {}
        self._one_at_a_time = anyio.Lock()

    async def get(self, name: str | None) -> Embedder:
        """The embedder of that name, None for memory's own, ready. Raises UnknownName,
        EmbedderError."""
        own = _of_memory(self._runtime)
        if own is not None and name in (None, own.name):
            await own.load()
            return own
        if name is None:
            raise EmbedderError(why_without(self._runtime))
        async with self._one_at_a_time:
            if name not in self._made:
                make = partial(self._make, name)
                self._made[name] = await anyio.to_thread.run_sync(make)
            await self._made[name].load()
            return self._made[name]

    async def aclose(self) -> None:
        """Close what was made."""
        for embedder in self._made.values():
            await embedder.aclose()

    def _make(self, name: str) -> Embedder:
        runtime = self._runtime
        return embedder_named(name, runtime.config, runtime.plugins, runtime.models)


def why_without(runtime: Runtime) -> str:
    """Why there is no embedder of memory's own; "" where there is one."""
    if _of_memory(runtime):
        return ""
    why = runtime.memory.why_lexical if runtime.memory else runtime.memory_off
    return f"there is no embedder that compares by meaning: {why}"


def _of_memory(runtime: Runtime) -> Embedder | None:
    return runtime.memory.embedder if runtime.memory else None
