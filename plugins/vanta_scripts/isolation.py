"""The scene of one run: conversations and a memory of its own, and its own time.

A script shall say the same today and tomorrow, alone and beside others. So what its speakers said
is kept apart from the user's own conversations, in a store that lives as long as the run; the
record of every turn (its trace, its costs) is kept in the runtime's store like that of any other
turn. Invariant: nothing that a script says or is given can be recalled outside its own run, and a
recall waits for whatever is still to be embedded.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio.to_thread

from vanta.errors import EmbedderError
from vanta.memory import Embedder, Memory
from vanta.messages import Exchange
from vanta.storage import Store, sqlite_url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vanta.memory import Vectors
    from vanta.runtime import Runtime

PATIENCE_S = 5.0
"""Seconds that a recall in a script may take at the least: a busy machine shall not change what a
script is about."""

_IN_MEMORY = "sqlite://"
_log = logging.getLogger("vanta_scripts")


class Clock:
    """The time in a script, in seconds since the epoch: it stands still until it is moved."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        """The time."""
        return self.now


class Scene:
    """Where a run takes place; use it as a context.

    clock: its time. folder: where it is kept for a run that goes on after a restart; None keeps it
    in this process. memory is None where the runtime has none.
    """

    def __init__(self, runtime: Runtime, clock: Clock, folder: Path | None = None) -> None:
        self._runtime = runtime
        self._clock = clock
        self._folder = folder
        self._stack = AsyncExitStack()
        self.store: Store
        self.memory: SettledMemory | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self.store, self.memory = await anyio.to_thread.run_sync(self._open)
            stack.push_async_callback(self.store.aclose)
            if self.memory:
                await stack.enter_async_context(self.memory.running())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        # Not told of the body's exception: memory's task group would wrap it.
        await self._stack.aclose()

    def _open(self) -> tuple[Store, SettledMemory | None]:
        url = sqlite_url(self._folder) if self._folder else _IN_MEMORY
        store = _RecordedStore.open(url, self._clock)
        store.other = self._runtime.store
        known = self._runtime.memory
        if known is None:
            return store, None
        embedder = _Borrowed(known.embedder) if known.embedder else None
        memory = SettledMemory.open(
            store, embedder, why_lexical=known.why_lexical, clock=self._clock
        )
        return store, memory


class SettledMemory(Memory):
    """A memory that embeds only in `settle`, never in the background."""

    _logged = ""

    def nudge(self) -> None:
        """Nothing: `settle` does it, so that what is recalled does not depend on who was faster."""

    async def settle(self) -> None:
        """Embed what has come since the last time; without an embedder that can, words decide."""
        if self.embedder is None:
            return
        try:
            await self.reindex()
        except EmbedderError as error:
            if str(error) != self._logged:
                _log.warning("scripts recall by words alone: %s", error)
            self._logged = str(error)


class _RecordedStore(Store):
    """A run's own store; the record of a turn goes into the runtime's, too, without its text."""

    other: Store

    async def add(
        self, turn: Mapping[str, Any], trace: Mapping[str, Any], exchange: Exchange | None
    ) -> None:
        """As `Store.add` says, in both."""
        await self.other.add(turn, trace, None)
        await super().add(turn, trace, exchange)


class _Borrowed(Embedder):
    """The runtime's embedder, which is not the run's to close."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.name, self.revision, self.private = embedder.name, embedder.revision, embedder.private

    @property
    def dimension(self) -> int:
        """As the embedder says."""
        return self._embedder.dimension

    @property
    def fingerprint(self) -> str:
        """As the embedder says: some know their revision once they are loaded."""
        return self._embedder.fingerprint

    async def load(self) -> None:
        """Load the embedder."""
        await self._embedder.load()

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """As the embedder does."""
        return await self._embedder.embed(texts)

    async def aclose(self) -> None:
        """Nothing."""
