"""The choice of tools in a turn, and the part of it that all turns of a runtime share.

Tools that fit into their share of a track's prompt are all shown, and nothing is ranked. Otherwise
they are ranked once for the message, and packed for each track: first the tools that the request
needs, those that the model found, and those of earlier turns, then the best ones. What a track was
shown stays the same from round to round, unless `find_tools` adds to it, and from turn to turn as
long as it has what the message needs: a cached prompt begins with its tools.

Invariant: the vectors of tools are made in the background; no turn waits for them.
"""

from __future__ import annotations

import functools
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import anyio

from vanta.context.tool_share import NO_TOOLS_SHOWN, CountTools, ShownTools
from vanta.errors import describe
from vanta.messages import Exchange
from vanta.tool_contract import Tool, ToolResult
from vanta.tools.recall.finding import find_tools
from vanta.tools.recall.index import Embed, ToolIndex
from vanta.tools.recall.ranking import (
    FIND_TOOLS,
    Ranked,
    RankedTool,
    ScoredTool,
    score_tools,
    show_best,
    show_whole,
)
from vanta.tools.registry import OfferedTool
from vanta.trace import ToolsTrace, ToolTrace

UNKNOWN_WINDOW_ROOM = 4096
"""Tokens for the tools of a track whose window is not known."""

EMBEDDED_AT_ONCE = 16
"""Tools that are embedded in one call, which the start of a turn cancels."""

PATIENCE_S = 20.0
"""Seconds after which tools are embedded although a turn runs."""

RECENT_SHARE = 0.5
"""Most of the room that is kept for tools which were called in earlier turns."""

STRONG = 0.8
"""Share of the best tool's score from which on a tool is one that the message needs."""

KEPT_ORDERS = 1024
"""Tracks of sessions whose tools are remembered."""

_DIGITS = 4
_log = logging.getLogger("vanta.tools")


InQuiet = Callable[[Callable[[], Awaitable[int]]], Awaitable[int]]
"""Runs work while no turn runs, and returns its result; see `vanta.runtime.in_quiet`."""


class TextEmbedder(Protocol):
    """The part of an embedder that the recall of tools uses; see `vanta.memory.Embedder`."""

    private: bool

    async def load(self) -> None:
        """Prepare the embedder. Idempotent."""
        ...

    async def embed(self, texts: Sequence[str]) -> Any:
        """Return the vectors of texts."""
        ...


class ToolLibrary:
    """What the turns of a runtime share: the index of its tools, and the vectors in it.

    :param embedder: memory's embedder; None ranks by words alone.
    """

    def __init__(self, embedder: TextEmbedder | None = None) -> None:
        self.index = ToolIndex()
        self._orders: OrderedDict[tuple[str, str], tuple[int, tuple[str, ...]]] = OrderedDict()
        self._problem = "" if embedder is None else "the embedder is not loaded yet"
        self._embedder = embedder
        self._embed: Embed | None = None
        self._waiting: Sequence[OfferedTool] = ()
        self._requested = anyio.Event()

    def embed(self, *, private: bool) -> Embed | None:
        """Return what makes vectors; None if there is no embedder, or if it is not loaded yet.

        :param private: whether the text must not leave this machine.
        """
        if self._embedder is None or (private and not self._embedder.private):
            return None
        return self._embed

    def why_words(self, *, private: bool) -> str:
        """Return why there are no vectors; "" if there are, or if there is no embedder.

        :param private: whether the text must not leave this machine.
        """
        if self._embedder is not None and private and not self._embedder.private:
            return "the turn may be private, and the embedder is not"
        return self._problem

    def keep_order(self, session: str, track: str, room: int, order: Sequence[str]) -> None:
        """Remember what a track was shown in a session, in the order in which it was packed.

        :param session: the key of the session.
        :param track: the name of the track.
        :param room: the tokens that there were.
        :param order: the names of the tools.
        """
        self._orders[session, track] = (room, tuple(order))
        self._orders.move_to_end((session, track))
        if len(self._orders) > KEPT_ORDERS:
            self._orders.popitem(last=False)

    def kept_order(self, session: str, track: str, room: int) -> Sequence[str]:
        """Return what `keep_order` remembers; nothing if there was another room.

        :param session: the key of the session.
        :param track: the name of the track.
        :param room: the tokens that there are.
        """
        before, order = self._orders.get((session, track), (room, ()))
        return order if before == room else ()

    def request_vectors(self, offered: Sequence[OfferedTool]) -> None:
        """Have the vectors of tools made in the background.

        :param offered: the tools of a turn that had to rank them.
        """
        if self._embedder is not None:
            self._waiting = offered
            self._requested.set()

    async def keep_embedded(self, in_quiet: InQuiet) -> None:
        """Make the vectors of the tools of ranked turns, until cancelled. An embedder that fails
        is tried again with the next turn.

        :param in_quiet: runs work while no turn runs.
        """
        embedder = self._embedder
        while embedder is not None:
            await self._requested.wait()
            self._requested = anyio.Event()
            try:
                await embedder.load()
                self._embed = self._embed or embedder.embed
                while await self._embed_soon(in_quiet):
                    self._problem = ""
            except Exception as error:  # noqa: BLE001 - words alone rank tools then
                self._problem = f"the embedder failed: {describe(error)}"
                _log.debug("tools are ranked by words alone for now: %s", describe(error))

    async def _embed_soon(self, in_quiet: InQuiet) -> int:
        """Embed some tools while no turn runs; beside turns if there is always one."""
        with anyio.move_on_after(PATIENCE_S):
            return await in_quiet(self._embed_some)
        return await self._embed_some()

    async def _embed_some(self) -> int:
        assert self._embed is not None  # noqa: S101 - only called with an embedder
        return await self.index.embed_tools(self._waiting, self._embed, limit=EMBEDDED_AT_ONCE)


@dataclass(frozen=True, slots=True)
class ToolNeed:
    """What a turn needs tools for.

    :param question: its message.
    :param session: the key of its session.
    :param recent: for tools that earlier turns of the session called, how many turns ago.
    :param is_confidential: returns whether text of the turn must not leave this machine.
    """

    question: str
    session: str
    recent: Mapping[str, int]
    is_confidential: Callable[[], bool]


class ToolRecall:
    """Which tools the tracks of one turn are shown.

    :param library: what the turns of the runtime share.
    :param offered: the tools that the turn may call.
    :param need: what the turn needs tools for.
    """

    def __init__(
        self, library: ToolLibrary, offered: Sequence[OfferedTool], need: ToolNeed
    ) -> None:
        self._library = library
        self._offered = offered
        self._need = need
        self._by_name = {item.name: item for item in offered}
        self._found: dict[str, OfferedTool] = {}
        self._shown: dict[str, ShownTools] = {}
        self._ranking: tuple[list[ScoredTool], str] | None = None
        self._lock = anyio.Lock()

    async def choose(
        self,
        track: str,
        tools: Sequence[Tool],
        *,
        needed: Collection[str],
        room: int | None,
        count: CountTools,
    ) -> ShownTools:
        """Return the tools of a request; see `vanta.context.tool_share.ToolChooser`."""
        if not tools:
            return NO_TOOLS_SHOWN
        room = UNKNOWN_WINDOW_ROOM if room is None else room
        before = self._shown.get(track)
        if before is None or not self._still_holds(before, tools, needed, room):
            before = self._shown[track] = await self._chosen(track, tools, needed, room, count)
        return before

    async def find(self, query: str) -> ToolResult:
        """Run a call of `find_tools`; what it finds is shown from the next round on.

        :param query: what the model looks for.
        """
        shown = [{tool.name for tool in item.tools} for item in self._shown.values()]
        found = await find_tools(
            query,
            self._offered,
            shown=set.intersection(*shown) if shown else set(),
            embed=self._library.embed(private=self._need.is_confidential()),
            index=self._library.index,
        )
        for item in reversed(found.added):  # the latest ones first, of these the best
            self._found.pop(item.name, None)
            self._found = {item.name: item, **self._found}
        return found.result

    @property
    def found(self) -> tuple[str, ...]:
        """The names of the tools that the model found, the latest first."""
        return tuple(self._found)

    def restore(self, found: Sequence[str]) -> None:
        """Show tools that the model found before its turn was parked, as far as they are offered.

        :param found: their names, from `found`.
        """
        known = (name for name in found if name in self._by_name)
        self._found = {name: self._by_name[name] for name in known}

    def _still_holds(
        self, before: ShownTools, tools: Sequence[Tool], needed: Collection[str], room: int
    ) -> bool:
        """Return whether what a track was shown is right for another request of the turn."""
        names = {tool.name for tool in before.tools}
        offered = {tool.name for tool in tools}
        wanted = {name for name in (*needed, *self._found) if name in offered}
        is_whole = offered <= names
        return (
            names <= offered | {FIND_TOOLS.name}
            and (wanted | (offered - self._by_name.keys())) <= names
            and (before.tokens <= room or before.is_least)
            and (is_whole or before.trace is None or before.trace.room == room)
        )

    async def _chosen(
        self,
        track: str,
        tools: Sequence[Tool],
        needed: Collection[str],
        room: int,
        count: CountTools,
    ) -> ShownTools:
        items = [self._by_name.get(tool.name) or OfferedTool("", tool, tool.name) for tool in tools]
        whole = await show_whole(items, room, count)
        if whole is not None:
            return _shown(whole, items, room, is_least=False)
        scored, note = await self._ranked()
        order, must = self._in_order(items, scored, needed, room)
        library, session = self._library, self._need.session
        pack = functools.partial(
            show_best, offered=items, room=room, count=count, index=library.index, note=note
        )
        kept = self._kept(library.kept_order(session, track, room), order, must)
        best = await pack(kept) if kept else await pack(order, needed=must)
        if kept and len(best.shown) < len(kept):  # a tool has changed since
            best = await pack(order, needed=must)
        if not best.shown and not best.finder:
            return NO_TOOLS_SHOWN
        names = [item.offered.name for item in best.shown]
        library.keep_order(session, track, room, [name for name in names if name in self._by_name])
        return _shown(best, items, room, is_least=len(best.shown) <= must and not best.finder)

    async def _ranked(self) -> tuple[list[ScoredTool], str]:
        """Return all tools of the turn, best first, ranked once; and why meaning took no part."""
        async with self._lock:
            if self._ranking is None:
                self._library.request_vectors(self._offered)
                private = self._need.is_confidential()
                embed = self._library.embed(private=private)
                why = self._library.why_words(private=private)
                scored, note = await score_tools(
                    self._need.question,
                    self._offered,
                    embed=embed,
                    recent=self._need.recent,
                    index=self._library.index,
                    limit=len(self._offered),
                )
                self._ranking = scored, why if embed is None or (note and why) else note
            return self._ranking

    def _in_order(
        self,
        items: Sequence[OfferedTool],
        scored: Sequence[ScoredTool],
        needed: Collection[str],
        room: int,
    ) -> tuple[list[ScoredTool], int]:
        """Return the tools in the order in which they are packed, and how many have to be shown.

        Those that are no tools of a toolset, such as `read_result`, have to be.
        """
        scores = {entry.offered.name: entry for entry in scored}
        entries = {item.name: scores.get(item.name) or ScoredTool(item, 0.0, {}) for item in items}
        must = [name for name in entries if name in needed or name not in self._by_name]
        if "required" in needed and not must:  # a call needs a tool, whatever the room is
            must = [entry.offered.name for entry in scored if entry.offered.name in entries][:1]
        recent = sorted(self._need.recent, key=self._need.recent.__getitem__)
        recent = recent[: int(RECENT_SHARE * room) // _usual_tokens(items)]
        rest = (entry.offered.name for entry in scored)
        order = dict.fromkeys([*must, *self._found, *recent, *rest])
        return [entries[name] for name in order if name in entries], len(must)

    def _kept(
        self, before: Sequence[str], order: Sequence[ScoredTool], must: int
    ) -> list[ScoredTool]:
        """Return what the track was shown before if that has all that the message needs."""
        entries = {entry.offered.name: entry for entry in order}
        if not before or any(name not in entries for name in before):
            return []
        strong = STRONG * max((entry.relevance for entry in order), default=0.0)
        wanted = {entry.offered.name for entry in order[:must]} | set(self._found)
        wanted |= {name for name, entry in entries.items() if entry.relevance >= strong > 1e-6}
        return [entries[name] for name in before] if wanted <= set(before) else []


def recent_calls(history: Iterable[Exchange]) -> dict[str, int]:
    """Return how many turns ago each tool was called last: 1 for the latest turn.

    :param history: the exchanges that the turn may show, oldest first.
    """
    recent: dict[str, int] = {}
    for age, exchange in enumerate(reversed(list(history)), start=1):
        for message in exchange.messages:
            for call in message.tool_calls:
                recent.setdefault(call.name, age)
    return recent


def _usual_tokens(items: Sequence[OfferedTool]) -> int:
    """Return about how many tokens a tool takes in its shortest form."""
    characters = sum(len(item.tool.description[:120]) + len(item.name) for item in items)
    return 40 + characters // (4 * len(items))


def _shown(
    ranked: Ranked, offered: Sequence[OfferedTool], room: int, *, is_least: bool
) -> ShownTools:
    """Return the tools of a request in the order of the offer, so that a prompt changes little from
    turn to turn."""
    places = {item.name: place for place, item in enumerate(offered)}
    shown = sorted(ranked.shown, key=lambda item: places[item.offered.name])
    tools = [item.tool for item in shown]
    trace = ToolsTrace(
        offered=len(offered),
        tokens=ranked.tokens,
        room=room,
        shown=tuple(map(_trace, sorted(ranked.shown, key=lambda item: -item.score))),
        finder=ranked.finder,
        note=ranked.note,
    )
    finder = (FIND_TOOLS,) if ranked.finder else ()
    return ShownTools((*tools, *finder), ranked.tokens, trace, is_least)


def _trace(item: RankedTool) -> ToolTrace:
    parts = {name: round(part, _DIGITS) for name, part in item.parts.items()}
    return ToolTrace(
        name=item.offered.name,
        tokens=item.tokens,
        detail=item.detail,
        score=round(item.score, _DIGITS) if parts else None,
        parts=parts,
    )
