"""What could answer a question: candidates of a scope with what speaks for each, in bounded time.

Candidates are the items that have the most telling words, those that a vector index found near,
those of a time that the question names, and, around the best of all these, their neighbours in the
conversation. Scope and filters are part of every statement. Invariant: the public and the private
part of a scope are looked up apart, so that no private item changes what is found, or how it is
weighed, among the public ones.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vanta.memory.dates.dates import mentioned
from vanta.memory.items import Filters, MemoryItem, Scope
from vanta.memory.search import lexical
from vanta.memory.search.postings import Counts, Postings, length_factor, look_up
from vanta.memory.store.repository import COLUMNS, conditions, to_item

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import sqlalchemy as sa

    Vector = npt.NDArray[np.float32]

BY_WORDS, BY_MEANING, BY_TIME, WITH_NEIGHBOURS = 100, 100, 40, 100
"""How many items are taken up for their words, their meaning, their time; and around how many of
the best of them the neighbours are."""

ROUNDS, ENOUGH, MOST = 3, 200, 300
"""How often the neighbours of neighbours are looked at, too, as long as there are fewer than
enough; and candidates at the most."""

LAST = 50
"""Items that tell who speaks."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item that could be recalled, and what speaks for it.

    words: BM25 of the question's words in it; matched: those words. around: what part (0 to 1) of
    the question's words, by weight, it has together with its two neighbours. beside: BM25 of the
    items two before and two after, the mean. cosine: to the question, None without a vector.
    cosine_beside: the mean of that of up to two before and two after, None if none has one.
    answers: it follows a question.
    """

    item: MemoryItem
    words: float = 0.0
    matched: tuple[str, ...] = ()
    around: float = 0.0
    beside: float = 0.0
    cosine: float | None = None
    cosine_beside: float | None = None
    answers: bool = False


def look_words_up(
    connection: sa.Connection, scope: Scope, filters: Filters, question: str
) -> tuple[Postings, ...]:
    """Which items have which words of a question: of the public part, and of the private one where
    the scope has it. For `candidates`; it can be done while the question's vector is made."""
    public = _Part(connection, scope, filters, private=False)
    words = lexical.terms(question, public.speakers())
    found = public.look_up(words)
    if not scope.private:
        return (found,)
    private = _Part(connection, scope, filters, private=True)
    return found, private.look_up(words, found.counts)


def candidates(
    connection: sa.Connection,
    scope: Scope,
    filters: Filters,
    question: str,
    *,
    words: Sequence[Postings] | None = None,
    query_vector: Vector | None = None,
    embedder: str | None = None,
    near_ids: Sequence[int] = (),
    now: float | None = None,
) -> list[Candidate]:
    """Candidates, the public ones first. words: what `look_words_up` found, None to look them up
    here. query_vector: the question's, by the embedder whose fingerprint is `embedder`. near_ids:
    what a vector index found, nearest first; ids out of scope are passed over. now: seconds since
    the epoch, what "last week" in a question goes by."""
    now = time.time() if now is None else now
    asked = _Asked(
        [span for span in mentioned(question, now) if span[1] <= now],
        tuple(near_ids),
        query_vector,
        embedder,
    )
    found: list[Candidate] = []
    if words is None:
        words = look_words_up(connection, scope, filters, question)
    for number, postings in enumerate(words):
        part = _Part(connection, scope, filters, private=bool(number))
        found += part.candidates(asked, postings)
    return found


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question, taken apart. times: those that are over; "today" asks for nothing by itself."""

    times: list[tuple[float, float]]
    near_ids: tuple[int, ...]
    vector: Vector | None
    embedder: str | None


@dataclass(frozen=True, slots=True)
class _Found:
    """A row: an item, and its neighbours in its session, None at the ends."""

    item: MemoryItem
    before: int | None
    after: int | None


class _Part:
    """The public or the private part of a scope, under filters."""

    def __init__(
        self, connection: sa.Connection, scope: Scope, filters: Filters, *, private: bool
    ) -> None:
        self._connection = connection
        self._visible = lexical.visible(scope, private=private)
        where, self._values = conditions(scope, filters)
        self._private = int(private)
        self._where = f"{where} AND m.private = {self._private}"
        self._filtered = filters != Filters()

    def speakers(self) -> frozenset[str]:
        """Who said the last items, in lower case."""
        rows = self._connection.exec_driver_sql(
            f"SELECT m.role FROM memories m WHERE {self._where} "  # noqa: S608
            f"ORDER BY m.said_at DESC LIMIT {LAST}",
            self._values,
        )
        return frozenset(role.lower() for role in rows.scalars())

    def look_up(self, words: Sequence[str], beside: Counts | None = None) -> Postings:
        """Which items have which words. beside: counts of the other part that weigh, too."""
        return look_up(words, self._find, self._count, beside)

    def candidates(self, asked: _Asked, postings: Postings) -> list[Candidate]:
        """The candidates, by their words, meaning and time, and those around them."""
        by_words = heapq.nlargest(
            BY_WORDS, postings.masks, key=lambda key: (postings.worth(postings.masks[key]), key)
        )
        seeds = {*by_words, *asked.near_ids[:BY_MEANING], *self._of_times(asked.times)}
        rows = self._rows(seeds)
        cosines = self._cosines(rows, asked)
        for number in range(ROUNDS):
            ring = _around(_best(rows, postings, cosines), rows)
            if not ring or (number and len(rows) >= ENOUGH):
                break
            more = self._rows(ring[: max(0, MOST - len(rows))])
            rows |= more
            cosines |= self._cosines(more, asked)
        return _described(rows, postings, cosines)

    def _find(self, groups: Sequence[Sequence[str]], most: int) -> list[int]:
        found = self._statement("f.rowid", groups, f"ORDER BY f.rowid DESC LIMIT {most}")
        return list(self._connection.exec_driver_sql(*found).scalars().all())

    def _count(self, since_id: int) -> int:
        counted = self._statement("count(*)", [], f"AND f.rowid >= {int(since_id)}")
        return int(self._connection.exec_driver_sql(*counted).scalar() or 0)

    def _statement(
        self, what: str, groups: Sequence[Sequence[str]], end: str
    ) -> tuple[str, tuple[Any, ...]]:
        """What to select of those that have any word of each group, and its parameters."""
        expression = lexical.having(self._visible, groups)
        if not self._filtered:
            told = f"SELECT {what} FROM memories_fts f WHERE f.memories_fts MATCH ? {end}"  # noqa: S608
            return told, (expression,)
        told = (
            f"SELECT {what} FROM memories_fts f CROSS JOIN memories m NOT INDEXED "  # noqa: S608
            f"ON m.id = f.rowid WHERE f.memories_fts MATCH ? AND {self._where} {end}"
        )
        return told, (expression, *self._values)

    def _of_times(self, times: Sequence[tuple[float, float]]) -> list[int]:
        """The last items of each time."""
        found: list[int] = []
        for since, until in times:
            rows = self._connection.exec_driver_sql(
                f"SELECT m.id FROM memories m WHERE {self._where} AND m.said_at >= ? "  # noqa: S608
                f"AND m.said_at < ? ORDER BY m.said_at DESC LIMIT {BY_TIME}",
                (*self._values, since, until),
            )
            found += rows.scalars()
        return found

    def _rows(self, keys: Collection[int]) -> dict[int, _Found]:
        """The items with these ids, as far as they are in scope; not those that a later one
        repeats. `NOT INDEXED` has them looked up by id: SQLite would go through all of a user."""
        if not keys:
            return {}
        side = (
            "(SELECT n.id FROM memories n WHERE n.user = m.user AND n.session = m.session "  # noqa: S608
            f"AND n.id {{}} m.id AND n.private = {self._private} ORDER BY n.id {{}} LIMIT 1)"
        )
        rows = self._connection.exec_driver_sql(
            f"SELECT {COLUMNS}, {side.format('<', 'DESC')}, {side.format('>', 'ASC')} "  # noqa: S608
            f"FROM memories m NOT INDEXED WHERE m.id IN ({_ids(keys)}) "
            f"AND m.same_as IS NULL AND {self._where}",
            self._values,
        )
        return {row[0]: _Found(to_item(row), row[-2], row[-1]) for row in rows.all()}

    def _cosines(self, keys: Collection[int], asked: _Asked) -> dict[int, float]:
        if asked.vector is None or not keys:
            return {}
        import numpy as np

        rows = self._connection.exec_driver_sql(
            "SELECT memory_id, vector FROM memory_vectors "  # noqa: S608
            f"WHERE memory_id IN ({_ids(keys)}) AND embedder = ?",
            (asked.embedder,),
        ).all()
        matrix = np.frombuffer(b"".join(row[1] for row in rows), dtype="<f4")
        cosines = (matrix.reshape(len(rows), len(asked.vector)) @ asked.vector).tolist()
        return {row[0]: cosine for row, cosine in zip(rows, cosines, strict=True)}


def _best(rows: Collection[int], postings: Postings, cosines: Mapping[int, float]) -> list[int]:
    """Those that the neighbours are looked at of, by words and meaning as they stand."""
    most = max((postings.worth(postings.masks.get(key, 0)) for key in rows), default=0.0) or 1.0
    nearest = max(cosines.values(), default=0.0)
    nearest = nearest if nearest > 0 else 1.0

    def value(key: int) -> tuple[float, int]:
        words = postings.worth(postings.masks.get(key, 0)) / most
        return words + cosines.get(key, 0.0) / nearest, key

    return heapq.nlargest(WITH_NEIGHBOURS, rows, key=value)


def _around(keys: Iterable[int], rows: Mapping[int, _Found]) -> list[int]:
    """The neighbours of items that are not among the rows themselves, those of the first first."""
    beside = (key for one in keys for key in (rows[one].before, rows[one].after))
    return list(dict.fromkeys(key for key in beside if key is not None and key not in rows))


def _described(
    rows: Mapping[int, _Found], postings: Postings, cosines: Mapping[int, float]
) -> list[Candidate]:
    return [_candidate(key, rows, postings, cosines) for key in rows]


def _candidate(
    key: int, rows: Mapping[int, _Found], postings: Postings, cosines: Mapping[int, float]
) -> Candidate:
    item = rows[key].item
    masks = postings.masks
    mask = masks.get(key, 0)
    one_before, two_before = _going(key, rows, back=True)
    one_after, two_after = _going(key, rows, back=False)
    together = mask | masks.get(one_before, 0) | masks.get(one_after, 0)
    further = postings.worth(masks.get(two_before, 0)) + postings.worth(masks.get(two_after, 0))
    near = [cosines[k] for k in (one_before, one_after, two_before, two_after) if k in cosines]
    before = rows.get(one_before)
    return Candidate(
        item,
        words=postings.worth(mask) * length_factor(len(item.text)) if mask else 0.0,
        matched=postings.named(mask),
        around=postings.worth(together) / postings.total if together else 0.0,
        beside=further / 2,
        cosine=cosines.get(key),
        cosine_beside=sum(near) / 4 if near else None,
        answers=before is not None and "?" in before.item.text,
    )


def _going(key: int, rows: Mapping[int, _Found], *, back: bool) -> tuple[int, int]:
    """The ids one and two steps away; 0, which no item has, where there is none known or it is of
    another document."""
    own = rows[key].item
    steps = [0, 0]
    for step in range(2):
        row = rows.get(key)
        if row is None:
            break
        key = (row.before if back else row.after) or 0
        other = rows.get(key)
        if other is not None and (other.item.kind, other.item.source) != (own.kind, own.source):
            break
        steps[step] = key
    return steps[0], steps[1]


def _ids(keys: Iterable[int]) -> str:
    return ", ".join(str(int(key)) for key in sorted(keys))
