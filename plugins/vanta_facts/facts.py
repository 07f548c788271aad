"""The companion `facts`: extracts lasting facts about the user from one exchange after another.

Its position is stored in memory's state, so it continues after a restart. Invariant: every exchange
is examined once; if the answer is unusable, the exchange yields no fact and is not tried again. A
fact from a private exchange is private, and nothing in a private exchange changes a public item,
not even by a tag. No fact of a forgotten exchange is stored.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

import anyio

from vanta import EngineError
from vanta.memory import SUPERSEDED, Filters, MemoryItem, NewItem, Scope, Selection
from vanta_facts.background import PERMANENT, complete, run_companion
from vanta_facts.extraction import SCHEMA, Fact, believed_facts, same_words

if TYPE_CHECKING:
    from vanta import Host, Track
    from vanta.memory import Memory

POSITION = "facts.looked_at"
"""The key in memory's state for the id of the last item that was examined."""

PAGE = 100
MAX_TOKENS = 400
"""Tokens of an answer: enough for the maximum number of facts of maximum length."""

SHOWN_MESSAGE, SHOWN_REPLY = 3000, 600
"""Characters of a message and of its reply that the model is shown."""

_log = logging.getLogger("vanta.facts")


class FactsCompanion:
    """Extracts facts while no turn runs."""

    name = "facts"

    async def accompany(self, host: Host) -> None:
        """Extract facts until cancelled. Returns at once, with a warning, if that is impossible."""
        await run_companion(host, self.name, extract_next, json_schema=True)


async def extract_next(host: Host, memory: Memory, track: Track) -> bool:
    """Extract and store the facts of the next exchange; return False if there is none.

    Raises EngineError, StoreError.
    """
    position = int(await memory.state(POSITION) or 0)
    page = await memory.arrivals(position, PAGE)
    if not page:
        return False
    exchange = _first_exchange(page)
    if exchange:
        await store_facts(memory, exchange, await _extract(host, track, exchange))
    with anyio.CancelScope(shield=True):
        await memory.set_state(POSITION, str((exchange.items if exchange else page)[-1].id))
    return True


@dataclass(frozen=True, slots=True)
class RememberedExchange:
    """One exchange in memory: its items, the user's message first."""

    items: tuple[MemoryItem, ...]

    @property
    def message(self) -> MemoryItem:
        """The user's message."""
        return self.items[0]

    @property
    def scope(self) -> Scope:
        """The scope of everything known about this user, private facts included."""
        return Scope(self.message.user, private=True)

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of its items."""
        return tuple(item.id for item in self.items)

    def text(self, role: str) -> str:
        """Return the texts of `role`, one per line."""
        return "\n".join(item.text for item in self.items if item.role == role)


async def store_facts(
    memory: Memory, exchange: RememberedExchange, facts: Sequence[Fact]
) -> list[int]:
    """Store the new ones of `facts`, tag what they supersede, and return the new ids.

    Completes even if it is cancelled. Raises StoreError.
    """
    ids: list[int] = []
    with anyio.CancelScope(shield=True):
        if await _exists(memory, exchange):
            for fact in facts:
                ids += await _store(memory, exchange, fact)
            if ids and not await _exists(memory, exchange):  # forgotten meanwhile
                await memory.forget(Selection(exchange.message.user, ids=tuple(ids)))
                ids = []
    return ids


def _first_exchange(page: Sequence[MemoryItem]) -> RememberedExchange | None:
    """Return the first exchange of a page: a user's message and the rest of its turn."""
    for position, item in enumerate(page):
        if item.kind == "message" and item.role == "user":
            return RememberedExchange(tuple(_same_turn(page[position:])))
    return None


def _same_turn(items: Sequence[MemoryItem]) -> list[MemoryItem]:
    """Return the leading items of the same turn."""
    return list(takewhile(lambda item: item.turn_id == items[0].turn_id, items))


async def _extract(host: Host, track: Track, exchange: RememberedExchange) -> list[Fact]:
    """Return the believed facts that the model finds in an exchange."""
    message = exchange.text("user")[:SHOWN_MESSAGE]
    values = {"said": message, "answered": exchange.text("assistant")[:SHOWN_REPLY]}
    prompt = host.templates.render("memory/facts", values)
    try:
        answer = await complete(
            track, prompt, session="companion/facts", max_tokens=MAX_TOKENS, json_schema=SCHEMA
        )
    except EngineError as error:
        if error.kind not in PERMANENT:
            raise
        _log.info("no facts from memory %d: %s", exchange.message.id, error)
        return []
    return believed_facts(answer.text, message)


async def _store(memory: Memory, exchange: RememberedExchange, fact: Fact) -> list[int]:
    """Store one fact unless it is known, and tag earlier facts about its topic as superseded."""
    topic = f"about:{fact.about}"
    known = await memory.recent(exchange.scope, filters=Filters(kinds=("fact",), tags=(topic,)))
    private = exchange.message.private
    valid = [item for item in known if SUPERSEDED not in item.tags]
    equal = [item for item in valid if same_words(item.text, fact.text)]
    is_known = any(private or not item.private for item in equal)
    ids = [] if is_known else await memory.add([_new_item(exchange, fact, topic)])
    for item in valid:
        is_earlier = item not in equal and item.said_at <= exchange.message.said_at
        if is_earlier and (item.private or not private):
            await memory.retag(item.user, item.id, (*item.tags, SUPERSEDED))
    return ids


def _new_item(exchange: RememberedExchange, fact: Fact, topic: str) -> NewItem:
    ids = ", ".join(map(str, exchange.ids))
    return NewItem(
        user=exchange.message.user,
        kind="fact",
        text=fact.text,
        said_at=exchange.message.said_at,
        session=exchange.message.session,
        turn_id=exchange.message.turn_id,
        private=any(item.private for item in exchange.items),
        tags=(topic, f"confidence:{fact.confidence:.2f}"),
        source=f"fact from memories {ids}",
    )


async def _exists(memory: Memory, exchange: RememberedExchange) -> bool:
    return len(await memory.get(exchange.scope, exchange.ids)) == len(exchange.ids)
