"""Isolation of a run: its own transcripts and memory, its own time, and its fixtures.

A script must give the same result today and tomorrow, alone and beside others. Its conversation
is therefore kept apart from the user's own, in a store that lives as long as the run. The record of
each turn (trace and costs, without text) goes to the runtime's store like that of any other turn.
Invariant: nothing that a script says or is given can be recalled outside its run. A recall waits
until everything before it is embedded, the fixtures included.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio.to_thread

from vanta import EmbedderError, ScriptError
from vanta.context import Exchange
from vanta.memory import Embedder, Memory, NewItem
from vanta.storage import Store, TurnPlace, sqlite_url
from vanta_scripts.script import DocumentFixture, MemoryFixture, Script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vanta import Runtime
    from vanta.memory import Vectors

RECALL_TIMEOUT_S = 5.0
"""The least time that a recall may take in a script, so that a busy machine changes no result."""

Labels = Mapping[str, frozenset[int]]
"""A fixture's name (a memory's `id`, a document's path) -> the ids of its items in memory."""

_IN_MEMORY = "sqlite://"
_log = logging.getLogger("vanta_scripts")


class ScriptClock:
    """The time in a script, in seconds since the epoch: it stands still until it is set."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time."""
        return self.now


class IsolatedStorage:
    """The transcripts and the memory of one run. Use it as a context.

    `memory` is None if the runtime has no memory.

    :param runtime: the runtime that lends its embedder.
    :param clock: the time of the run.
    :param folder: a folder for a run that restarts; None keeps everything in this process.
    """

    def __init__(self, runtime: Runtime, clock: ScriptClock, folder: Path | None = None) -> None:
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
        # Without the body's exception, which the memory's task group would wrap in a group.
        await self._stack.aclose()

    def _open(self) -> tuple[Store, SettledMemory | None]:
        url = sqlite_url(self._folder) if self._folder else _IN_MEMORY
        store = _RecordedStore.open(url, self._clock)
        store.other = self._runtime.store
        shared = self._runtime.memory
        if shared is None:
            return store, None
        embedder = _BorrowedEmbedder(shared.embedder) if shared.embedder else None
        memory = SettledMemory.open(
            store, embedder, why_lexical=shared.why_lexical, clock=self._clock
        )
        return store, memory


class SettledMemory(Memory):
    """A memory that embeds when `settle` is called, and never in the background."""

    _logged = ""

    def nudge(self) -> None:
        """Do nothing: with `settle`, a recall does not depend on which task is faster."""

    async def settle(self) -> None:
        """Embed all new items. If the embedder fails, recall falls back to words."""
        if self.embedder is None:
            return
        try:
            await self.reindex()
        except EmbedderError as error:
            if str(error) != self._logged:
                _log.warning("scripts recall by words alone: %s", error)
            self._logged = str(error)


class _RecordedStore(Store):
    """A run's own store, which copies the record of each turn to the runtime's store."""

    other: Store

    async def add(
        self,
        turn: Mapping[str, Any],
        trace: Mapping[str, Any],
        exchange: Exchange | None,
        place: TurnPlace | None = None,
    ) -> None:
        """Add the turn to both stores, to the runtime's without its text."""
        await self.other.add(turn, trace, None)
        await super().add(turn, trace, exchange, place)


class _BorrowedEmbedder(Embedder):
    """The runtime's embedder, which stays open when the run ends."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.name, self.revision, self.private = embedder.name, embedder.revision, embedder.private
        self.unrelated = embedder.unrelated

    @property
    def dimension(self) -> int:
        """Forward to the embedder."""
        return self._embedder.dimension

    @property
    def fingerprint(self) -> str:
        """Forward to the embedder: some know their revision only once they are loaded."""
        return self._embedder.fingerprint

    async def load(self) -> None:
        """Forward to the embedder."""
        await self._embedder.load()

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Forward to the embedder."""
        return await self._embedder.embed(texts)

    async def aclose(self) -> None:
        """Do nothing: the runtime closes the embedder."""


async def add_fixtures(
    memory: SettledMemory, script: Script, session_id: Callable[[str], str]
) -> Labels:
    """Add the fixtures of `script` to memory.

    :param memory: the memory of the run.
    :param script: the script.
    :param session_id: returns the id of a session of the script, by its local name.
    :returns: the ids of each named fixture.
    :raises UnreadableDocument: if a document cannot be read.
    :raises StoreError: if the store cannot be written.
    """
    labels: dict[str, frozenset[int]] = {}
    fixtures = script.fixtures.memories
    ids = await memory.add([_item(fixture, script, session_id) for fixture in fixtures])
    for fixture, item_id in zip(fixtures, ids, strict=True):
        if fixture.id:
            labels[fixture.id] = frozenset((item_id,))
    for document in script.fixtures.documents:
        chunks = await anyio.to_thread.run_sync(_chunks, document, script)
        labels[document.path] = frozenset(await memory.add(chunks))
    return labels


def document_path(document: DocumentFixture, script: Script) -> Path:
    """Return the file of a document fixture. Raises ScriptError for one outside the folder."""
    folder = Path(script.source).parent
    path = folder / document.path
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ScriptError(
            f"{script.source}: the document {document.path!r} is outside the script's folder. "
            "Copy it beside the script."
        )
    return path


def _item(fixture: MemoryFixture, script: Script, session_id: Callable[[str], str]) -> NewItem:
    return NewItem(
        user=fixture.user or script.user,
        kind="message" if fixture.role else "fact",
        text=fixture.text,
        said_at=script.at if fixture.at is None else fixture.at,
        session=session_id(fixture.session) if fixture.session else "",
        role=fixture.role or "",
        private=fixture.private,
        tags=fixture.tags,
        source=fixture.source,
    )


def _chunks(document: DocumentFixture, script: Script) -> list[NewItem]:
    from vanta.memory import chunk_document, read_document

    return [
        NewItem(
            user=document.user or script.user,
            kind="document",
            text=chunk.text,
            said_at=script.at,
            private=document.private,
            tags=document.tags,
            source=chunk.source,
        )
        for chunk in chunk_document(read_document(document_path(document, script)))
    ]
