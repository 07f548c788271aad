"""Memory as the commands of `vanta memory` have it: without engines, without a conversation.

Invariant: leaving it leaves no process, thread or file handle behind; nothing is written but what
the command asks for, what was said and not yet taken over, and vectors that were missing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from vanta.cli.ground import Ground, ground

if TYPE_CHECKING:
    from vanta.memory.memory import Memory

T = TypeVar("T")


def with_memory(source: str | None, work: Callable[[Memory], Awaitable[T]]) -> T:
    """Open the memory of a configuration, do `work`, close it. Raises what `work` raises,
    ConfigError, StoreError, and UsageError where there is no memory."""
    import anyio

    return anyio.run(_do, ground(source), work)


async def _do(here: Ground, work: Callable[[Memory], Awaitable[T]]) -> T:
    async with opened(here) as memory:
        return await work(memory)


@asynccontextmanager
async def opened(here: Ground) -> AsyncIterator[Memory]:
    """The memory of a configuration, running. Raises as `with_memory` does."""
    import anyio.to_thread

    from vanta.errors import UsageError
    from vanta.memory.factory import open_memory
    from vanta.runtime import open_store

    store, _ledger = await anyio.to_thread.run_sync(open_store, here.config)
    try:
        memory, why = await anyio.to_thread.run_sync(
            open_memory, here.config, here.plugins, here.models, store
        )
        if memory is None:
            raise UsageError(
                f"there is no memory: {why}. `vanta config explain memory` tells more."
            )
        async with memory.running():
            yield memory
    finally:
        await store.aclose()
