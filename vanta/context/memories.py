"""Memories in a prompt: which recalled items a track gets, within its token budget.

They form one block at the head of the user's message, because many chat templates require user and
assistant to alternate. What is stored is the bare message. A summary of the session stands in the
block for exchanges that fell out of the history; before the history it would invalidate the
engine's KV cache whenever it changes.

Invariant: a private item reaches private tracks only, only what is relevant is shown, what the
history contains is not repeated, and each line is whole.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from vanta.bounds import CHARACTERS_PER_TOKEN, FREE_CHARACTERS
from vanta.context.token_cache import TokenCache
from vanta.engine import Engine
from vanta.memory import (
    MemoryItem,
    RecalledItem,
    day_of,
    one_line,
    render_header,
    render_line,
    select_within_budget,
)
from vanta.messages import Message
from vanta.trace import MemoryTrace
from vanta.track import Track

MOST_OFFERED = 256
"""Most matches that are considered for a track."""

Write = Callable[[str, str], str]
"""Writes the block from its lines and the summary ("" for none)."""

Recall = Callable[[], Awaitable[Sequence[RecalledItem]]]
"""Returns a turn's matches, best first and the same at every call. It never raises and has a
deadline of its own."""


class Memories:
    """A turn's matches and their text. Each line is rendered once for all tracks of the turn.

    :param found: the matches, best first.
    :param write: writes the block.
    :param session: id of the conversation, to recognise its own summary.
    :param min_relevance: matches of less relevance are not shown.
    """

    def __init__(
        self,
        found: Sequence[RecalledItem],
        write: Write,
        session: str,
        min_relevance: float = 0.0,
    ) -> None:
        self.found = tuple(found)
        self.write = functools.cache(write)  # the tracks of a turn mostly share their block
        self._session = session
        self._min_relevance = min_relevance
        self._lines: dict[int, tuple[str, str]] = {}
        self._frames: dict[str, str] = {}

    def frame(self, summary: str) -> str:
        """Return the block without any line, and the gap between block and message.

        :param summary: the summary of the session, or "".
        """
        if summary not in self._frames:
            self._frames[summary] = self.write("", summary) + GAP
        return self._frames[summary]

    def line(self, item: MemoryItem) -> tuple[str, str]:
        """Return an item's line and the header of its day, each with its line break.

        :param item: one of the matches.
        """
        known = self._lines.get(item.id)
        if known is None:
            known = self._lines[item.id] = (
                render_line(item) + "\n",
                render_header(day_of(item)) + "\n",
            )
        return known

    def block(self, items: Sequence[MemoryItem], summary: str) -> str:
        """Return the block of some of the matches, from the lines that were counted.

        :param items: matches, in chronological order.
        :param summary: the summary of the session, or "".
        """
        lines: list[str] = []
        last_header = ""
        for line, header in map(self.line, items):
            if header != last_header:
                lines.append(header)
                last_header = header
            lines.append(line)
        return self.write("".join(lines).removesuffix("\n"), summary)

    def summary_for(self, track: Track) -> str:
        """Return the newest summary of this session that a track may see, or "".

        :param track: the track that is prompted.
        """
        visible = [match.item for match in self._visible_to(track)]
        own = [item for item in visible if self._is_own_summary(item)]
        return one_line(max(own, key=lambda item: item.id).text) if own else ""

    def offered_to(self, track: Track, turns: Collection[str]) -> list[RecalledItem]:
        """Return the relevant matches that a track may see and that its history does not contain.

        :param track: the track that is prompted.
        :param turns: ids of the turns in its history.
        :returns: the best `MOST_OFFERED` of them, best first.
        """
        offered = [
            match
            for match in self._visible_to(track)
            if match.relevance >= self._min_relevance
            and not (match.item.turn_id and match.item.turn_id in turns)
            and not self._is_own_summary(match.item)
        ]
        return offered[:MOST_OFFERED]

    def _visible_to(self, track: Track) -> list[RecalledItem]:
        return [match for match in self.found if track.private or not match.item.private]

    def _is_own_summary(self, item: MemoryItem) -> bool:
        return item.kind == "summary" and item.session == self._session


@dataclass(frozen=True, slots=True)
class Pack:
    """A block of memories.

    :param chosen: the memories in it, in chronological order.
    :param summary: the summary in it, or "".
    :param costs: tokens of each line, by item id.
    :param tokens: tokens of the whole block by these counts.
    :param block: returns the text of a block, from its items and its summary.
    """

    chosen: tuple[RecalledItem, ...]
    summary: str
    costs: Mapping[int, int] = field(repr=False)
    tokens: int
    block: Callable[[Sequence[MemoryItem], str], str] = field(repr=False)

    def put_before(self, message: Message) -> Message:
        """Return `message` with the block at its head."""
        notes = self.block([match.item for match in self.chosen], self.summary)
        return dataclasses.replace(message, content=f"{notes}{GAP}{message.content}")

    def trace(self) -> tuple[MemoryTrace, ...]:
        """Return the id, the score and the tokens of each line."""
        return tuple(
            MemoryTrace(id=match.item.id, score=match.score, tokens=self.costs[match.item.id])
            for match in self.chosen
        )

    def without(self, tokens: int) -> Pack | None:
        """Return the block without its worst lines, shorter by at least `tokens`.

        :param tokens: tokens to save.
        :returns: the shorter block, None if nothing of it would be left.
        """
        saved, kept = 0, list(self.chosen)
        for match in sorted(self.chosen, key=lambda match: (match.score, -match.item.id)):
            if saved >= tokens:
                break
            kept.remove(match)
            saved += self.costs[match.item.id]
        if saved < tokens or not kept:
            return None
        return dataclasses.replace(self, chosen=tuple(kept), tokens=self.tokens - saved)


GAP = "\n\n"
"""Between the block and the message."""


class Packer:
    """Packs one turn's memories for one track.

    :param track: the track that is prompted.
    :param memories: the turn's matches.
    :param cache: token counts of the track's engine.
    """

    def __init__(self, track: Track, memories: Memories, cache: TokenCache) -> None:
        self._engine: Engine = track.engine
        self._track = track
        self._memories = memories
        self._cache = cache

    async def pack(self, room: int, turns: Collection[str], *, fell_out: bool) -> Pack | None:
        """Pack a block of memories.

        :param room: most tokens of the block.
        :param turns: ids of the turns whose exchanges are in the history.
        :param fell_out: whether some exchanges are not in the history.
        :returns: the block, None if nothing fits.
        :raises EngineError: if the engine cannot count.
        """
        most = FREE_CHARACTERS + CHARACTERS_PER_TOKEN * max(0, room)
        offered = self._memories.offered_to(self._track, turns)
        offered = [match for match in offered if len(match.item.text) <= most]
        summary = self._memories.summary_for(self._track) if fell_out else ""
        frames = [self._memories.frame(text) for text in dict.fromkeys((summary, ""))]
        lines = [self._memories.line(match.item) for match in offered]
        headers = sorted({header for _, header in lines})
        texts = [*frames, *headers, *(line for line, _ in lines)]
        counts = await self._cache.texts(self._engine, texts)
        header_cost = max(counts[len(frames) : len(frames) + len(headers)], default=0)
        line_costs = counts[len(frames) + len(headers) :]
        costs = {match.item.id: cost for match, cost in zip(offered, line_costs, strict=True)}
        if counts[0] > room:
            summary = ""
        frame = counts[0] if summary else counts[len(frames) - 1]
        chosen = select_within_budget(
            offered, room - frame, lambda item: costs[item.id], header_cost
        )
        if frame > room or not (chosen or summary):
            return None
        days = {self._memories.line(match.item)[1] for match in chosen}
        tokens = frame + header_cost * len(days) + sum(costs[match.item.id] for match in chosen)
        return Pack(tuple(chosen), summary, costs, tokens, self._memories.block)
