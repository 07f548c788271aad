"""Memories in a prompt: which of those that were recalled a track gets, within its room.

They stand as one block at the head of the user's message, since many chat templates want user and
assistant in turn; what is stored is the bare message. A summary of the session stands in it for
exchanges that fell out of the history: there, and not before the history, so that a new summary
costs the engine's KV cache nothing. Invariant: a private item reaches private tracks alone, what
is in the history is not repeated, and each line is whole.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from vanta.context.token_cache import TokenCache
from vanta.engine import Engine
from vanta.events import MemoryTrace
from vanta.memory import (
    MemoryItem,
    RecalledItem,
    day_of,
    render_block,
    render_header,
    render_line,
    select_within_budget,
)
from vanta.messages import Message
from vanta.track import Track

MOST_OFFERED = 256
"""Recalled items that a track looks at, the best first."""

Write = Callable[[str, str], str]
"""Writes the block from its lines and the summary ("" for none)."""

Recall = Callable[[], Awaitable[Sequence[RecalledItem]]]
"""Returns a turn's matches, best first and the same at every call. It never raises and has a
deadline of its own."""


class Memories:
    """What was found for a turn, best first, and how it is written: each line once, for all of the
    turn's tracks."""

    def __init__(self, found: Sequence[RecalledItem], write: Write, session: str) -> None:
        self.found = tuple(found)
        self.write = write
        self._session = session
        self._lines: dict[int, tuple[str, str]] = {}
        self._frames: dict[str, str] = {}

    def frame(self, summary: str) -> str:
        """The block without any line, and what parts it from the message."""
        if summary not in self._frames:
            self._frames[summary] = self.write("", summary) + GAP
        return self._frames[summary]

    def line(self, item: MemoryItem) -> tuple[str, str]:
        """An item's line and the header of its day, each with its line break."""
        known = self._lines.get(item.id)
        if known is None:
            known = self._lines[item.id] = (
                render_line(item) + "\n",
                render_header(day_of(item)) + "\n",
            )
        return known

    def summary_for(self, track: Track) -> str:
        """The newest summary of this session that the track may see, or nothing."""
        own = [one.item for one in self._open_to(track) if self._is_own_summary(one.item)]
        return max(own, key=lambda item: item.id).text if own else ""

    def offered_to(self, track: Track, turns: Collection[str]) -> list[RecalledItem]:
        """What the track may see and does not see already in the history of `turns`."""
        offered = [
            one
            for one in self._open_to(track)
            if not (one.item.turn_id and one.item.turn_id in turns)
            and not self._is_own_summary(one.item)
        ]
        return offered[:MOST_OFFERED]

    def _open_to(self, track: Track) -> list[RecalledItem]:
        return [one for one in self.found if track.private or not one.item.private]

    def _is_own_summary(self, item: MemoryItem) -> bool:
        return item.kind == "summary" and item.session == self._session


@dataclass(frozen=True, slots=True)
class Pack:
    """A block of memories: the chosen ones in chronological order, what each line takes, and what
    all of it takes by these counts."""

    chosen: tuple[RecalledItem, ...]
    summary: str
    costs: Mapping[int, int] = field(repr=False)
    tokens: int
    write: Write = field(repr=False)

    def put_before(self, message: Message) -> Message:
        """The message with the block at its head."""
        notes = self.write(render_block(one.item for one in self.chosen), self.summary)
        return dataclasses.replace(message, content=f"{notes}{GAP}{message.content}")

    def trace(self) -> tuple[MemoryTrace, ...]:
        """Return the id, the score and the tokens of each line."""
        return tuple(
            MemoryTrace(id=memory.item.id, score=memory.score, tokens=self.costs[memory.item.id])
            for memory in self.chosen
        )

    def without(self, tokens: int) -> Pack | None:
        """The block shorter by at least `tokens`, the lowest scores dropped; None if that takes
        all of it."""
        saved, kept = 0, list(self.chosen)
        for one in sorted(self.chosen, key=lambda one: (one.score, -one.item.id)):
            if saved >= tokens:
                break
            kept.remove(one)
            saved += self.costs[one.item.id]
        if saved < tokens or not kept:
            return None
        return dataclasses.replace(self, chosen=tuple(kept), tokens=self.tokens - saved)


GAP = "\n\n"
"""Between the block and the message."""


class Packer:
    """Packs one turn's memories for one track; what it counts, it counts once."""

    def __init__(self, track: Track, memories: Memories, meter: TokenCache) -> None:
        self._engine: Engine = track.engine
        self._track = track
        self._memories = memories
        self._meter = meter

    async def pack(self, room: int, turns: Collection[str], *, fell_out: bool) -> Pack | None:
        """A block of at most `room` tokens; None if nothing fits. turns: those whose exchanges are
        in the history; fell_out: whether some are not. Raises EngineError."""
        offered = self._memories.offered_to(self._track, turns)
        summary = self._memories.summary_for(self._track) if fell_out else ""
        frames = [self._memories.frame(text) for text in dict.fromkeys((summary, ""))]
        written = [self._memories.line(one.item) for one in offered]
        headers = sorted({header for _, header in written})
        texts = [*frames, *headers, *(line for line, _ in written)]
        counts = await self._meter.texts(self._engine, texts)
        header_cost = max(counts[len(frames) : len(frames) + len(headers)], default=0)
        lines = counts[len(frames) + len(headers) :]
        costs = {one.item.id: cost for one, cost in zip(offered, lines, strict=True)}
        if counts[0] > room:
            summary = ""
        frame = counts[0] if summary else counts[len(frames) - 1]
        chosen = select_within_budget(
            offered, room - frame, lambda item: costs[item.id], header_cost
        )
        if frame > room or not (chosen or summary):
            return None
        days = {self._memories.line(one.item)[1] for one in chosen}
        tokens = frame + header_cost * len(days) + sum(costs[one.item.id] for one in chosen)
        return Pack(tuple(chosen), summary, costs, tokens, self._memories.write)
