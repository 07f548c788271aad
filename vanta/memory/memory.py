"""Memory: remembers what was said and what it was given, recalls what matters, forgets for good.

The store is the truth and Memory adds nothing to a turn's end: an exchange that is durable there is
taken over with the next recall, and embedded and indexed behind. Enter it before use: its work in
the background lives in its own task group and ends with it. Invariant: a recall never raises and
never lasts longer than it may; what did not take part is said in the result.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup

from vanta.errors import EmbedderError, StoreError, UsageError
from vanta.memory.index import VectorIndex
from vanta.memory.items import EVERYTHING, Filters, Kind, MemoryItem, Recalled, Recollection, Scope
from vanta.memory.search import ranking, retrieval
from vanta.memory.search.pending_recall import PendingRecall, Question
from vanta.memory.search.postings import Postings
from vanta.memory.search.semantic import Dense, Near
from vanta.memory.store import forgetting
from vanta.memory.store import importing as bringing
from vanta.memory.store import index_wipes as wiping
from vanta.memory.store import repository as truth
from vanta.memory.store import statistics as counting
from vanta.memory.store.database import Database
from vanta.memory.store.forgetting import Foreseen, Receipt, Selection
from vanta.memory.store.importing import Replaced
from vanta.memory.store.repository import NewItem

__all__ = ["Memory", "PendingRecall", "Question"]

NEAREST = 100
"""Neighbours that the index is asked for."""

PATIENCE_S = 30.0
"""Seconds that a recall without a limit of its own may take."""

FOR_MEANING = 0.7
"""Share of a recall's time that the embedder and the index may take; the rest is for the words."""

PAGE = 500

_log = logging.getLogger("vanta.memory")


class Memory:
    """The memory of one runtime. dense: None for recall by words alone, `why_lexical` then says
    why. index: the vector index that `dense` uses, closed with the memory; index_folder: where one
    keeps its files. clock: seconds since the epoch. All methods but `recall` may raise StoreError.
    """

    def __init__(
        self,
        database: Database,
        dense: Dense | None = None,
        *,
        index: VectorIndex | None = None,
        index_folder: Path | None = None,
        why_lexical: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.dense = dense
        self.why_lexical = why_lexical
        self._database = database
        self._index = index
        self._index_folder = index_folder
        self._clock = clock
        self._tasks: TaskGroup | None = None
        self._news = anyio.Event()
        self._working = False
        self._one_advance = anyio.Lock()
        self._on_forgotten: list[Callable[[str], Awaitable[str]]] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The life of a memory: work in the background, release everything. Its tables (see
        `vanta.memory.store.tables.create`) have to be there."""
        failure: Exception | None = None
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                try:
                    yield
                except Exception as error:  # noqa: BLE001 - raised below, outside the task group
                    failure = error
                finally:
                    self._tasks = None
                    tasks.cancel_scope.cancel()
        finally:
            await self._release()
        if failure:
            raise failure

    async def _release(self) -> None:
        with anyio.CancelScope(shield=True):
            if self.dense is not None:
                await self.dense.aclose()
            if self._index is not None:
                await self._index.aclose()

    def begin(self, question: Question, patience_s: float) -> PendingRecall:
        """Begin a recall in the background; whoever needs it waits for it, but not too long."""
        pending = PendingRecall(patience_s)
        if self._tasks is None:
            pending.settle(Recollection(skipped="memory is closed"))
        else:
            self._tasks.start_soon(self._serve, question, pending)
        return pending

    async def recall(self, question: Question, patience_s: float = PATIENCE_S) -> Recollection:
        """What fits a question, best first; never raises, lasts about `patience_s` seconds at the
        most."""
        return await self.begin(question, patience_s).get()

    async def add(self, items: Iterable[NewItem]) -> list[int]:
        """Remember items; returns their ids."""
        await self._catch_up()
        given = list(items)
        ids: list[int] = []
        for start in range(0, len(given), PAGE):
            portion = given[start : start + PAGE]
            ids += await self._database.transact(partial(truth.add, items=portion))
        self.nudge()
        return ids

    async def add_missing(
        self, items: Sequence[NewItem], progress: Callable[[int, int], None] | None = None
    ) -> int:
        """Remember the items of an export that are not there yet; returns how many were not.
        progress: called with how many were looked at, and how many there are."""
        await self._catch_up()
        seen: Counter[Any] = Counter()
        added = 0
        for start in range(0, len(items), PAGE):
            portion = items[start : start + PAGE]
            bring = partial(bringing.add_missing, items=portion, seen=seen)
            added += len(await self._database.transact(bring))
            if progress:
                progress(start + len(portion), len(items))
        self.nudge()
        return added

    async def replace(
        self, user: str, tag: str, items: Sequence[NewItem], kind: Kind = "document"
    ) -> Replaced:
        """Remember a user's items of a kind, which all have `tag`, in place of those that have it
        so far."""
        bring = partial(bringing.replace, user=user, tag=tag, items=items, kind=kind)
        replaced = await self._database.transact(bring)
        self.nudge()
        return replaced

    async def retag(self, user: str, identity: int, tags: Sequence[str]) -> None:
        """Give an item of a user other tags."""
        retag = partial(truth.retag, user=user, identity=identity, tags=tags)
        await self._database.transact(retag)

    async def ready(self, scope: Scope, progress: Callable[[int, int], None] | None = None) -> str:
        """Wait until meaning takes its full part for a scope: the embedder loaded, every text
        embedded, the index in step. Returns what cannot be had, and why; "" if all is there.
        progress: as for `reindex`."""
        if self.dense is None:
            return self.why_lexical
        try:
            async with self._one_advance:
                await self._catch_up()
                await self._load(self.dense)
                self.dense.ask(scope)
                await self.dense.advance(progress)
        except EmbedderError as error:
            self.dense.trouble = str(error)
            return str(error)
        return self.dense.index_trouble

    async def named(self, scope: Scope, ids: Sequence[int]) -> list[MemoryItem]:
        """The items of a scope with these ids, in their order, as far as they are there."""
        return await self._database.read(partial(truth.named, scope=scope, ids=ids))

    async def newest(
        self, scope: Scope, *, filters: Filters = EVERYTHING, limit: int = PAGE
    ) -> list[MemoryItem]:
        """The `limit` items of a scope that were said last, the earliest first."""
        await self._catch_up()
        read = partial(truth.newest, scope=scope, filters=filters, limit=limit)
        return await self._database.read(read)

    async def recent(
        self,
        scope: Scope,
        *,
        filters: Filters = EVERYTHING,
        after_id: int = 0,
        limit: int = PAGE,
    ) -> list[MemoryItem]:
        """Items of a scope with an id above `after_id`, the earliest first."""
        await self._catch_up()
        read = partial(truth.recent, scope=scope, filters=filters, after_id=after_id, limit=limit)
        return await self._database.read(read)

    async def arrivals(self, after_id: int, limit: int = PAGE) -> list[MemoryItem]:
        """Items of everybody with an id above `after_id`, private ones too, the earliest first: for
        companions, which answer to nobody."""
        await self._catch_up()
        read = partial(truth.everything, user=None, after_id=after_id, limit=limit)
        return await self._database.read(read)

    async def export(self, user: str | None = None) -> AsyncIterator[MemoryItem]:
        """All items of a user, or of everybody, private ones too, the earliest first."""
        await self._catch_up()
        last = 0
        while page := await self._database.read(
            partial(truth.everything, user=user, after_id=last, limit=PAGE)
        ):
            for item in page:
                yield item
            last = page[-1].id

    async def foresee(self, selection: Selection) -> Foreseen:
        """What `forget` would remove."""
        await self._catch_up()
        return await self._database.transact(partial(forgetting.foresee, selection=selection))

    async def forget(self, selection: Selection) -> Receipt:
        """Forget for good: afterwards no byte of text or vector is in any file.

        Raises UsageError for a selection that names nothing.
        """
        if not selection.named:
            raise UsageError(
                "nothing says what to forget: name items, a session, a time, or everything."
            )
        began = time.perf_counter()
        await self._catch_up()
        async with self._one_advance:
            removed = await self._database.transact(partial(forgetting.remove, selection=selection))
            why = "; ".join(
                filter(None, [await self._tell(selection.user), await self._clean(selection.user)])
            )
        self.nudge()
        return Receipt(removed, not why, why, time.perf_counter() - began)

    def on_forgotten(self, told: Callable[[str], Awaitable[str]]) -> None:
        """Have `told` called with a user of whom something was forgotten, to let go of it, too. It
        returns why it could not, "" if it did."""
        self._on_forgotten.append(told)

    async def _tell(self, user: str) -> str:
        return "; ".join(filter(None, [await told(user) for told in self._on_forgotten]))

    async def stats(self, user: str | None = None) -> dict[str, Any]:
        """Figures for a person, JSON-ready: items, vectors, what waits, who takes part."""
        await self._catch_up()
        figures = await self._database.read(partial(counting.count, user=user))
        dense = self.dense
        return figures | {
            "embedder": dense.embedder.name if dense else None,
            "index": self._index.name if self._index else None,
            "trouble": (dense.trouble or dense.index_trouble) if dense else self.why_lexical,
        }

    async def reindex(
        self, progress: Callable[[int, int], None] | None = None, *, anew: bool = False
    ) -> None:
        """Embed all that has no vector of the present embedder, and bring the index in step; may be
        interrupted and goes on where it was. anew: throw the present vectors away first.

        Raises EmbedderError, UsageError where there is no embedder.
        """
        if self.dense is None:
            raise UsageError(f"there is nothing to index with: {self.why_lexical}")
        async with self._one_advance:
            await self._catch_up()
            await self._load(self.dense)
            for user in await self._database.read(counting.users):
                self.dense.ask(Scope(user, private=True))
            if anew:
                await self._database.transact(counting.drop_vectors)
            else:
                keep = partial(counting.keep_vectors, embedder=self.dense.embedder.fingerprint)
                await self.dense.advance(progress)
                await self._database.transact(keep)
            await self.dense.advance(progress)

    async def state(self, key: str) -> str | None:
        """What a companion keeps under a key, None if nothing."""
        return await self._database.read(partial(truth.state, key=f"of:{key}"))

    async def set_state(self, key: str, value: str) -> None:
        """Keep something for a companion, through restarts."""
        keep = partial(truth.remember_state, key=f"of:{key}", value=value)
        await self._database.transact(keep)

    def nudge(self) -> None:
        """There is something new to embed and index; done behind. The first call begins it."""
        self._news.set()
        if self._tasks is not None and self.dense is not None and not self._working:
            self._working = True
            self._tasks.start_soon(self._work, self.dense)

    async def _serve(self, question: Question, pending: PendingRecall) -> None:
        """Recall for whoever waits; any failure is a recollection that says so."""
        try:
            with pending.scope:
                pending.settle(await self._recall(question, pending))
        except StoreError as error:
            pending.settle(Recollection(skipped=str(error)))
        except Exception as error:  # noqa: BLE001 - no recall may break a turn
            _log.exception("a recall failed")
            pending.settle(Recollection(skipped=f"recall failed: {error!r}"))

    async def _recall(self, question: Question, pending: PendingRecall) -> Recollection:
        began = time.perf_counter()
        if self.dense is not None and not self.dense.loaded:
            self.nudge()
        near: list[Near] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._look_near, question, pending, near)
            words = await self._try_to_look_words_up(question)
        if isinstance(words, StoreError):
            raise words
        (by_meaning,) = near
        if self.dense is not None and self.dense.wants_to_advance:
            self.nudge()
        find = partial(self._find, question=question, words=words, near=by_meaning)
        found = await self._database.read(find)
        return Recollection(
            found=tuple(found),
            took_s=time.perf_counter() - began,
            embedder=self.dense.embedder.name if self.dense and by_meaning.ids else None,
            index=by_meaning.index,
            skipped=by_meaning.note,
        )

    async def _look_near(
        self, question: Question, pending: PendingRecall, near: list[Near]
    ) -> None:
        """By meaning, as long as there is time; appends what came of it."""
        why = self._not_by_meaning(question, pending)
        if why is not None:
            near.append(Near(note=why))
            return
        assert self.dense is not None  # noqa: S101 - it is why there is a reason not to
        with anyio.move_on_at(pending.until(FOR_MEANING)):
            near.append(await self.dense.near(question.text, question.scope, NEAREST))
        if not near:
            near.append(Near(note="the embedder or the index took too long"))

    def _not_by_meaning(self, question: Question, pending: PendingRecall) -> str | None:
        if self.dense is None:
            return ""
        if question.confidential and not self.dense.embedder.private:
            return "the question is private and the embedder is not"
        if not self.dense.loaded:
            return self.dense.trouble or "the embedder is still being loaded"
        return None

    def _find(
        self, connection: Any, question: Question, words: Sequence[Postings], near: Near
    ) -> list[Recalled]:
        fingerprint = self.dense.embedder.fingerprint if self.dense and near.ids else None
        candidates = retrieval.candidates(
            connection,
            question.scope,
            question.filters,
            question.text,
            words=words,
            query_vector=near.vector if fingerprint else None,
            embedder=fingerprint,
            near_ids=near.ids,
            now=self._clock(),
        )
        found = ranking.rank(candidates, question.text, self._clock(), question.limit)
        return found + truth.summaries(connection, question.scope, question.session)

    async def _try_to_look_words_up(self, question: Question) -> Sequence[Postings] | StoreError:
        """What has the question's words, in what was said to this moment; never raises StoreError,
        which a task group would wrap."""
        look_up = partial(
            retrieval.look_words_up,
            scope=question.scope,
            filters=question.filters,
            question=question.text,
        )
        try:
            await self._catch_up()
            return await self._database.read(look_up)
        except StoreError as error:
            return error

    async def _catch_up(self) -> None:
        if not await self._database.read(truth.behind):
            return
        while await self._database.transact(truth.catch_up) == truth.BATCH:
            pass

    async def _clean(self, user: str) -> str:
        """Leave no byte of what was removed; returns why some may be left."""
        if self.dense is not None and self.dense.loaded:
            await self.dense.distrust(user)
        why = []
        if self._index is not None:
            why.append(await wiping.try_to_wipe(self._database, self._index))
        elif self._index_folder is not None and self._index_folder.exists():
            why.append(
                f"{str(self._index_folder)!r} is of an index that is off now and may hold vectors: "
                "remove it, or turn memory.index on and forget again"
            )
        await self._database.transact(forgetting.clean_words)
        if not await self._database.rewrite():
            why.append(
                "another process reads the store, so its log could not be emptied: close that one "
                "and forget again"
            )
        return "; ".join(filter(None, why))

    async def _work(self, dense: Dense) -> None:
        """Embed and index behind, for as long as the memory runs."""
        while True:
            await self._news.wait()
            self._news = anyio.Event()
            try:
                async with self._one_advance:
                    await self._load(dense)
                    await self._catch_up()
                    await dense.advance()
                dense.trouble = ""
            except (EmbedderError, StoreError) as error:
                if str(error) != dense.trouble:
                    _log.warning("memory is not indexed for now: %s", error)
                dense.trouble = str(error)

    async def _load(self, dense: Dense) -> None:
        if not dense.loaded:
            await dense.load()
