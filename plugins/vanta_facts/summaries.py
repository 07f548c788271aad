"""The companion `summary`: summarises the exchanges of a session that no longer fit the prompt.

The trace of the session's last turn says how many those are. A summary grows by a few exchanges at
a time, from its previous text and them. Invariant: the public summary is made from public exchanges
alone. If private ones were dropped, too, a private summary of all of them exists as well, and it is
the newer one, so private tracks use that.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import anyio

from vanta import EngineError
from vanta.memory import Filters, MemoryItem, NewItem, Scope, Selection
from vanta_facts.background import PERMANENT, complete, run_companion

if TYPE_CHECKING:
    from vanta import Host, Track
    from vanta.context import Exchange
    from vanta.memory import Memory

POSITION = "summary.looked_at"
"""The key in memory's state for the id of the last item whose session was examined."""

PAGE = 100
STEP = 4
"""Exchanges that one step adds to a summary."""

MAX_TOKENS = 160
SHOWN = 500
"""Characters of each message that the model is shown."""

EXCERPT = 80
"""Characters of a message that replace its summary if the model returns nothing usable."""

_log = logging.getLogger("vanta.facts")


class SummaryCompanion:
    """Writes summaries while no turn runs."""

    name = "summary"

    async def accompany(self, host: Host) -> None:
        """Write summaries until cancelled. Returns at once, with a warning, if impossible."""
        await run_companion(host, self.name, summarise_next)


async def summarise_next(host: Host, memory: Memory, track: Track) -> bool:
    """Extend a summary of the next session with new items; return False if there is none.

    Raises EngineError, StoreError.
    """
    position = int(await memory.state(POSITION) or 0)
    page = await memory.arrivals(position, PAGE)
    if not page:
        return False
    user, session = page[0].user, page[0].session
    summarised = _SessionSummaries(host, memory, track, user, session)
    if page[0].kind == "message" and await summarised.extend():
        return True
    same = list(takewhile(lambda item: (item.user, item.session) == (user, session), page))
    await memory.set_state(POSITION, str(same[-1].id))
    return True


@dataclass(frozen=True, slots=True)
class _SessionSummaries:
    """The public and the private summary of one session."""

    host: Host
    memory: Memory
    track: Track
    user: str
    session: str

    async def extend(self) -> bool:
        """Do one step; return False if the summaries cover every dropped exchange."""
        dropped = await self._dropped_exchanges()
        public_ones = [exchange for exchange in dropped if not exchange.private]
        public = await self._current(public_ones, private=False)
        if public.covers < len(public_ones):
            return await self._add_step(public, public_ones, private=False, beside=0)
        if len(public_ones) == len(dropped):
            return False
        beside = public.item.id if public.item else 0
        whole = await self._current(dropped, private=True)
        if whole.covers < len(dropped):
            return await self._add_step(whole, dropped, private=True, beside=beside)
        if whole.item and whole.item.id < beside:
            await self._store(whole.text, dropped, private=True, beside=beside)
        return False

    async def _dropped_exchanges(self) -> list[Exchange]:
        """Return the exchanges that some track no longer sees, earliest first."""
        records = await self.host.store.records(user=self.user, session=self.session, limit=1)
        if not records:
            return []
        history = await self.host.store.history(self.user, self.session)
        count = _dropped_count(records[0]["trace"].get("context", {}))
        if records[0]["private"]:
            return history[:count]
        # A public turn left private exchanges out before it counted.
        public = [place for place, exchange in enumerate(history) if not exchange.private][:count]
        return history[: public[-1] + 1] if public else []

    async def _current(self, exchanges: Sequence[Exchange], *, private: bool) -> _Summary:
        """Return the stored summary if it covers a prefix of `exchanges`, or an empty one."""
        for item in reversed(await self._stored(private)):
            covers = int(_tag_value(item, "covers") or 0)
            last = exchanges[covers - 1].turn if 0 < covers <= len(exchanges) else ""
            if last and last == _tag_value(item, "through"):
                return _Summary(covers, item.text, item)
        return _Summary(0, "", None)

    async def _add_step(
        self, summary: _Summary, exchanges: Sequence[Exchange], *, private: bool, beside: int
    ) -> bool:
        covers = min(summary.covers + STEP, len(exchanges))
        text = await self._summarise(summary.text, exchanges[summary.covers : covers])
        await self._store(text, exchanges[:covers], private=private, beside=beside)
        return True

    async def _summarise(self, before: str, exchanges: Sequence[Exchange]) -> str:
        """Return the model's summary, or excerpts of the user's messages if it returns none."""
        values = {"before": before, "exchanges": _transcript(exchanges)}
        prompt = self.host.templates.render("memory/summary", values)
        try:
            answer = await complete(
                self.track, prompt, session="companion/summary", max_tokens=MAX_TOKENS
            )
        except EngineError as error:
            if error.kind not in PERMANENT:
                raise
            _log.info("a part of session %r is not summarised: %s", self.session, error)
            return _excerpts(before, exchanges)
        return " ".join(answer.text.split()) or _excerpts(before, exchanges)

    async def _store(
        self, text: str, exchanges: Sequence[Exchange], *, private: bool, beside: int
    ) -> None:
        """Replace the stored summary; remove it again if one of `exchanges` was forgotten."""
        tag = self._tag(private)
        through = exchanges[-1].turn
        item = NewItem(
            user=self.user,
            kind="summary",
            text=text,
            said_at=time.time(),
            session=self.session,
            private=private,
            tags=(tag, f"covers:{len(exchanges)}", f"through:{through}", f"beside:{beside}"),
            source=f"summary of {len(exchanges)} exchange{'s' * (len(exchanges) > 1)}",
            dates={},
        )
        with anyio.CancelScope(shield=True):
            await self.memory.replace(self.user, tag, [item], kind="summary")
            history = await self.host.store.history(self.user, self.session)
            remaining = {exchange.turn for exchange in history}
            if not all(exchange.turn in remaining for exchange in exchanges):
                stale = tuple(item.id for item in await self._stored(private))
                await self.memory.forget(Selection(self.user, ids=stale))

    async def _stored(self, private: bool) -> list[MemoryItem]:
        return await self.memory.recent(
            Scope(self.user, self.session, private=True),
            filters=Filters(kinds=("summary",), tags=(self._tag(private),)),
        )

    def _tag(self, private: bool) -> str:
        return f"summary:{'private' if private else 'public'}:{self.session}"


@dataclass(frozen=True, slots=True)
class _Summary:
    """The current summary, of the first `covers` exchanges; item: None if none is stored."""

    covers: int
    text: str
    item: MemoryItem | None


def _dropped_count(context: Mapping[str, Any]) -> int:
    """Return the maximum number of exchanges that a turn left out of a track's prompt."""
    return max((track.get("dropped_exchanges") or 0 for track in context.values()), default=0)


def _tag_value(item: MemoryItem, key: str) -> str:
    """Return the rest of the tag that starts with `key:`, "" if there is none."""
    for tag in item.tags:
        if tag.startswith(f"{key}:"):
            return tag.removeprefix(f"{key}:")
    return ""


def _transcript(exchanges: Sequence[Exchange]) -> str:
    return "\n".join(
        f"{message.role}: {' '.join(message.content.split())[:SHOWN]}"
        for exchange in exchanges
        for message in exchange.messages
    )


def _excerpts(before: str, exchanges: Sequence[Exchange]) -> str:
    messages = [message for exchange in exchanges for message in exchange.messages]
    texts = [" ".join(item.content.split())[:EXCERPT] for item in messages if item.role == "user"]
    return " ".join(filter(None, (before, *(f"The user said: {text}" for text in texts))))
