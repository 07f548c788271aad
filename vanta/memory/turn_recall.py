"""One turn's recall: begun with the turn, awaited by the first leg, the same for all its legs.

Invariant: asking for it never raises and never lasts longer than `memory.recall_timeout_s` after
the turn took its place; what a private turn says is given to no embedder that is not private.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from vanta.events import Event, MemoryRecalled
from vanta.memory.items import Recalled, Recollection
from vanta.memory.memory import Memory, Question


class TurnRecall:
    """A recall of `memory` for one turn. emit: told of it once, when it is first needed. now_s: the
    turn's clock."""

    def __init__(
        self,
        memory: Memory,
        question: Question,
        timeout_s: float,
        emit: Callable[[Event], None],
        now_s: Callable[[], float],
    ) -> None:
        self._pending = memory.begin(question, timeout_s)
        self._emit = emit
        self._now_s = now_s
        self.report: dict[str, Any] | None = None
        self.private_ids: frozenset[int] = frozenset()

    async def __call__(self) -> Sequence[Recalled]:
        """What was recalled, best first."""
        recollection = await self._pending.get()
        if self.report is None:
            self._tell(recollection)
        return recollection.found

    def close(self) -> None:
        """Nobody needs it any more."""
        self._pending.scope.cancel()

    def _tell(self, recollection: Recollection) -> None:
        event = MemoryRecalled(
            at_s=self._now_s(),
            found=tuple((one.item.id, round(one.score, 4)) for one in recollection.found),
            took_s=recollection.took_s,
            embedder=recollection.embedder,
            index=recollection.index,
            skipped=recollection.skipped,
        )
        self.private_ids = frozenset(one.item.id for one in recollection.found if one.item.private)
        told = event.to_dict()
        self.report = {key: told[key] for key in told if key not in {"type", "at_s"}}
        self._emit(event)
