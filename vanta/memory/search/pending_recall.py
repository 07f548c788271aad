"""What a recall is asked for, and a recall that runs.

Invariant: everyone who waits for one recall gets the same result, and nobody waits longer than it
may last.
"""

from __future__ import annotations

from dataclasses import dataclass

import anyio

from vanta.memory.items import EVERYTHING, Filters, Recollection, Scope

FOUND = 200
"""Items that a recall returns at the most; the context takes what its budget has room for."""


@dataclass(frozen=True, slots=True)
class Question:
    """What to recall for. session: the conversation that asks, whose summary is recalled with the
    rest. confidential: the question itself may not leave this machine."""

    text: str
    scope: Scope
    filters: Filters = EVERYTHING
    session: str = ""
    limit: int = FOUND
    confidential: bool = False


class PendingRecall:
    """A recall that runs; `get` waits for it, until its time is up. scope: cancel it where nobody
    needs the result any more."""

    def __init__(self, patience_s: float) -> None:
        self.scope = anyio.CancelScope()
        self._began_at = anyio.current_time()
        self._patience_s = patience_s
        self._done = anyio.Event()
        self._result: Recollection | None = None

    def until(self, share: float) -> float:
        """The moment at which `share` of its time is over, on anyio's clock."""
        return self._began_at + share * self._patience_s

    def settle(self, result: Recollection) -> None:
        """The result is there; too late if somebody went on without it."""
        if self._result is None:
            self._result = result
            self._done.set()

    async def get(self) -> Recollection:
        """The result, the same for everyone who asks; empty, with the reason, if it came late."""
        with anyio.move_on_at(self.until(1.0)):
            await self._done.wait()
        self.settle(
            Recollection(
                took_s=self._patience_s,
                skipped=f"recall took longer than {self._patience_s:g} s",
            )
        )
        assert self._result is not None  # noqa: S101 - settled just above
        return self._result
