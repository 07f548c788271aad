"""Whatever a plugin of memory raises is an error of vanta's own, or a note."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from vanta.errors import EmbedderError
from vanta.memory import Embedder, Memory, NewItem, Question, Scope
from vanta.memory.embedder import Vectors
from vanta.storage import Store, sqlite_url

pytestmark = pytest.mark.anyio


class Broken(Embedder):
    """An embedder whose library is damaged."""

    name = "broken"
    dimension = 4
    private = True
    revision = "1"

    async def load(self) -> None:
        raise ImportError("libmodel.so is missing")

    async def embed(self, texts: Sequence[str]) -> Vectors:
        raise ImportError("libmodel.so is missing")

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()


async def test_an_embedder_that_raises_anything_leaves_recall_by_words(tmp_path: Path) -> None:
    store = Store.open(sqlite_url(tmp_path))
    memory = Memory.open(store, Broken())
    async with memory.running():
        await memory.add([NewItem("ada", "fact", "my sister lives in Rome", 0.0)])
        why = await memory.ready(Scope("ada"))
        assert "ImportError: libmodel.so is missing" in why
        with pytest.raises(EmbedderError, match=r"libmodel.*memory\.embedder"):
            await memory.reindex()
        found = await memory.recall(Question("sister", Scope("ada")))
    await store.aclose()
    assert [item.item.text for item in found.items] == ["my sister lives in Rome"]
    assert "libmodel" in found.skipped
