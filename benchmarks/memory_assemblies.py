"""Random assemblies: a window, shares, a past, recalled items and a message.

Invariant: a seed gives the same assemblies.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from vanta.context import Assembled, BudgetShares, Exchange, Memories, Write, assemble
from vanta.engine import Engine
from vanta.memory import MemoryItem, RecalledItem
from vanta.messages import Message
from vanta.track import Track

from .memory_texts import Texts

WINDOWS = (1024, 2048, 4096, 8192)


@dataclass(frozen=True, slots=True)
class Given:
    """What one prompt is put together from."""

    track: Track
    system: str
    history: tuple[Exchange, ...]
    message: Message
    found: tuple[RecalledItem, ...]
    shares: BudgetShares

    def memories(self, write: Write) -> Memories:
        """What was recalled for the turn."""
        return Memories(self.found, write, "now")

    async def put_together(self, memories: Memories, engine: Engine | None = None) -> Assembled:
        """The prompt; engine: in place of the track's own. Raises EngineError where not even the
        message fits."""
        track = self.track
        return await assemble(
            dataclasses.replace(track, engine=engine) if engine else track,
            self.system,
            self.history,
            (self.message,),
            memories=memories,
            shares=self.shares,
        )

    def has_enough_for(self, got: Assembled) -> bool:
        """Whether a line that would not have been too long was left out, and history was cut: where
        all of it is there, memories keep to their share."""
        if not got.dropped:
            return False
        private = self.track.private
        seen = [one for one in self.found if private or not one.item.private]
        left_out = len(seen) - (len(got.pack.chosen) if got.pack else 0)
        short = [one for one in seen if len(one.item.text.encode()) <= 60]
        chosen = {one.item.id for one in got.pack.chosen} if got.pack else set()
        return left_out > 0 and any(one.item.id not in chosen for one in short)

    def with_new_memories(self, draw: Draw) -> Given:
        """The same turn on another track: other items were found."""
        return Given(self.track, self.system, self.history, self.message, draw.found(), self.shares)


class Draw:
    """Draws assemblies."""

    def __init__(self, seed: int) -> None:
        self._texts = Texts(seed)
        self._random = self._texts.random

    def assembly(self, engine: Engine) -> Given:
        """One, for `engine`."""
        choice, kinds = self._random, self._texts.some_kinds()
        window = choice.choice(WINDOWS)
        track = Track(
            "any",
            engine,
            window=window,
            reply_reserve=choice.randint(16, window // 3),
            private=choice.random() < 0.5,
        )
        past = choice.choice((0, 3, 10, 30)) + choice.randint(0, 5)
        history = [self._exchange(kinds) for _ in range(past)]
        return Given(
            track=track,
            system=self._texts.text(kinds) if choice.random() < 0.9 else "",
            history=tuple(history),
            message=Message("user", self._texts.text(kinds)),
            found=self.found(),
            shares=BudgetShares(memory=choice.choice((0.1, 0.25, 0.5, 0.8))),
        )

    def found(self) -> tuple[RecalledItem, ...]:
        """What a retrieval finds, best first: some long, many short."""
        kinds = self._texts.some_kinds()
        count = self._random.choice((0, 20, 120))
        items = [
            MemoryItem(
                id=number,
                user="ada",
                session="old",
                turn_id=f"old-{number}",
                kind="message",
                role=self._random.choice(("user", "assistant")),
                text=self._texts.text(kinds)[: self._random.choice((16, 60, 500))],
                said_at=1.7e9 + self._random.random() * 1e7,
                private=self._random.random() < 0.2,
            )
            for number in range(count)
        ]
        return tuple(RecalledItem(item, 1.0 / (1 + item.id)) for item in items)

    def _exchange(self, kinds: list[Callable[[int], str]]) -> Exchange:
        said = (
            Message("user", self._texts.text(kinds)),
            Message("assistant", self._texts.text(kinds)),
        )
        return Exchange(said, private=self._random.random() < 0.1)
