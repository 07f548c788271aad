"""What could answer a question: candidates of a scope with what tells for each, in bounded time.

Words are looked up in FTS5, one by one and inside the scope, so that a word's weight (BM25's idf)
comes from the very items that may be seen: FTS5's own `bm25()` weighs by all users' and all private
items, and takes ten times longer. The nearest items by meaning come from a vector index, as ids
that are fetched under the same scope. Around the best, their neighbours in the conversation are
candidates, too. Invariant: the public and the private part are looked up apart, each under its
statistics, so that no private item changes what is found among the public ones.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vanta.memory import lexical
from vanta.memory.items import Filters, MemoryItem, Scope
from vanta.memory.truth import COLUMNS, conditions, to_item

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import sqlalchemy as sa

    Vector = npt.NDArray[np.float32]

MOST_POSTINGS = 6000
"""Occurrences of words that one look-up goes through, the rarest words first. More frequent ones
are only looked for in what the rarer ones found."""

USUAL_LENGTH = 100
"""Characters of a text of usual length; longer ones get less for the same words."""

K1, B = 1.2, 0.75
"""BM25's parameters, at their customary values."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item that could be recalled. lexical: the sum of `words`. words: for each word of the
    question that the item has, its BM25. best: what an item with all words would get. cosine: to
    the question, None without vectors. before, after: ids of its neighbours in its session, as far
    as they may be seen; None at the ends."""

    item: MemoryItem
    lexical: float = 0.0
    words: Mapping[str, float] = field(default_factory=dict)
    best: float = 0.0
    cosine: float | None = None
    before: int | None = None
    after: int | None = None


def candidates(
    connection: sa.Connection,
    scope: Scope,
    filters: Filters,
    question: str,
    *,
    query_vector: Vector | None = None,
    embedder: str | None = None,
    near_ids: Sequence[int] = (),
    limit: int = 200,
) -> list[Candidate]:
    """Up to `limit` candidates of each visibility. query_vector: the question's, by the embedder
    whose fingerprint is `embedder`. near_ids: what a vector index found, nearest first; ids out of
    scope are passed over."""
    found: list[Candidate] = []
    for private in (False, True) if scope.private else (False,):
        look_up = _LookUp(connection, scope, filters, private, limit)
        found += look_up.run(question, query_vector, embedder, near_ids)
    return found


@dataclass(frozen=True, slots=True)
class _LookUp:
    """One look-up in the public or the private part of a scope."""

    connection: sa.Connection
    scope: Scope
    filters: Filters
    private: bool
    limit: int

    def run(
        self,
        question: str,
        query_vector: Vector | None,
        embedder: str | None,
        near_ids: Sequence[int],
    ) -> list[Candidate]:
        scores, weights = self._lexical(lexical.terms(question))
        best = sorted(scores, key=lambda key: (-sum(scores[key].values()), -key))
        seeds = list(dict.fromkeys([*best[: self.limit // 2], *near_ids[: self.limit // 2]]))
        around = self._neighbours(seeds)
        wanted = list(
            dict.fromkeys([*seeds, *(key for pair in around.values() for key in pair if key)])
        )
        items = self._items(wanted[: 2 * self.limit])
        around |= self._neighbours([key for key in items if key not in around])
        cosines = self._cosines(items, query_vector, embedder)
        most = sum(weights.values()) * (K1 + 1)
        return [
            _candidate(item, scores.get(key, {}), most, cosines.get(key), around.get(key))
            for key, item in items.items()
        ]

    def _lexical(
        self, looked_for: Sequence[str]
    ) -> tuple[dict[int, dict[str, float]], dict[str, float]]:
        """For each item found, its words with their weights; and the weights of all words."""
        total = self._count(self._part)
        counts = {word: self._count(lexical.having(self._part, [word])) for word in looked_for}
        weights = {
            word: math.log(1 + (total - count + 0.5) / (count + 0.5))
            for word, count in sorted(counts.items(), key=lambda entry: entry[1])
            if count
        }
        found: dict[int, dict[str, float]] = {}
        seen: set[tuple[int, ...]] = set()
        left = MOST_POSTINGS
        rare: list[str] = []
        for word, weight in weights.items():
            if counts[word] <= left or not rare:
                expression = lexical.having(self._part, [word])
                rare.append(word)
            else:
                expression = f'({lexical.having(self._part, rare)}) AND text : "{word}"'
            postings = self._postings(expression, MOST_POSTINGS)
            left -= len(postings)
            if postings in seen:  # another form of a word that was looked up: same stem
                weights[word] = 0.0
                continue
            seen.add(postings)
            for key in postings:
                found.setdefault(key, {})[word] = weight
        return found, weights

    @property
    def _part(self) -> str:
        return lexical.visible(self.scope, private=self.private)

    @property
    def _where(self) -> tuple[str, tuple[Any, ...]]:
        """Scope, filters and visibility, on `memories m`."""
        told, values = conditions(self.scope, self.filters)
        return f"{told} AND m.private = {int(self.private)}", values

    @property
    def _filtered(self) -> bool:
        return self.filters != Filters()

    def _count(self, expression: str) -> int:
        return int(self._match("count(*)", expression, "").scalar() or 0)

    def _postings(self, expression: str, most: int) -> tuple[int, ...]:
        rows = self._match("f.rowid", expression, f"ORDER BY f.rowid DESC LIMIT {most}")
        return tuple(row[0] for row in rows)

    def _match(self, what: str, expression: str, end: str) -> sa.CursorResult[Any]:
        if not self._filtered:
            told = f"SELECT {what} FROM memories_fts f WHERE f.memories_fts MATCH ? {end}"  # noqa: S608
            return self.connection.exec_driver_sql(told, (expression,))
        where, values = self._where
        told = (
            f"SELECT {what} FROM memories_fts f JOIN memories m ON m.id = f.rowid "  # noqa: S608
            f"WHERE f.memories_fts MATCH ? AND {where} {end}"
        )
        return self.connection.exec_driver_sql(told, (expression, *values))

    def _neighbours(self, keys: Collection[int]) -> dict[int, tuple[int | None, int | None]]:
        """For each id, those before and after it in its session, in the same part."""
        if not keys:
            return {}
        where, values = self._where
        side = (
            "(SELECT n.id FROM memories n WHERE n.user = m.user AND n.session = m.session "  # noqa: S608
            f"AND n.id {{}} m.id AND n.private = {int(self.private)} ORDER BY n.id {{}} LIMIT 1)"
        )
        rows = self.connection.exec_driver_sql(
            f"SELECT m.id, {side.format('<', 'DESC')}, {side.format('>', 'ASC')} "  # noqa: S608
            f"FROM memories m WHERE m.id IN ({_ids(keys)}) AND {where}",
            values,
        )
        return {row[0]: (row[1], row[2]) for row in rows}

    def _items(self, keys: Collection[int]) -> dict[int, MemoryItem]:
        if not keys:
            return {}
        where, values = self._where
        rows = self.connection.exec_driver_sql(
            f"SELECT {COLUMNS} FROM memories m WHERE m.id IN ({_ids(keys)}) "  # noqa: S608
            f"AND m.same_as IS NULL AND {where}",
            values,
        )
        return {row[0]: to_item(row) for row in rows}

    def _cosines(
        self, keys: Collection[int], query_vector: Vector | None, embedder: str | None
    ) -> dict[int, float]:
        if query_vector is None or not keys:
            return {}
        import numpy as np

        rows = self.connection.exec_driver_sql(
            "SELECT memory_id, vector FROM memory_vectors "  # noqa: S608
            f"WHERE memory_id IN ({_ids(keys)}) AND embedder = ?",
            (embedder,),
        ).all()
        if not rows:
            return {}
        matrix = np.frombuffer(b"".join(row[1] for row in rows), dtype="<f4")
        cosines = matrix.reshape(len(rows), -1) @ query_vector
        return {row[0]: float(cosine) for row, cosine in zip(rows, cosines, strict=True)}


def _candidate(
    item: MemoryItem,
    weights: Mapping[str, float],
    most: float,
    cosine: float | None,
    around: tuple[int | None, int | None] | None,
) -> Candidate:
    length = K1 * (1 - B + B * len(item.text) / USUAL_LENGTH)
    by_word = {word: weight * (K1 + 1) / (1 + length) for word, weight in weights.items()}
    before, after = around or (None, None)
    return Candidate(item, sum(by_word.values()), by_word, most, cosine, before, after)


def _ids(keys: Iterable[int]) -> str:
    return ", ".join(str(int(key)) for key in keys)
