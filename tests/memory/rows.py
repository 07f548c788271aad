"""A store whose tables are filled directly, with vectors where a test needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vanta.memory.items import Filters, NewItem, Scope
from vanta.memory.search.candidates import RecallCandidate
from vanta.memory.search.retrieval import find_candidates
from vanta.memory.store import add_items, create_tables, save_vectors
from vanta.storage import Store, sqlite_url

START = 1_700_000_000.0
MINUTE_S = 60.0
FINGERPRINT = "tiny/3/1"
ADA = Scope("ada")
EVERYTHING = Filters()


def message(text: str, number: int = 0, **fields: Any) -> NewItem:
    """Return a message of Ada, `number` minutes after the start."""
    values = {"role": "user", "session": "one"} | fields
    return NewItem(values.pop("user", "ada"), "message", text, START + MINUTE_S * number, **values)


class Rows:
    """A store that is filled and searched without a memory around it."""

    def __init__(self, folder: Path) -> None:
        self.store = Store.open(sqlite_url(folder))
        self.store.transact_now(create_tables)

    def add(self, items: Sequence[NewItem]) -> list[int]:
        """Add items; return their ids."""
        return self.store.transact_now(partial(add_items, items=items))

    def embed(self, vectors: Mapping[int, Sequence[float]]) -> None:
        """Set the vectors, of three components, of items."""
        import numpy as np

        if not vectors:
            return
        blobs = [np.array(vector, dtype="<f4").tobytes() for vector in vectors.values()]
        save = partial(save_vectors, embedder=FINGERPRINT, ids=list(vectors), vectors=blobs)
        self.store.transact_now(save)

    def search(
        self, question: str, scope: Scope = ADA, filters: Filters = EVERYTHING, **options: Any
    ) -> list[RecallCandidate]:
        """Return the candidates for a question that is asked an hour after the start."""
        now = options.pop("now", START + 60 * MINUTE_S)

        def find(connection: Any) -> list[RecallCandidate]:
            return find_candidates(connection, scope, filters, question, now=now, **options)

        return self.store.transact_now(find)

    def texts(self, question: str, scope: Scope = ADA, **options: Any) -> list[str]:
        """Return the texts of the candidates, sorted."""
        return sorted(candidate.item.text for candidate in self.search(question, scope, **options))
