"""The companion `summary`: what a session said before the part that still fits the prompt.

How much fell out is what the trace of the session's last turn says. A summary grows by a few
exchanges at a time, from itself and them. Invariant: the public summary is made of public exchanges
alone; where private ones fell out, a private summary of all of them stands beside it, newer, so
that private tracks take that one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import anyio

from vanta.errors import EngineError
from vanta.memory import Filters, Memory, MemoryItem, NewItem, Scope, Selection
from vanta.messages import Exchange
from vanta.track import Track
from vanta_facts.idling import HOPELESS, step_by_step
from vanta_facts.local import ask, local_track

if TYPE_CHECKING:
    from vanta import Host

LOOKED_AT = "summary.looked_at"
"""The key of memory's state for the id of the last item whose session was looked at."""

PAGE = 100
TOGETHER = 4
"""Exchanges that a summary grows by at a time."""

TOKENS = 160
SHOWN = 500
"""Characters of each message that the model is shown."""

CLIPPED = 80
"""Characters of a message that stand for it where the model said nothing of use."""

_log = logging.getLogger("vanta.facts")


class Summaries:
    """See the module."""

    name = "summary"

    async def accompany(self, host: Host) -> None:
        """Write summaries while no turn runs; returns at once, with a warning, where that cannot
        be."""
        memory, track = host.memory, local_track(host)
        if memory is None:
            _log.warning("companion 'summary' is off: there is no memory (%s)", host.memory_off)
        elif track is None:
            _log.warning("companion 'summary' is off: no track is private and free")
        else:
            await step_by_step(host, self.name, partial(look, host, memory, track))


async def look(host: Host, memory: Memory, track: Track) -> bool:
    """Bring the summaries of the next session in which something was said one step further; False
    if there is none. Raises EngineError, StoreError."""
    after = int(await memory.state(LOOKED_AT) or 0)
    page = await memory.arrivals(after, PAGE)
    if not page:
        return False
    user, session = page[0].user, page[0].session
    if page[0].kind == "message" and await _Session(host, memory, track, user, session).grow():
        return True
    run = list(takewhile(lambda item: (item.user, item.session) == (user, session), page))
    await memory.set_state(LOOKED_AT, str(run[-1].id))
    return True


@dataclass(frozen=True, slots=True)
class _Session:
    """One session on its way into summaries."""

    host: Host
    memory: Memory
    track: Track
    user: str
    session: str

    async def grow(self) -> bool:
        """One step; False if its summaries say all that fell out."""
        fell_out = await self._fell_out()
        open_ones = [exchange for exchange in fell_out if not exchange.private]
        public = await self._present(open_ones, private=False)
        if public.covers < len(open_ones):
            return await self._extend(public, open_ones, private=False, beside=0)
        if len(open_ones) == len(fell_out):
            return False
        beside = public.item.id if public.item else 0
        whole = await self._present(fell_out, private=True)
        if whole.covers < len(fell_out):
            return await self._extend(whole, fell_out, private=True, beside=beside)
        if whole.item and whole.item.id < beside:
            await self._store(whole.text, fell_out, private=True, beside=beside)
        return False

    async def _fell_out(self) -> list[Exchange]:
        """The exchanges that some track no longer sees, the earliest first."""
        records = await self.host.store.records(user=self.user, session=self.session, limit=1)
        if not records:
            return []
        history = await self.host.store.history(self.user, self.session)
        dropped = _dropped(records[0]["trace"].get("context", {}))
        if records[0]["private"]:
            return history[:dropped]
        # A turn that is not private left private exchanges out before it counted.
        public = [place for place, one in enumerate(history) if not one.private][:dropped]
        return history[: public[-1] + 1] if public else []

    async def _present(self, exchanges: Sequence[Exchange], *, private: bool) -> _Present:
        """The summary that is there, as far as it is one of these exchanges."""
        for item in reversed(await self._stored(private)):
            covers = int(_tagged(item, "covers") or 0)
            last = exchanges[covers - 1].turn if 0 < covers <= len(exchanges) else ""
            if last and last == _tagged(item, "through"):
                return _Present(covers, item.text, item)
        return _Present(0, "", None)

    async def _extend(
        self, present: _Present, exchanges: Sequence[Exchange], *, private: bool, beside: int
    ) -> bool:
        covers = min(present.covers + TOGETHER, len(exchanges))
        text = await self._summary(present.text, exchanges[present.covers : covers])
        await self._store(text, exchanges[:covers], private=private, beside=beside)
        return True

    async def _summary(self, before: str, exchanges: Sequence[Exchange]) -> str:
        """The model's summary; where it gives none, the beginnings of what the user said."""
        prompt = self.host.templates.render(
            "memory/summary", {"before": before, "exchanges": _lines(exchanges)}
        )
        try:
            answer = await ask(self.track, prompt, session="companion/summary", max_tokens=TOKENS)
        except EngineError as error:
            if error.kind not in HOPELESS:
                raise
            _log.info("a part of session %r is not summarised: %s", self.session, error)
            return _clipped(before, exchanges)
        return " ".join(answer.text.split()) or _clipped(before, exchanges)

    async def _store(
        self, text: str, exchanges: Sequence[Exchange], *, private: bool, beside: int
    ) -> None:
        """Put the summary in the place of the last one, unless what it is of was forgotten."""
        tag = self._tag(private)
        through = exchanges[-1].turn
        tags = (tag, f"covers:{len(exchanges)}", f"through:{through}", f"beside:{beside}")
        item = NewItem(
            user=self.user,
            kind="summary",
            text=text,
            said_at=time.time(),
            session=self.session,
            private=private,
            tags=tags,
            source=f"summary of {len(exchanges)} exchange{'s' * (len(exchanges) > 1)}",
            dates={},
        )
        with anyio.CancelScope(shield=True):
            await self.memory.replace(self.user, tag, [item], kind="summary")
            left = {one.turn for one in await self.host.store.history(self.user, self.session)}
            if not all(exchange.turn in left for exchange in exchanges):
                stale = await self._stored(private)
                await self.memory.forget(Selection(self.user, ids=tuple(one.id for one in stale)))

    async def _stored(self, private: bool) -> list[MemoryItem]:
        return await self.memory.recent(
            Scope(self.user, self.session, private=True),
            filters=Filters(kinds=("summary",), tags=(self._tag(private),)),
        )

    def _tag(self, private: bool) -> str:
        return f"summary:{'private' if private else 'public'}:{self.session}"


@dataclass(frozen=True, slots=True)
class _Present:
    """A summary as it is: of the first `covers` exchanges."""

    covers: int
    text: str
    item: MemoryItem | None


def _dropped(context: Mapping[str, Any]) -> int:
    """How many exchanges a turn left out of the prompt of any track."""
    return max((told.get("dropped_exchanges") or 0 for told in context.values()), default=0)


def _tagged(item: MemoryItem, key: str) -> str:
    """The rest of the tag that begins with `key:`, "" if there is none."""
    for tag in item.tags:
        if tag.startswith(f"{key}:"):
            return tag.removeprefix(f"{key}:")
    return ""


def _lines(exchanges: Sequence[Exchange]) -> str:
    return "\n".join(
        f"{message.role}: {' '.join(message.content.split())[:SHOWN]}"
        for exchange in exchanges
        for message in exchange.messages
    )


def _clipped(before: str, exchanges: Sequence[Exchange]) -> str:
    said = [message for exchange in exchanges for message in exchange.messages]
    parts = [" ".join(one.content.split())[:CLIPPED] for one in said if one.role == "user"]
    return " ".join(filter(None, (before, *(f"The user said: {part}" for part in parts))))
