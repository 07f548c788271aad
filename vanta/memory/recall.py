"""Recalls: words and meaning looked up side by side, within a time limit.

The words of a question are looked up in the store while the question is embedded and its neighbours
are searched. Invariants: a recall never raises and never lasts longer than its timeout; a part that
did not take part is named in the result; everything that waits for one recall gets the same result;
a confidential question is passed only to a private embedder.

A question is confidential, too, if its turn may become private by what it is shown: if its scope
includes private items, and there is private text. This is decided before the question is sent.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from vanta.concurrency import open_task_group
from vanta.errors import StoreError, describe
from vanta.events import Event, MemoryRecalled
from vanta.memory.items import MemoryItem, Question, RecalledItem, Recollection
from vanta.memory.search import ranking, retrieval
from vanta.memory.search.lexical import Postings
from vanta.memory.search.semantic import NEIGHBOURS, Neighbours, SemanticSearch
from vanta.memory.store import repository
from vanta.storage import store_waits_until
from vanta.trace import RecallTrace

if TYPE_CHECKING:
    from vanta.storage import Database

SEMANTIC_SHARE = 0.7
"""Share of a recall's time that the embedder and the index may take; the rest is for the words."""

T = TypeVar("T")
_log = logging.getLogger("vanta.memory")


class PendingRecall:
    """A recall in progress.

    :param timeout_s: seconds after which `get` returns without a result.
    :ivar scope: cancel it when the result is not needed any more.
    """

    def __init__(self, timeout_s: float) -> None:
        self.scope = anyio.CancelScope()
        self._began_at = anyio.current_time()
        self._timeout_s = timeout_s
        self._done = anyio.Event()
        self._result: Recollection | None = None

    def deadline(self, share: float) -> float:
        """Return the moment, on anyio's clock, at which `share` of the timeout has passed."""
        return self._began_at + share * self._timeout_s

    def settle(self, result: Recollection) -> None:
        """Set the result. No-op if there is one already, such as that of a timeout."""
        if self._result is None:
            self._result = result
            self._done.set()

    async def get(self) -> Recollection:
        """Return the result, the same for every caller; empty, with a reason, after a timeout."""
        with anyio.move_on_at(self.deadline(1.0)):
            await self._done.wait()
        self.settle(
            Recollection(
                took_s=self._timeout_s,
                skipped=f"recall took longer than {self._timeout_s:g} s",
            )
        )
        assert self._result is not None  # noqa: S101 - settled just above
        return self._result


class Recaller:
    """Answers questions from the store. catch_up: awaited first, so that the store has every
    message. request_sync: called when the index has work to do."""

    def __init__(
        self,
        database: Database,
        semantic: SemanticSearch | None,
        *,
        clock: Callable[[], float],
        catch_up: Callable[[], Awaitable[None]],
        request_sync: Callable[[], None],
    ) -> None:
        self._database = database
        self._semantic = semantic
        self._clock = clock
        self._catch_up = catch_up
        self._request_sync = request_sync

    async def serve(self, question: Question, pending: PendingRecall) -> None:
        """Settle `pending`; a failure becomes an empty recollection with its reason."""
        try:
            with pending.scope, store_waits_until(pending.deadline(1.0)):
                pending.settle(await self._recall(question, pending))
        except StoreError as error:
            pending.settle(Recollection(skipped=str(error)))
        except Exception as error:  # noqa: BLE001 - no recall may break a turn
            _log.exception("a recall failed")
            pending.settle(Recollection(skipped=f"recall failed: {describe(error)}"))

    async def _recall(self, question: Question, pending: PendingRecall) -> Recollection:
        began = time.perf_counter()
        semantic = self._semantic
        question = await self._decided(question)
        if semantic is not None and not semantic.loaded:
            self._request_sync()
        reason = self._no_semantic_search(question)
        if reason is not None:
            neighbours = Neighbours(note=reason)
            find = partial(self._find, question=question, neighbours=neighbours)
            items = await self._read(find, question)
        else:
            neighbours, postings = await self._search(question, pending)
            rank = partial(self._rank, question=question, postings=postings, neighbours=neighbours)
            items = await self._database.read(rank)
        if semantic is not None and semantic.has_unchecked:
            self._request_sync()
        return Recollection(
            items=tuple(items),
            took_s=time.perf_counter() - began,
            embedder=semantic.embedder.name if semantic and neighbours.ids else None,
            index=neighbours.index,
            skipped=neighbours.note,
        )

    async def _search(
        self, question: Question, pending: PendingRecall
    ) -> tuple[Neighbours, Sequence[Postings]]:
        """Return the neighbours of the question, and its words, looked up side by side."""
        results: list[Neighbours] = []
        async with open_task_group() as tasks:
            tasks.start_soon(self._search_neighbours, question, pending, results)
            postings = await self._read(partial(self._look_up, question=question), question)
        return results[0], postings

    async def _read(self, work: Callable[[Any], T], question: Question) -> T:
        """Read from the store once it has every message that the question may need.

        That is one step, unless messages of the user are still queued. The latest turn of the
        session that asks may be: it is in its history.
        """
        user, session = question.scope.user, question.session

        def read(connection: Any) -> T | None:
            queued = repository.has_queued_for(connection, user, session)
            return None if queued else work(connection)

        result = await self._database.read(read)
        if result is None:
            await self._catch_up()
            result = await self._database.read(work)
        return result

    async def _decided(self, question: Question) -> Question:
        """Return the question as confidential if it may be, or with a scope without private items.

        Items that become private meanwhile are then out of its scope.
        """
        semantic = self._semantic
        may_leave = semantic is not None and not semantic.embedder.private
        if not may_leave or question.confidential or not question.scope.private:
            return question
        await self._catch_up()
        look = partial(repository.has_private_text, scope=question.scope, session=question.session)
        if await self._database.read(look):
            return dataclasses.replace(question, confidential=True)
        scope = dataclasses.replace(question.scope, private=False)
        return dataclasses.replace(question, scope=scope)

    async def _search_neighbours(
        self, question: Question, pending: PendingRecall, results: list[Neighbours]
    ) -> None:
        """Append the neighbours of the question to `results`, or a note if time runs out."""
        assert self._semantic is not None  # noqa: S101 - only called if meaning takes part
        with anyio.move_on_at(pending.deadline(SEMANTIC_SHARE)):
            scope = question.scope
            results.append(await self._semantic.neighbours(question.text, scope, NEIGHBOURS))
        if not results:
            results.append(Neighbours(note="the embedder or the index took too long"))

    def _no_semantic_search(self, question: Question) -> str | None:
        """Return why meaning takes no part in this recall, None if it does."""
        if self._semantic is None:
            return ""
        if question.confidential and not self._semantic.embedder.private:
            return "the question may be private, and the embedder is not"
        if not self._semantic.loaded:
            return self._semantic.embedder_error or "the embedder is still being loaded"
        return None

    def _look_up(self, connection: Any, question: Question) -> Sequence[Postings]:
        return retrieval.look_up_words(connection, question.scope, question.filters, question.text)

    def _find(
        self, connection: Any, question: Question, neighbours: Neighbours
    ) -> list[RecalledItem]:
        """Look up the words and rank, in one read."""
        return self._rank(connection, question, self._look_up(connection, question), neighbours)

    def _rank(
        self,
        connection: Any,
        question: Question,
        postings: Sequence[Postings],
        neighbours: Neighbours,
    ) -> list[RecalledItem]:
        semantic, now = self._semantic, self._clock()
        fingerprint = semantic.embedder.fingerprint if semantic and neighbours.ids else None
        candidates = retrieval.find_candidates(
            connection,
            question.scope,
            question.filters,
            question.text,
            postings=postings,
            query_vector=neighbours.vector if fingerprint else None,
            embedder=fingerprint,
            neighbour_ids=neighbours.ids,
            unrelated=semantic.unrelated if semantic else None,
            now=now,
        )
        ranked = ranking.rank(candidates, question.text, now, question.limit)
        if question.without:
            return [item for item in ranked if _may_be_shown(item.item, question.without)]
        summaries = repository.session_summaries(connection, question.scope, question.session)
        return ranked + summaries


def _may_be_shown(item: MemoryItem, without: frozenset[str]) -> bool:
    return item.kind != "summary" and item.turn_id not in without


class TurnRecall:
    """The recall of one turn: started with the turn, awaited by its first leg, shared by all legs.

    :param pending: the recall, from `Memory.begin_recall`.
    :param emit: called with one `MemoryRecalled`, when the result is first needed.
    :param now_s: the turn's clock, in seconds.
    :ivar trace: what was recalled, for the turn's trace; None until the result is needed.
    :ivar private_ids: ids of the recalled items that are private.
    """

    def __init__(
        self, pending: PendingRecall, emit: Callable[[Event], None], now_s: Callable[[], float]
    ) -> None:
        self._pending = pending
        self._emit = emit
        self._now_s = now_s
        self.trace: RecallTrace | None = None
        self.private_ids: frozenset[int] = frozenset()

    async def __call__(self) -> Sequence[RecalledItem]:
        """Return the recalled items, best first; the same at every call."""
        recollection = await self._pending.get()
        if self.trace is None:
            self._report(recollection)
        return recollection.items

    def close(self) -> None:
        """Cancel the recall. No-op if it has completed."""
        self._pending.scope.cancel()

    def _report(self, recollection: Recollection) -> None:
        items = recollection.items
        self.private_ids = frozenset(
            recalled.item.id for recalled in items if recalled.item.private
        )
        self.trace = trace = RecallTrace(
            found=tuple((recalled.item.id, round(recalled.score, 4)) for recalled in items),
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
