"""Facts in memory: stored with what they come from, contradictions kept, privacy kept.

Invariant: a fact from a private exchange is private; nothing that a private exchange says changes
an item that is not, not even by a mark. A fact is never stored of an exchange that is forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from vanta.memory import SUPERSEDED, Filters, Memory, MemoryItem, NewItem, Scope, Selection
from vanta_facts.extraction import Fact, same_words


@dataclass(frozen=True, slots=True)
class Said:
    """One exchange as memory has it: its items, the user's message first."""

    items: tuple[MemoryItem, ...]

    @property
    def first(self) -> MemoryItem:
        """The user's message."""
        return self.items[0]

    @property
    def scope(self) -> Scope:
        """Where to look for what is known of this user, private facts among it."""
        return Scope(self.first.user, private=True)

    @property
    def ids(self) -> tuple[int, ...]:
        """The memories that it is."""
        return tuple(item.id for item in self.items)

    def text(self, role: str) -> str:
        """All that `role` said in it."""
        return "\n".join(item.text for item in self.items if item.role == role)


async def keep(memory: Memory, said: Said, facts: Sequence[Fact]) -> list[int]:
    """Store what is new in `facts`, mark what it contradicts; returns the new ids. Whole, even if
    it is cancelled meanwhile. Raises StoreError."""
    ids: list[int] = []
    with anyio.CancelScope(shield=True):
        if await _still_there(memory, said):
            for fact in facts:
                ids += await _keep(memory, said, fact)
            if ids and not await _still_there(memory, said):  # forgotten while they were stored
                await memory.forget(Selection(said.first.user, ids=tuple(ids)))
                ids = []
    return ids


async def _keep(memory: Memory, said: Said, fact: Fact) -> list[int]:
    about = f"about:{fact.about}"
    known = await memory.recent(said.scope, filters=Filters(kinds=("fact",), tags=(about,)))
    private = said.first.private
    valid = [one for one in known if SUPERSEDED not in one.tags]
    same = [one for one in valid if same_words(one.text, fact.text)]
    known_already = any(private or not one.private for one in same)
    ids = [] if known_already else await memory.add([_item(said, fact, about)])
    for one in valid:
        earlier = one not in same and one.said_at <= said.first.said_at
        if earlier and (one.private or not private):
            await memory.retag(one.user, one.id, (*one.tags, SUPERSEDED))
    return ids


def _item(said: Said, fact: Fact, about: str) -> NewItem:
    ids = ", ".join(map(str, said.ids))
    return NewItem(
        user=said.first.user,
        kind="fact",
        text=fact.text,
        said_at=said.first.said_at,
        session=said.first.session,
        turn_id=said.first.turn_id,
        private=any(item.private for item in said.items),
        tags=(about, f"confidence:{fact.confidence:.2f}"),
        source=f"fact from memories {ids}",
    )


async def _still_there(memory: Memory, said: Said) -> bool:
    return len(await memory.get(said.scope, said.ids)) == len(said.ids)
