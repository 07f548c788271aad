"""A runtime's memory, money and learnt facts for programs without an event loop.

Invariant: parameters, types and errors are those of the asynchronous classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from vanta.learning import Learnt
from vanta.memory import (
    Filters,
    ForgetPreview,
    ForgetReceipt,
    Memory,
    MemoryItem,
    NewItem,
    Question,
    Recollection,
    Scope,
    Selection,
)
from vanta.memory.items import NO_FILTERS
from vanta.memory.memory import PAGE, RECALL_TIMEOUT_S
from vanta.money import Ledger, Spending
from vanta.runtime.learnt_facts import LearntFacts
from vanta.runtime.sync.calls import Calls
from vanta.tools import ParkedCall, ParkedTurn, ParkedTurns


class SyncMemory:
    """A memory whose calls wait for their result; see `vanta.memory.Memory`."""

    def __init__(self, memory: Memory, calls: Calls) -> None:
        self._memory = memory
        self._calls = calls

    def recall(self, question: Question, timeout_s: float = RECALL_TIMEOUT_S) -> Recollection:
        """Search for items that fit a question; see `Memory.recall`."""
        return self._calls.call(self._memory.recall, question, timeout_s)

    def add(self, items: Iterable[NewItem]) -> list[int]:
        """Remember items; see `Memory.add`."""
        return self._calls.call(self._memory.add, items)

    def get(self, scope: Scope, ids: Sequence[int]) -> list[MemoryItem]:
        """Return the items of a scope with these ids; see `Memory.get`."""
        return self._calls.call(self._memory.get, scope, ids)

    def newest(
        self, scope: Scope, *, filters: Filters = NO_FILTERS, limit: int = PAGE
    ) -> list[MemoryItem]:
        """Return the newest items of a scope; see `Memory.newest`."""
        return self._calls.call(partial(self._memory.newest, scope, filters=filters, limit=limit))

    def export(self, user: str | None = None) -> Iterator[MemoryItem]:
        """Yield all items of a user; see `Memory.export`."""
        items = self._memory.export(user)

        async def following() -> MemoryItem | None:
            return await anext(items, None)

        while (item := self._calls.call(following)) is not None:
            yield item

    def preview_forget(self, selection: Selection) -> ForgetPreview:
        """Return what `forget` would delete; see `Memory.preview_forget`."""
        return self._calls.call(self._memory.preview_forget, selection)

    def forget(self, selection: Selection) -> ForgetReceipt:
        """Delete items for good; see `Memory.forget`."""
        return self._calls.call(self._memory.forget, selection)

    def stats(self, user: str | None = None) -> dict[str, Any]:
        """Return figures for a person; see `Memory.stats`."""
        return self._calls.call(self._memory.stats, user)


class SyncLedger:
    """The money of a runtime, for programs without an event loop."""

    def __init__(self, ledger: Ledger, calls: Calls) -> None:
        self._ledger = ledger
        self._calls = calls

    def spending(self) -> Spending:
        """Return all spending; see `Ledger.spending`."""
        return self._calls.call(self._ledger.spending)

    def reset(self, *, user: str, session: str | None = None) -> float:
        """Let a cap count from now on; see `Ledger.reset`."""
        return self._calls.call(partial(self._ledger.reset, user=user, session=session))


class SyncLearnt:
    """What a runtime has learnt about its tracks, for programs without an event loop."""

    def __init__(self, learnt: LearntFacts, calls: Calls) -> None:
        self._learnt = learnt
        self._calls = calls

    def facts(self) -> Sequence[Learnt]:
        """Return all facts that are still believed; see `LearntFacts.facts`."""
        return self._calls.portal.call(self._learnt.facts)

    def forget(self, track: str | None = None, what: str | None = None) -> None:
        """Forget facts; see `LearntFacts.forget`."""
        self._calls.portal.call(self._learnt.forget, track, what)


class SyncParkedTurns:
    """The turns that wait for a person, for programs without an event loop."""

    def __init__(self, turns: ParkedTurns, calls: Calls) -> None:
        self._turns = turns
        self._calls = calls

    def list(self, *, user: str | None = None, start: str = "") -> Sequence[ParkedTurn]:
        """Return the parked turns, oldest first; see `ParkedTurns.list`."""
        return self._calls.call(partial(self._turns.list, user=user, start=start))

    def approve(self, key: str, scope: str = "once") -> ParkedCall:
        """Approve a call; see `ParkedTurns.approve`."""
        return self._calls.call(self._turns.approve, key, scope)

    def deny(self, key: str, reason: str = "") -> ParkedCall:
        """Deny a call; see `ParkedTurns.deny`."""
        return self._calls.call(self._turns.deny, key, reason)

    def answer(self, key: str, text: str) -> ParkedCall:
        """Answer a question; see `ParkedTurns.answer`."""
        return self._calls.call(self._turns.answer, key, text)

    def take(self, turn: str) -> bool:
        """Remove a turn that is not wanted any more; see `ParkedTurns.take`."""
        return self._calls.call(self._turns.take, turn)
