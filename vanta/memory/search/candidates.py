"""The evidence for one item: which of a question's words it and its neighbours have, and how close
they are in meaning.

Pure functions of rows that a search has read. Invariant: evidence compares an item with the
question alone, never with the other items of a recall; ranking does that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from vanta.language import writing_of
from vanta.memory.embedder import CosineScale
from vanta.memory.items import MemoryItem
from vanta.memory.search.lexical import Postings, length_factor, once_per_text

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


@dataclass(frozen=True, slots=True)
class CandidateRow:
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


class EvidenceOfRows:
    """The evidence for the items of one part, as candidates.

    unrelated: the embedder's cosines of unrelated texts, None without any. writing: that of the
    question.
    """

    def __init__(
        self,
        rows: Mapping[int, CandidateRow],
        postings: Postings,
        cosines: Mapping[int, float],
        unrelated: CosineScale | None,
        writing: str,
    ) -> None:
        self._rows = rows
        self._postings = postings
        self._cosines = cosines
        self._unrelated = unrelated
        self._question_writing = writing

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
        unrelated = self._unrelated
        return unrelated and unrelated.between(self._question_writing, _writing(item.text))


_writing = once_per_text(writing_of)


def _echo(
    row: CandidateRow,
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


def _steps(key: int, rows: Mapping[int, CandidateRow], *, back: bool) -> tuple[int, int]:
    """Return the ids one and two steps away; 0, which no item has, for one that is unknown or
    belongs to another document, and for items that stand alone."""
    row = rows[key]
    if stands_alone(row.item):
        return 0, 0
    first = _step(row, row, rows, back=back)
    row_beside = rows.get(first)
    return first, _step(row_beside, row, rows, back=back) if row_beside else 0


def _step(
    row: CandidateRow, own: CandidateRow, rows: Mapping[int, CandidateRow], *, back: bool
) -> int:
    """Return the id beside `row`, or 0; `own` is the row that the steps began at."""
    key = (row.before if back else row.after) or 0
    other = rows.get(key)
    if other is None or other is own:
        return key
    item, own_item = other.item, own.item
    is_same = item.kind == own_item.kind and item.source == own_item.source
    return key if is_same else 0
