"""Candidates for a question: items of a scope with the evidence for each, in bounded time.

Candidates are the items with the most significant words, those that the vector index found, those
of a time that the question mentions, and the neighbours of the best of all these in their
conversation. Scope and filters are part of every statement. Invariant: the public and the private
part of a scope are searched apart, so a private item changes neither which public items are found
nor how they are weighted.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vanta.language import fold, writing_of
from vanta.memory.dates.resolution import times_mentioned
from vanta.memory.embedder import CosineScale, Vectors
from vanta.memory.items import Filters, Scope
from vanta.memory.search import lexical
from vanta.memory.search.candidates import CandidateRow, EvidenceOfRows, RecallCandidate
from vanta.memory.search.lexical import Postings, TermCounts, look_up_terms
from vanta.memory.store.repository import COLUMNS, conditions, fetch, to_item

if TYPE_CHECKING:
    import sqlalchemy as sa

BY_WORDS, BY_MEANING, BY_TIME, EXPANDED = 100, 100, 40, 100
"""Items that are taken for their words, their meaning, and each mentioned time; and how many of the
best items are expanded by their neighbours."""

ROUNDS, ENOUGH, MAX_CANDIDATES = 3, 200, 300
"""Rounds of expansion, which end early once there are enough candidates; and their maximum."""

SPEAKER_SAMPLE = 50
"""Latest items from which the speakers are collected."""


def look_up_words(
    connection: sa.Connection, scope: Scope, filters: Filters, question: str
) -> tuple[Postings, ...]:
    """Look up the words of a question in the public part of a scope and, if the scope is private,
    in the private part. The result is for `find_candidates`, and can be computed while the question
    is embedded."""
    public = _Part(connection, scope, filters, private=False)
    speakers = public.speakers()
    words = lexical.query_terms(question, speakers)
    inflected = lexical.inflects(question)
    postings = public.look_up(words, inflected=inflected) if speakers else lexical.no_hits(words)
    if not scope.private:
        return (postings,)
    private = _Part(connection, scope, filters, private=True)
    if private.is_empty():
        return postings, lexical.no_hits(words)
    return postings, private.look_up(words, postings.counts, inflected=inflected)


def find_candidates(
    connection: sa.Connection,
    scope: Scope,
    filters: Filters,
    question: str,
    *,
    postings: Sequence[Postings] | None = None,
    query_vector: Vectors | None = None,
    embedder: str | None = None,
    neighbour_ids: Sequence[int] = (),
    unrelated: CosineScale | None = None,
    now: float | None = None,
) -> list[RecallCandidate]:
    """Find candidates, public ones first.

    postings: the result of `look_up_words`; None looks them up here. query_vector: the question's,
    made by the embedder whose fingerprint is `embedder`. neighbour_ids: the vector index's result,
    nearest first; ids out of scope are ignored. unrelated: the embedder's cosines of unrelated
    texts; without it no candidate has a kinship. now: seconds since the epoch, the base of relative
    dates such as "last week".
    """
    now = time.time() if now is None else now
    query = _Query(
        [span for span in times_mentioned(question, now) if span[1] <= now],
        tuple(neighbour_ids),
        query_vector,
        embedder,
        unrelated,
        writing_of(question) if unrelated else "",
    )
    candidates: list[RecallCandidate] = []
    if postings is None:
        postings = look_up_words(connection, scope, filters, question)
    for number, part_postings in enumerate(postings):
        part = _Part(connection, scope, filters, private=bool(number))
        candidates += part.candidates(query, part_postings)
    return candidates


@dataclass(frozen=True, slots=True)
class _Query:
    """A question in parts. times: those that have passed; "today" alone selects no items. writing:
    of its text, "" if there is no scale."""

    times: list[tuple[float, float]]
    neighbour_ids: tuple[int, ...]
    vector: Vectors | None
    embedder: str | None
    unrelated: CosineScale | None
    writing: str


class _Part:
    """The public or the private part of a scope, under filters."""

    def __init__(
        self, connection: sa.Connection, scope: Scope, filters: Filters, *, private: bool
    ) -> None:
        self._connection = connection
        self._expression = lexical.scope_expression(scope, private=private)
        where, self._values = conditions(scope, filters)
        self._private = int(private)
        self._where = f"{where} AND m.private = {self._private}"
        self._filtered = filters != Filters()

    def speakers(self) -> frozenset[str]:
        """Return the speakers of the latest items, in lower case."""
        rows = fetch(
            self._connection,
            f"SELECT m.role FROM memories m WHERE {self._where} "  # noqa: S608
            f"ORDER BY m.said_at DESC LIMIT {SPEAKER_SAMPLE}",
            self._values,
        )
        return frozenset(fold(role) for role in {row[0] for row in rows})

    def is_empty(self) -> bool:
        """Return whether the part has no item: then no word has to be looked up."""
        return not fetch(self._connection, *self._statement("f.rowid", [], "LIMIT 1"))

    def look_up(
        self, words: Sequence[str], other: TermCounts | None = None, *, inflected: bool
    ) -> Postings:
        """Look up words. other: counts of the other part that contribute to the weights."""
        return look_up_terms(words, self._find, self._count, other, inflected=inflected)

    def candidates(self, query: _Query, postings: Postings) -> list[RecallCandidate]:
        """Return the candidates by words, meaning and time, and those around the best of them."""
        by_words = postings.best(BY_WORDS)
        by_meaning = query.neighbour_ids[:BY_MEANING]
        rows = self._rows({*by_words, *by_meaning, *self._ids_of_times(query.times)})
        if not rows:
            return []
        cosines = self._cosines(rows, query)
        for number in range(ROUNDS):
            ring = _neighbours(_best(rows, postings, cosines), rows)
            if not ring or (number and len(rows) >= ENOUGH):
                break
            more = self._rows(ring[: max(0, MAX_CANDIDATES - len(rows))])
            rows |= more
            cosines |= self._cosines(more, query)
        repeats = self._repeats(rows, postings)
        asked = {row.asked for row in rows.values() if row.is_reply}
        cosines |= self._cosines(asked - rows.keys(), query)
        found = EvidenceOfRows(rows, postings, cosines, query.unrelated, query.writing)
        return [found.candidate(key, repeats=key in repeats) for key in rows]

    def _repeats(self, rows: Mapping[int, CandidateRow], postings: Postings) -> frozenset[int]:
        """Return the messages that say the same as the question, and the replies to these.

        The words of a repeated question are all the question's; the posting lists rule out nearly
        all other items before any text is compared.
        """
        asked = {key: row.asked for key, row in rows.items() if row.item.kind == "message"}
        masks = postings.masks
        likely = {
            key
            for key in asked.values()
            if (mask := masks.get(key, 0))
            and lexical.may_repeat(postings, mask, rows[key].item.text if key in rows else None)
        }
        texts = {key: rows[key].item.text for key in likely & rows.keys()}
        missing = likely - rows.keys()
        if missing:
            found = fetch(
                self._connection,
                f"SELECT m.id, m.text FROM memories m NOT INDEXED "  # noqa: S608
                f"WHERE m.id IN ({_id_list(missing)}) AND {self._where}",
                self._values,
            )
            texts |= {row[0]: row[1] for row in found}
        same = {key for key, text in texts.items() if lexical.repeats(postings.words, text)}
        return frozenset(key for key, asked_key in asked.items() if asked_key in same)

    def _find(self, groups: Sequence[Sequence[str]], limit: int) -> list[int]:
        statement = self._statement("f.rowid", groups, f"ORDER BY f.rowid DESC LIMIT {limit}")
        return [row[0] for row in fetch(self._connection, *statement)]

    def _count(self, first_id: int) -> int:
        statement = self._statement("count(*)", [], f"AND f.rowid >= {int(first_id)}")
        return int(fetch(self._connection, *statement)[0][0])

    def _statement(
        self, columns: str, groups: Sequence[Sequence[str]], end: str
    ) -> tuple[str, tuple[Any, ...]]:
        """Return a query for the items that have any word of each group, and its parameters."""
        expression = lexical.match_expression(self._expression, groups)
        if not self._filtered:
            query = f"SELECT {columns} FROM memories_fts f WHERE f.memories_fts MATCH ? {end}"  # noqa: S608
            return query, (expression,)
        query = (
            f"SELECT {columns} FROM memories_fts f CROSS JOIN memories m NOT INDEXED "  # noqa: S608
            f"ON m.id = f.rowid WHERE f.memories_fts MATCH ? AND {self._where} {end}"
        )
        return query, (expression, *self._values)

    def _ids_of_times(self, times: Sequence[tuple[float, float]]) -> list[int]:
        """Return the latest items of each time."""
        ids: list[int] = []
        for since, until in times:
            rows = fetch(
                self._connection,
                f"SELECT m.id FROM memories m WHERE {self._where} AND m.said_at >= ? "  # noqa: S608
                f"AND m.said_at < ? ORDER BY m.said_at DESC LIMIT {BY_TIME}",
                (*self._values, since, until),
            )
            ids += [row[0] for row in rows]
        return ids

    def _rows(self, ids: Collection[int]) -> dict[int, CandidateRow]:
        """Return the items with these ids that are in scope, without those that a later item
        repeats. `NOT INDEXED` forces the look-up by id: SQLite would scan all items of a user."""
        if not ids:
            return {}
        side = (
            "(SELECT n.id FROM memories n WHERE n.user = m.user AND n.session = m.session "  # noqa: S608
            f"AND n.id {{}} m.id AND n.private = {self._private} ORDER BY n.id {{}} LIMIT 1)"
        )
        rows = fetch(
            self._connection,
            f"SELECT {COLUMNS}, {side.format('<', 'DESC')}, {side.format('>', 'ASC')} "  # noqa: S608
            f"FROM memories m NOT INDEXED WHERE m.id IN ({_id_list(ids)}) "
            f"AND m.same_as IS NULL AND {self._where}",
            self._values,
        )
        return {row[0]: CandidateRow(to_item(row), row[-2], row[-1]) for row in rows}

    def _cosines(self, ids: Collection[int], query: _Query) -> dict[int, float]:
        if query.vector is None or not ids:
            return {}
        import numpy as np

        rows = fetch(
            self._connection,
            "SELECT memory_id, vector FROM memory_vectors "  # noqa: S608
            f"WHERE memory_id IN ({_id_list(ids)}) AND embedder = ?",
            (query.embedder,),
        )
        matrix = np.frombuffer(b"".join(row[1] for row in rows), dtype="<f4")
        cosines = (matrix.reshape(len(rows), len(query.vector)) @ query.vector).tolist()
        return {row[0]: cosine for row, cosine in zip(rows, cosines, strict=True)}


def _best(rows: Collection[int], postings: Postings, cosines: Mapping[int, float]) -> list[int]:
    """Return the ids to expand, by words and meaning relative to the best of each."""
    highest = max((postings.weight(postings.masks.get(key, 0)) for key in rows), default=0.0) or 1.0
    nearest = max(cosines.values(), default=0.0)
    nearest = nearest if nearest > 0 else 1.0

    def value(key: int) -> tuple[float, int]:
        words = postings.weight(postings.masks.get(key, 0)) / highest
        return words + cosines.get(key, 0.0) / nearest, key

    return heapq.nlargest(EXPANDED, rows, key=value)


def _neighbours(ids: Iterable[int], rows: Mapping[int, CandidateRow]) -> list[int]:
    """Return the neighbours of `ids`, in their order, that are not among `rows`."""
    beside = (key for item_id in ids for key in (rows[item_id].before, rows[item_id].after))
    return list(dict.fromkeys(key for key in beside if key is not None and key not in rows))


def _id_list(ids: Iterable[int]) -> str:
    return ", ".join(str(int(item_id)) for item_id in sorted(ids))
