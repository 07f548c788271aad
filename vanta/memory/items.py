"""The data of memory: items, who may see them, and what a recall returns.

Invariant: everything here is frozen and JSON-ready, and its text is well-formed Unicode. A scope is
part of every query to the store; items are never fetched first and filtered by owner afterwards.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vanta.text import make_well_formed

ItemKind = Literal["message", "document", "fact", "summary"]

SUPERSEDED = "superseded"
"""The tag of a fact that a later fact contradicts; the fact is kept because it was true once."""

RECALL_LIMIT = 200
"""Default maximum of items that a recall returns; a prompt takes as many as its budget allows."""


QUESTION_CHARACTERS = 8_192
"""Characters of a question that are searched for: its beginning and its end."""

ITEM_CHARACTERS = 1_000_000
"""The longest text of an item."""


@dataclass(frozen=True, slots=True)
class MemoryItem:
    """One remembered text.

    :param id: unique in its store; grows with the time of arrival.
    :param user: the user whose memory it belongs to.
    :param session: the session of the message; "" for documents and facts without one.
    :param turn_id: the turn of the message, or "".
    :param kind: message, document, fact or summary.
    :param role: the speaker's role (`user`, `assistant`); "" for documents and facts.
    :param text: the text.
    :param said_at: the time of the message, in seconds since the epoch.
    :param private: True if only private tracks may see it.
    :param tags: tags to filter by.
    :param source: where a document or fact comes from ("handbook.md, Holidays"); "" for messages.
    :param dates: what the relative dates in `text` meant at `said_at`
        (`{"last Tuesday": "2026-11-17"}`).
    """

    id: int
    user: str
    session: str
    turn_id: str
    kind: ItemKind
    role: str
    text: str
    said_at: float
    private: bool = False
    tags: tuple[str, ...] = ()
    source: str = ""
    dates: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the item as JSON-ready data: a line of an export."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class NewItem:
    """A text to remember; the fields are those of `MemoryItem`, which adds an id.

    :param dates: what the relative dates in `text` mean; None resolves them.
    :param message_id: the message of the transcript that the item copies, or None.
    """

    user: str
    kind: ItemKind
    text: str
    said_at: float
    session: str = ""
    turn_id: str = ""
    role: str = ""
    private: bool = False
    tags: tuple[str, ...] = ()
    source: str = ""
    dates: Mapping[str, str] | None = None
    message_id: int | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        make_well_formed(
            self, "user", "text", "session", "turn_id", "role", "tags", "source", "dates"
        )


@dataclass(frozen=True, slots=True)
class Scope:
    """The items that a query may see.

    :param user: the user.
    :param session: limit to one session; None for all sessions of the user.
    :param private: include private items.
    """

    user: str
    session: str | None = None
    private: bool = False

    def __post_init__(self) -> None:
        make_well_formed(self, "user", "session")


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions on the items of a scope; the default matches all.

    :param since: earliest `said_at`, in seconds since the epoch.
    :param until: latest `said_at`, excluded.
    :param roles: any of these roles; empty for all.
    :param kinds: any of these kinds; empty for all.
    :param tags: all of these tags.
    """

    since: float | None = None
    until: float | None = None
    roles: tuple[str, ...] = ()
    kinds: tuple[ItemKind, ...] = ()
    tags: tuple[str, ...] = ()


NO_FILTERS = Filters()


@dataclass(frozen=True, slots=True)
class Question:
    """A request to recall.

    :param text: the text to find items for.
    :param scope: whose items may be found.
    :param filters: conditions on the items.
    :param session: the session that asks; its summary is recalled in addition. "" for none.
    :param limit: maximum number of public items, and of private ones.
    :param confidential: True if `text` itself must not leave this machine.
    :param without: ids of turns whose messages and facts are not recalled. With one, no summary is,
        as it may be made from them.
    """

    text: str
    scope: Scope
    filters: Filters = NO_FILTERS
    session: str = ""
    limit: int = RECALL_LIMIT
    confidential: bool = False
    without: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        make_well_formed(self, "text", "session")

    def shortened(self) -> Question:
        """Return the question with the beginning and the end of a long text."""
        if len(self.text) <= QUESTION_CHARACTERS:
            return self
        part = QUESTION_CHARACTERS // 2
        return dataclasses.replace(self, text=f"{self.text[:part]}\n{self.text[-part:]}")


@dataclass(frozen=True, slots=True)
class RecalledItem:
    """An item with its score.

    :param item: the item.
    :param score: in log-odds; higher is better.
    :param parts: the named parts of the score; they add up to it.
    :param relevance: how likely the item is evidence for the question, 0 to 1. A score compares
        items of one recall; relevance is low if no item of the store fits.
    """

    item: MemoryItem
    score: float
    parts: Mapping[str, float] = field(default_factory=dict)
    relevance: float = 1.0


@dataclass(frozen=True, slots=True)
class Recollection:
    """The result of one recall.

    :param items: the recalled items, best first.
    :param took_s: duration in seconds.
    :param embedder: name of the embedder that took part; None if the recall was lexical alone.
    :param index: name of the vector index that was searched, or None.
    :param skipped: why a configured part did not take part; "" if all did.
    """

    items: tuple[RecalledItem, ...] = ()
    took_s: float = 0.0
    embedder: str | None = None
    index: str | None = None
    skipped: str = ""
