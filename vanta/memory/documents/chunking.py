"""Cuts a document into chunks that can be found and read on their own.

A chunk belongs to one section (or one page), begins with its heading where the section begins, and
consists of whole blocks. A block that is too long is split by its kind: lists, tables and code at
lines, prose at the ends of sentences, then at words, and anywhere as a last resort. Small chunks
are merged. Invariant: every character is in exactly one chunk, and no chunk exceeds `max_tokens`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from vanta.memory.documents.document import Block, BlockKind, Document

MIN_TOKENS = 16
"""Smallest `max_tokens`."""

CountTokens = Callable[[str], int]

_LINE = re.compile(r"\n+")
_SENTENCE = re.compile(
    "[.!?\u2026][\"')\\]\u2019\u201d\u00bb]{0,3}\\s+|[\u3002\uff01\uff1f][\u300d\u300f\uff09]?\\s*|\n\\s*\n\\s*"
)
_WORD = re.compile(r"\s+")
_BY_LINES = (_LINE, _SENTENCE, _WORD)
_BY_SENTENCES = (_SENTENCE, _LINE, _WORD)
_SEPARATORS: Mapping[BlockKind, tuple[re.Pattern[str], ...]] = {
    "list": _BY_LINES,
    "table": _BY_LINES,
    "code": _BY_LINES,
}


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a document.

    :param text: the text.
    :param source: its place, for a person ("handbook.md, Holidays > Winter"; "report.pdf, page 3").
    :param position: its number among the chunks, from 0.
    """

    text: str
    source: str
    position: int


@dataclass(frozen=True, slots=True)
class _Piece:
    """Text that becomes part of a chunk. glue: the separator from the text before. heading: it
    consists of headings only, which belong to the text after."""

    text: str
    glue: str
    path: tuple[str, ...]
    first_page: int | None
    last_page: int | None
    heading: bool = False

    def leads_to(self, other: _Piece) -> bool:
        """Return whether `other` is in the same place, or in a section that this is the heading
        of."""
        path = self.path if self.heading else other.path
        return self.first_page == other.first_page and other.path[: len(path)] == self.path

    def joined(self, other: _Piece, path: tuple[str, ...]) -> _Piece:
        return replace(
            self,
            text=f"{self.text}{other.glue}{other.text}",
            path=path,
            last_page=other.last_page,
            heading=self.heading and other.heading,
        )


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of a text: four ASCII characters, or one other character, are a token."""
    ascii_characters = len(text.encode("ascii", "ignore"))
    return -(-ascii_characters // 4) + len(text) - ascii_characters


def chunk_document(
    document: Document, max_tokens: int = 256, count: CountTokens = estimate_tokens
) -> list[Chunk]:
    """Cut a document into chunks.

    :param document: the document.
    :param max_tokens: maximum size of a chunk, at least 16.
    :param count: returns the tokens of a text.
    :returns: the chunks, in the order of the document.
    :raises ValueError: `max_tokens` is less than 16.
    """
    if max_tokens < MIN_TOKENS:
        raise ValueError(f"max_tokens must be at least {MIN_TOKENS}, not {max_tokens}")
    sections = _joined(_pieces(document.blocks, max_tokens, count), max_tokens, count)
    merged = _merged(sections, max_tokens, count)
    return [
        Chunk(piece.text, _source(document.name, piece), position)
        for position, piece in enumerate(merged)
    ]


def _pieces(blocks: tuple[Block, ...], limit: int, count: CountTokens) -> Iterator[_Piece]:
    """Yield blocks, split if they are too long; the first part leaves room for its headings."""
    heading_tokens = 0
    for block in blocks:
        heading = block.kind == "heading"
        room = limit - heading_tokens if heading_tokens < limit // 2 else limit
        glue = "\n\n"
        for text in _split(block.text, room, count, _SEPARATORS.get(block.kind, _BY_SENTENCES)):
            if text.strip():
                stripped = text.strip("\n").rstrip()
                yield _Piece(stripped, glue, block.path, block.page, block.page, heading)
                glue = "\n" if block.kind in _SEPARATORS else " "
        heading_tokens = heading_tokens + count(block.text) + 1 if heading else 0


def _joined(pieces: Iterable[_Piece], limit: int, count: CountTokens) -> Iterator[_Piece]:
    """Join the pieces of a section, as many as fit."""
    last: _Piece | None = None
    for piece in pieces:
        if last and last.leads_to(piece) and _fit(last, piece, limit, count):
            last = last.joined(piece, piece.path)
            continue
        if last:
            yield last
        last = piece
    if last:
        yield last


def _merged(pieces: Iterable[_Piece], limit: int, count: CountTokens) -> list[_Piece]:
    """Merge small neighbours under a common heading."""
    merged: list[_Piece] = []
    for piece in pieces:
        if merged and _both_small(merged[-1], piece, limit, count):
            path = _common_path(merged[-1].path, piece.path)
            if (path or merged[-1].path == piece.path) and _fit(merged[-1], piece, limit, count):
                merged[-1] = merged[-1].joined(piece, path)
                continue
        merged.append(piece)
    return merged


def _common_path(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    """Return the headings that two places share."""
    depth = 0
    while depth < min(len(first), len(second)) and first[depth] == second[depth]:
        depth += 1
    return first[:depth]


def _both_small(first: _Piece, second: _Piece, limit: int, count: CountTokens) -> bool:
    return max(count(first.text), count(second.text)) < limit // 3


def _fit(first: _Piece, second: _Piece, limit: int, count: CountTokens) -> bool:
    return count(f"{first.text}{second.glue}{second.text}") <= limit


def _source(name: str, piece: _Piece) -> str:
    if piece.first_page is None:
        return f"{name}, {' > '.join(piece.path)}" if piece.path else name
    if piece.first_page == piece.last_page:
        return f"{name}, page {piece.first_page}"
    return f"{name}, pages {piece.first_page}-{piece.last_page}"


def _split(
    text: str, limit: int, count: CountTokens, separators: tuple[re.Pattern[str], ...]
) -> list[str]:
    """Split a text into parts of at most `limit` tokens, at the first of `separators` that helps.
    The parts add up to the text."""
    if count(text) <= limit:
        return [text]
    if not separators:
        return _split_anywhere(text, limit, count)
    parts: list[str] = []
    current = ""
    for piece in _cut(text, separators[0]):
        if current and count(current + piece) > limit:
            parts.append(current)
            current = ""
        if not current and count(piece) > limit:
            *full, current = _split(piece, limit, count, separators[1:])
            parts += full
        else:
            current += piece
    return [*parts, current] if current else parts


def _cut(text: str, separator: re.Pattern[str]) -> Iterator[str]:
    start = 0
    for match in separator.finditer(text):
        yield text[start : match.end()]
        start = match.end()
    if start < len(text):
        yield text[start:]


def _split_anywhere(text: str, limit: int, count: CountTokens) -> list[str]:
    """Halve a text until it fits; a single character is never split."""
    if len(text) < 2 or count(text) <= limit:
        return [text]
    middle = len(text) // 2
    return [
        *_split_anywhere(text[:middle], limit, count),
        *_split_anywhere(text[middle:], limit, count),
    ]
