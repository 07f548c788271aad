"""The companion `facts`: one exchange after another, lasting facts about the user.

Where it stands is kept in memory's state, so that it goes on after a restart. Invariant: every
exchange is looked at once; one whose answer cannot be used gives no fact and is not asked again.
"""

from __future__ import annotations

import logging
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING

import anyio

from vanta.errors import EngineError
from vanta.memory import Memory, MemoryItem
from vanta.track import Track
from vanta_facts.extraction import SCHEMA, Fact, believed
from vanta_facts.idling import HOPELESS, step_by_step
from vanta_facts.keeping import Said, keep
from vanta_facts.local import ask, local_track

if TYPE_CHECKING:
    from vanta import Host

LOOKED_AT = "facts.looked_at"
"""The key of memory's state for the id of the last item that was looked at."""

PAGE = 100
TOKENS = 400
"""Tokens that an answer may take: as many facts as there may be, each as long as it may be."""

SAID, ANSWERED = 3000, 600
"""Characters of a message and of its reply that the model is shown."""

_log = logging.getLogger("vanta.facts")


class Facts:
    """See the module."""

    name = "facts"

    async def accompany(self, host: Host) -> None:
        """Extract facts while no turn runs; returns at once, with a warning, where that cannot
        be."""
        memory, track = host.memory, local_track(host, json_schema=True)
        if memory is None:
            _log.warning("companion 'facts' is off: there is no memory (%s)", host.memory_off)
        elif track is None:
            _log.warning(
                "companion 'facts' is off: no track is private and free and can keep a JSON Schema"
            )
        else:
            await step_by_step(host, self.name, partial(look, host, memory, track))


async def look(host: Host, memory: Memory, track: Track) -> bool:
    """Look at the next exchange that nobody looked at yet; False if there is none. Raises
    EngineError, StoreError."""
    after = int(await memory.state(LOOKED_AT) or 0)
    page = await memory.arrivals(after, PAGE)
    if not page:
        return False
    said = _first_exchange(page)
    if said:
        await keep(memory, said, await _extract(host, track, said))
    with anyio.CancelScope(shield=True):
        await memory.set_state(LOOKED_AT, str((said.items if said else page)[-1].id))
    return True


def _first_exchange(page: list[MemoryItem]) -> Said | None:
    """The first exchange of a page: a user's message and what belongs to its turn."""
    for place, item in enumerate(page):
        if item.kind == "message" and item.role == "user":
            same = takewhile(lambda one: one.turn_id == item.turn_id, page[place:])  # noqa: B023
            return Said(tuple(same))
    return None


async def _extract(host: Host, track: Track, said: Said) -> list[Fact]:
    """What the model finds in an exchange, as far as it can be believed."""
    text = said.text("user")[:SAID]
    prompt = host.templates.render(
        "memory/facts", {"said": text, "answered": said.text("assistant")[:ANSWERED]}
    )
    try:
        answer = await ask(
            track, prompt, session="companion/facts", max_tokens=TOKENS, json_schema=SCHEMA
        )
    except EngineError as error:
        if error.kind not in HOPELESS:
            raise
        _log.info("no facts from memory %d: %s", said.first.id, error)
        return []
    return believed(answer.text, text)
