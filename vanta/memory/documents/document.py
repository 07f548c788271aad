"""A document that was read: its text in blocks, each with the place where it stands.

Invariant: blocks are in the order of the file and hold all of its text; none is empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Format = Literal["text", "markdown", "html", "pdf"]
BlockKind = Literal["heading", "text", "list", "code", "table"]


@dataclass(frozen=True, slots=True)
class Block:
    """What belongs together: a paragraph, a whole list, a table...

    path: the headings above it, outermost first, a heading's own last. page: of a PDF, from 1.
    """

    kind: BlockKind
    text: str
    path: tuple[str, ...] = ()
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A document. name: of its file. notes: what a person should know of the reading, a sentence
    each (another encoding than UTF-8, pages without text)."""

    name: str
    format: Format
    blocks: tuple[Block, ...]
    title: str = ""
    notes: tuple[str, ...] = ()


class Outline:
    """The headings above a place, kept while a document is read from top to bottom."""

    def __init__(self) -> None:
        self._open: list[tuple[int, str]] = []

    @property
    def path(self) -> tuple[str, ...]:
        """The headings above this place."""
        return tuple(title for _, title in self._open)

    def enter(self, level: int, title: str) -> tuple[str, ...]:
        """A heading of a level (1 is the highest) comes; returns its path."""
        while self._open and self._open[-1][0] >= level:
            self._open.pop()
        self._open.append((level, " ".join(title.split())))
        return self.path
