"""Candidates for a question: items of a scope with the evidence for each, in bounded time.

Candidates are the items with the most significant words, those that the vector index found, those
of a time that the question mentions, and the neighbours of the best of all these in their
conversation. Scope and filters are part of every statement. Invariant: the public and the private
part of a scope are searched apart, so a private item changes neither which public items are found
nor how they are weighted.
"""

from __future__ import annotations

import heapq
import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vanta.language import fold, writing_of
from vanta.memory.dates.resolution import times_mentioned
from vanta.memory.embedder import CosineScale, Vectors
from vanta.memory.items import Filters, MemoryItem, Scope
from vanta.memory.search import lexical
from vanta.memory.search.lexical import (
    Postings,
    TermCounts,
    length_factor,
    look_up_terms,
    once_per_text,
)
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

_QUESTION_MARK = re.compile("[\uff1f\u061f\u037e\u055e\u1367]")
"""Chinese, Arabic, Greek, Armenian and Ethiopic. Thai and Lao have none."""


@dataclass(frozen=True, slots=True)
class ReplyEcho:
    """What an assistant's reply has in common with a question and with the message it answers.

    A reply repeats words of its message whether or not it knows anything about them.

    share, count: the share (0 to 1) of the question's words that both have, by weight and by
    number. cosine, kinship: those of the message with the question, None without a vector.
    """

    share: float = 0.0
    count: float = 0.0
    cosine: float | None = None
    kinship: float | None = None


@dataclass(frozen=True, slots=True)
class RecallCandidate:
    """An item that may be recalled, and the evidence for it.

    words: BM25 of the question's words in it; matched: those words; share, count: their share (0 to
    1) of the question's words, by weight and by number. around: the share by weight together with
    its two neighbours. beside: mean BM25 of the items two before and two after. cosine: similarity
    to the question, None without a vector. cosine_beside: mean similarity of up to two items before
    and two after, None if none has a vector. kinship, kinship_beside: how far both lie above the
    cosines of unrelated texts, in their standard deviations. answers: whether it follows a
    question. repeats: whether it is an earlier message with the same question, or the
    assistant's reply to that. echo: of an assistant's reply, the evidence in the message that it
    answers, None for other items.
    """

    item: MemoryItem
    words: float = 0.0
    matched: tuple[str, ...] = ()
    share: float = 0.0
    count: float = 0.0
    around: float = 0.0
    beside: float = 0.0
    cosine: float | None = None
    cosine_beside: float | None = None
    kinship: float | None = None
    kinship_beside: float | None = None
    answers: bool = False
    repeats: bool = False
    echo: ReplyEcho | None = None


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


@dataclass(frozen=True, slots=True)
class _Row:
    """An item, and the ids of its neighbours in its session, None at the ends."""

    item: MemoryItem
    before: int | None
    after: int | None

    @property
    def asked(self) -> int:
        """The id of the message that an assistant's reply answers; its own for other items."""
        return (self.before or 0) if self.is_reply else self.item.id

    @property
    def is_reply(self) -> bool:
        """Whether the item is a message of the assistant."""
        return self.item.kind == "message" and self.item.role == "assistant"


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
        found = _Evidence(rows, postings, cosines, query)
        return [found.candidate(key, repeats=key in repeats) for key in rows]

    def _repeats(self, rows: Mapping[int, _Row], postings: Postings) -> frozenset[int]:
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

    def _rows(self, ids: Collection[int]) -> dict[int, _Row]:
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
        return {row[0]: _Row(to_item(row), row[-2], row[-1]) for row in rows}

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


def _neighbours(ids: Iterable[int], rows: Mapping[int, _Row]) -> list[int]:
    """Return the neighbours of `ids`, in their order, that are not among `rows`."""
    beside = (key for item_id in ids for key in (rows[item_id].before, rows[item_id].after))
    return list(dict.fromkeys(key for key in beside if key is not None and key not in rows))


class _Evidence:
    """The evidence for the items of one part, as candidates."""

    def __init__(
        self,
        rows: Mapping[int, _Row],
        postings: Postings,
        cosines: Mapping[int, float],
        query: _Query,
    ) -> None:
        self._rows = rows
        self._postings = postings
        self._cosines = cosines
        self._query = query

    def candidate(self, key: int, *, repeats: bool) -> RecallCandidate:
        """Return the item `key` with its evidence; see `RecallCandidate`."""
        rows, postings, cosines = self._rows, self._postings, self._cosines
        weight, of = postings.weight, postings.masks.get
        item, mask = rows[key].item, of(key, 0)
        one_before, two_before = _steps(key, rows, back=True)
        one_after, two_after = _steps(key, rows, back=False)
        together = mask | of(one_before, 0) | of(one_after, 0)
        beside = weight(of(two_before, 0)) + weight(of(two_after, 0))
        near = [cosines[k] for k in (one_before, one_after, two_before, two_after) if k in cosines]
        cosine, cosine_beside = cosines.get(key), sum(near) / 4 if near else None
        before, scale = rows.get(one_before), self._scale(item) if cosine is not None else None
        return RecallCandidate(
            item,
            words=weight(mask) * length_factor(len(item.text)) if mask else 0.0,
            matched=postings.words_in(mask) if mask else (),
            share=weight(mask) / postings.total if mask and postings.total else 0.0,
            count=postings.count(mask) if mask else 0.0,
            around=weight(together) / postings.total if together else 0.0,
            beside=beside / 2,
            cosine=cosine,
            cosine_beside=cosine_beside,
            kinship=scale.kinship(cosine) if scale and cosine is not None else None,
            kinship_beside=scale.kinship(cosine_beside)
            if scale and cosine_beside is not None
            else None,
            answers=before is not None and _asks(before.item.text),
            repeats=repeats,
            echo=_echo(rows[key], mask, postings, cosines, scale),
        )

    def _scale(self, item: MemoryItem) -> CosineScale | None:
        """Return the cosines of texts that are unrelated, written as question and item are."""
        unrelated = self._query.unrelated
        return unrelated and unrelated.between(self._query.writing, _writing(item.text))


_writing = once_per_text(writing_of)


def _echo(
    row: _Row,
    mask: int,
    postings: Postings,
    cosines: Mapping[int, float],
    scale: CosineScale | None,
) -> ReplyEcho | None:
    """Return the echo of a reply with the words in `mask`; None for other items."""
    if not row.is_reply or row.before is None:
        return None
    common = postings.common(mask, postings.masks.get(row.before, 0))
    cosine = cosines.get(row.before)
    return ReplyEcho(
        share=postings.weight(common) / postings.total if common and postings.total else 0.0,
        count=postings.count(mask) - postings.count(mask & ~common) if common else 0.0,
        cosine=cosine,
        kinship=scale.kinship(cosine) if scale and cosine is not None else None,
    )


def _asks(text: str) -> bool:
    return "?" in text or (not text.isascii() and _QUESTION_MARK.search(text) is not None)


def stands_alone(item: MemoryItem) -> bool:
    """Return whether an item belongs to no session and no document: whatever was stored before or
    after it has nothing to do with it."""
    return not (item.session or item.source)


def _steps(key: int, rows: Mapping[int, _Row], *, back: bool) -> tuple[int, int]:
    """Return the ids one and two steps away; 0, which no item has, for one that is unknown or
    belongs to another document, and for items that stand alone."""
    row = rows[key]
    if stands_alone(row.item):
        return 0, 0
    first = _step(row, row, rows, back=back)
    row_beside = rows.get(first)
    return first, _step(row_beside, row, rows, back=back) if row_beside else 0


def _step(row: _Row, own: _Row, rows: Mapping[int, _Row], *, back: bool) -> int:
    """Return the id beside `row`, or 0; `own` is the row that the steps began at."""
    key = (row.before if back else row.after) or 0
    other = rows.get(key)
    if other is None or other is own:
        return key
    item, own_item = other.item, own.item
    is_same = item.kind == own_item.kind and item.source == own_item.source
    return key if is_same else 0


def _id_list(ids: Iterable[int]) -> str:
    return ", ".join(str(int(item_id)) for item_id in sorted(ids))
