"""Cuts a document into chunks that can be found and read on their own.

A chunk is of one section (or one page), begins with its heading where the section begins, and has
whole blocks; a block that is too long is parted by its kind: lists, tables and code at lines, prose
at the ends of sentences. Neighbours that say little each are put together. Invariant: no text is
lost, none is there twice, and no chunk has more than `max_tokens`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from vanta.memory.documents.document import Block, BlockKind, Document
from vanta.memory.documents.splitting import BY_LINES, BY_SENTENCES, Count, part

LEAST = 16
"""Tokens that a chunk has to have room for."""

_ENDS: Mapping[BlockKind, tuple[re.Pattern[str], ...]] = {
    "list": BY_LINES,
    "table": BY_LINES,
    "code": BY_LINES,
}


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a document. source: where it stands, for a person ("handbook.md, Holidays >
    Winter"; "report.pdf, page 3"). position: its place among the chunks, from 0."""

    text: str
    source: str
    position: int


@dataclass(frozen=True, slots=True)
class _Piece:
    """Text on its way into a chunk. glue: what joins it to the text before. heading: it is nothing
    but headings, which belong to what follows."""

    text: str
    glue: str
    path: tuple[str, ...]
    first_page: int | None
    last_page: int | None
    heading: bool = False

    def leads_to(self, other: _Piece) -> bool:
        """Whether `other` stands in the same place, or in a section that this is the heading of."""
        above = self.path if self.heading else other.path
        return self.first_page == other.first_page and other.path[: len(above)] == self.path

    def with_next(self, other: _Piece, path: tuple[str, ...]) -> _Piece:
        return replace(
            self,
            text=f"{self.text}{other.glue}{other.text}",
            path=path,
            last_page=other.last_page,
            heading=self.heading and other.heading,
        )


def estimate(text: str) -> int:
    """About the tokens of a text: four ASCII characters make one, any other character is one."""
    plain = len(text.encode("ascii", "ignore"))
    return -(-plain // 4) + len(text) - plain


def chunks(document: Document, max_tokens: int = 256, count: Count = estimate) -> list[Chunk]:
    """The document in chunks of at most `max_tokens` (at least `LEAST`) by `count`, in order."""
    if max_tokens < LEAST:
        raise ValueError(f"max_tokens has to be at least {LEAST}, not {max_tokens}")
    sections = _joined(_pieces(document.blocks, max_tokens, count), max_tokens, count)
    merged = _merged(sections, max_tokens, count)
    return [
        Chunk(piece.text, _source(document.name, piece), position)
        for position, piece in enumerate(merged)
    ]


def _pieces(blocks: tuple[Block, ...], most: int, count: Count) -> Iterator[_Piece]:
    """The blocks, in parts where they are too long; a first part leaves room for its headings."""
    above = 0
    for block in blocks:
        heading = block.kind == "heading"
        room = most - above if above < most // 2 else most
        glue = "\n\n"
        for text in part(block.text, room, count, _ENDS.get(block.kind, BY_SENTENCES)):
            if text.strip():
                plain = text.strip("\n").rstrip()
                yield _Piece(plain, glue, block.path, block.page, block.page, heading)
                glue = "\n" if block.kind in _ENDS else " "
        above = above + count(block.text) + 1 if heading else 0


def _joined(pieces: Iterable[_Piece], most: int, count: Count) -> Iterator[_Piece]:
    """Pieces of one section together, as many as there is room for."""
    last: _Piece | None = None
    for piece in pieces:
        if last and last.leads_to(piece) and _fit(last, piece, most, count):
            last = last.with_next(piece, piece.path)
            continue
        if last:
            yield last
        last = piece
    if last:
        yield last


def _merged(pieces: Iterable[_Piece], most: int, count: Count) -> list[_Piece]:
    """Neighbours together if both say little and stand under one heading."""
    merged: list[_Piece] = []
    for piece in pieces:
        if merged and _little(merged[-1], piece, most, count):
            above = _above(merged[-1].path, piece.path)
            if (above or merged[-1].path == piece.path) and _fit(merged[-1], piece, most, count):
                merged[-1] = merged[-1].with_next(piece, above)
                continue
        merged.append(piece)
    return merged


def _above(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """The headings that two places have in common."""
    depth = 0
    while depth < min(len(one), len(other)) and one[depth] == other[depth]:
        depth += 1
    return one[:depth]


def _little(one: _Piece, other: _Piece, most: int, count: Count) -> bool:
    return max(count(one.text), count(other.text)) < most // 3


def _fit(one: _Piece, other: _Piece, most: int, count: Count) -> bool:
    return count(f"{one.text}{other.glue}{other.text}") <= most


def _source(name: str, piece: _Piece) -> str:
    if piece.first_page is None:
        return f"{name}, {' > '.join(piece.path)}" if piece.path else name
    if piece.first_page == piece.last_page:
        return f"{name}, page {piece.first_page}"
    return f"{name}, pages {piece.first_page}-{piece.last_page}"
