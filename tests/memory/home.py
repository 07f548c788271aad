"""A memory on a real store for tests, with exchanges as turns leave them."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from vanta.memory.embedder import Embedder
from vanta.memory.index import VectorIndex
from vanta.memory.items import Filters, Question, Scope
from vanta.memory.memory import Memory
from vanta.messages import Exchange, Message
from vanta.storage import Store, sqlite_url

_numbers = itertools.count(1)


class Home:
    """A memory and its store."""

    def __init__(self, store: Store, memory: Memory, folder: Path) -> None:
        self.store = store
        self.memory = memory
        self.folder = folder

    async def say(
        self,
        text: str,
        reply: str = "I see.",
        *,
        user: str = "ada",
        session: str = "one",
        private: bool = False,
    ) -> str:
        """Store an exchange as a turn does; return the turn's id."""
        turn = f"turn-{next(_numbers)}"
        row = {
            "id": turn,
            "user": user,
            "session": session,
            "private": private,
            "status": "answered",
            "track": "local",
            "cost_usd": 0.0,
        }
        messages = (Message("user", text), Message("assistant", reply))
        await self.store.add(row, {}, Exchange(messages, private, turn))
        return turn

    async def texts(
        self,
        question: str,
        *,
        user: str = "ada",
        session: str | None = None,
        private: bool = False,
        filters: Filters | None = None,
    ) -> list[str]:
        """Return the recalled texts, best first."""
        scope = Scope(user, session, private)
        recollection = await self.memory.recall(Question(question, scope, filters or Filters()))
        return [recalled.item.text for recalled in recollection.items]

    async def settled(self) -> None:
        """Embed and index everything."""
        assert self.memory.semantic is not None
        await self.memory.reindex()


@asynccontextmanager
async def home(
    folder: Path,
    embedder: Embedder | None = None,
    index: VectorIndex | None = None,
    index_folder: Path | None = None,
) -> AsyncIterator[Home]:
    """Run a memory on the store in `folder`, which persists."""
    store = Store.open(sqlite_url(folder))
    memory = Memory.open(store, embedder, index=index, index_folder=index_folder)
    try:
        async with memory.running():
            yield Home(store, memory, folder)
    finally:
        await store.aclose()


def bytes_in(folder: Path, needle: bytes) -> list[str]:
    """Return the names of the files below a folder that contain `needle`."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path.name for path in files if needle in path.read_bytes()]


def vector_of(home: Home, text: str) -> bytes:
    """Return the stored vector of the first item with this text."""
    read = partial(_vector_of, text=text)
    return home.store.transact_now(read)


def _vector_of(connection: object, text: str) -> bytes:
    rows = connection.exec_driver_sql(  # type: ignore[attr-defined]
        "SELECT vector FROM memory_vectors JOIN memories ON id = memory_id WHERE text = ?", (text,)
    )
    return bytes(rows.first()[0])
