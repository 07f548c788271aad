"""Items put straight into a store's tables, with vectors where a test needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vanta.memory.items import Filters, NewItem, Scope
from vanta.memory.search.retrieval import RecallCandidate, find_candidates
from vanta.memory.store import add_items, create_tables, save_vectors
from vanta.storage import Store, sqlite_url

START = 1_700_000_000.0
MINUTE_S = 60.0
FINGERPRINT = "tiny/3/1"
ADA = Scope("ada")
EVERYTHING = Filters()


def said(text: str, number: int = 0, **fields: Any) -> NewItem:
    """A message of Ada's, `number` minutes after the start."""
    told = {"role": "user", "session": "one"} | fields
    return NewItem(told.pop("user", "ada"), "message", text, START + MINUTE_S * number, **told)


class Rows:
    """A store that is filled and asked without a memory around it."""

    def __init__(self, folder: Path) -> None:
        self.store = Store.open(sqlite_url(folder))
        self.store.transact_now(create_tables)

    def add(self, items: Sequence[NewItem]) -> list[int]:
        """Put items in; their ids."""
        return self.store.transact_now(partial(add_items, items=items))

    def embed(self, known: Mapping[int, Sequence[float]]) -> None:
        """Give items vectors of three components."""
        import numpy as np

        if not known:
            return
        blobs = [np.array(vector, dtype="<f4").tobytes() for vector in known.values()]
        save = partial(save_vectors, embedder=FINGERPRINT, ids=list(known), vectors=blobs)
        self.store.transact_now(save)

    def ask(
        self, question: str, scope: Scope = ADA, filters: Filters = EVERYTHING, **told: Any
    ) -> list[RecallCandidate]:
        """What retrieval finds, an hour after the start."""
        now = told.pop("now", START + 60 * MINUTE_S)

        def look(connection: Any) -> list[RecallCandidate]:
            return find_candidates(connection, scope, filters, question, now=now, **told)

        return self.store.transact_now(look)

    def texts(self, question: str, scope: Scope = ADA, **told: Any) -> list[str]:
        """The texts of what retrieval finds, sorted."""
        return sorted(candidate.item.text for candidate in self.ask(question, scope, **told))
