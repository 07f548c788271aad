"""What memory holds and what it gives back: items, who may see them, and how they were scored.

Invariant: everything here is frozen and JSON-ready. A scope is part of every query to the store;
nothing is fetched first and filtered by its owner afterwards.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["message", "document", "fact", "summary"]

SUPERSEDED = "superseded"
"""The tag of a fact that a later one contradicts; it stays, since it was true once."""


@dataclass(frozen=True, slots=True)
class MemoryItem:
    """One thing that memory knows.

    id: unique in its store, grows with time of arrival. role: who said it (`user`, `assistant`), ""
    for documents and facts. said_at: seconds since the epoch. private: no track that is not private
    may ever see it. source: where a document or fact comes from ("handbook.md, Holidays"), "" for
    what was said. dates: what the relative dates in `text` meant when it was said
    (`{"last Tuesday": "2026-11-17"}`).
    """

    id: int
    user: str
    session: str
    turn_id: str
    kind: Kind
    role: str
    text: str
    said_at: float
    private: bool = False
    tags: tuple[str, ...] = ()
    source: str = ""
    dates: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data: a line of an export."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose memory: of one user, of all their sessions or one. private: the private part, too."""

    user: str
    session: str | None = None
    private: bool = False


@dataclass(frozen=True, slots=True)
class Filters:
    """Which items of a scope; empty for all. since, until: seconds since the epoch, the second one
    excluded. tags: items that have all of them."""

    since: float | None = None
    until: float | None = None
    roles: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ()
    tags: tuple[str, ...] = ()


EVERYTHING = Filters()


@dataclass(frozen=True, slots=True)
class Recalled:
    """An item with its score, higher is better, and what the score is made of: the parts add up to
    it."""

    item: MemoryItem
    score: float
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recollection:
    """What one retrieval found, best first. embedder, index: what took part, None if the recall was
    lexical alone. skipped: why something that is configured took no part, "" if all did."""

    found: tuple[Recalled, ...] = ()
    took_s: float = 0.0
    embedder: str | None = None
    index: str | None = None
    skipped: str = ""
