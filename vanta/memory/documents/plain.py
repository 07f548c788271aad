"""Plain text: paragraphs between blank lines. Invariant: no line is lost."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vanta.memory.documents.document import Block, BlockKind

_BLANK = re.compile(r"\n[^\S\n]*(?:\n[^\S\n]*)+")
_ITEM = re.compile(r"\s*(?:[-*+\u2022]|\d{1,3}[.)])\s")


def blocks_of(text: str, *, path: tuple[str, ...] = (), page: int | None = None) -> Iterator[Block]:
    """The paragraphs and lists of a plain text."""
    for part in _BLANK.split(text):
        if part.strip():
            yield Block(_kind(part), part.strip("\n").rstrip(), path, page)


def _kind(part: str) -> BlockKind:
    lines = [line for line in part.splitlines() if line.strip()]
    begins = _ITEM.match(lines[0])
    return "list" if begins and len(lines) > 1 and _ITEM.match(lines[1]) else "text"
