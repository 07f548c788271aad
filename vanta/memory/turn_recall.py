"""The recall of one turn: starts with the turn, awaited by its first leg, the same for all legs.

Invariant: awaiting it never raises and never takes longer than its time-out after the turn started;
the text of a private turn is given to no embedder that is not private.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vanta.events import Event, MemoryRecalled, RecallTrace
from vanta.memory.items import Recalled, Recollection
from vanta.memory.memory import Memory, Question


class TurnRecall:
    """A search of `memory` for one turn.

    :param timeout_s: seconds that the search may take.
    :param emit: called with one `MemoryRecalled`, when the result is first needed.
    :param now_s: the turn's clock.
    """

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
        self.trace: RecallTrace | None = None
        self.private_ids: frozenset[int] = frozenset()

    async def __call__(self) -> Sequence[Recalled]:
        """Return the matches, best first; the same at every call."""
        recollection = await self._pending.get()
        if self.trace is None:
            self._report(recollection)
        return recollection.found

    def close(self) -> None:
        """Cancel the search. No-op if it has completed."""
        self._pending.scope.cancel()

    def _report(self, recollection: Recollection) -> None:
        matches = recollection.found
        self.private_ids = frozenset(match.item.id for match in matches if match.item.private)
        self.trace = trace = RecallTrace(
            found=tuple((match.item.id, round(match.score, 4)) for match in matches),
            took_s=recollection.took_s,
            embedder=recollection.embedder,
            index=recollection.index,
            skipped=recollection.skipped,
        )
        self._emit(
            MemoryRecalled(
                at_s=self._now_s(),
                found=trace.found,
                took_s=trace.took_s,
                embedder=trace.embedder,
                index=trace.index,
                skipped=trace.skipped,
            )
        )
