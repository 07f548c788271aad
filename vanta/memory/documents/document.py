"""A document as blocks of text, each with its place.

Invariant: blocks are in the order of the file and contain all of its text; no block is empty.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Literal

from vanta.errors import UnreadableDocument
from vanta.installation import install_hint

DocumentFormat = Literal["text", "markdown", "html", "pdf"]
BlockKind = Literal["heading", "text", "list", "code", "table"]


@dataclass(frozen=True, slots=True)
class Block:
    """A unit of text: a paragraph, a whole list, a table...

    :param kind: the kind of text.
    :param text: the text.
    :param path: the headings above it, outermost first; a heading's own title is last.
    :param page: the page of a PDF, from 1; None for other formats.
    """

    kind: BlockKind
    text: str
    path: tuple[str, ...] = ()
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A document.

    :param name: the name of its file.
    :param format: the detected format.
    :param blocks: its text.
    :param title: the title in its metadata, or "".
    :param notes: remarks for a person, such as an encoding other than UTF-8 or pages without text.
    """

    name: str
    format: DocumentFormat
    blocks: tuple[Block, ...]
    title: str = ""
    notes: tuple[str, ...] = ()


class Outline:
    """The headings above the current place, while a document is read from top to bottom."""

    def __init__(self) -> None:
        self._open: list[tuple[int, str]] = []

    @property
    def path(self) -> tuple[str, ...]:
        """The headings above the current place."""
        return tuple(title for _, title in self._open)

    def enter(self, level: int, title: str) -> tuple[str, ...]:
        """Enter a section and return its path; level 1 is the highest."""
        while self._open and self._open[-1][0] >= level:
            self._open.pop()
        self._open.append((level, " ".join(title.split())))
        return self.path


def require(library: str, name: str, what: str) -> None:
    """Check that an optional library is installed.

    :param library: its import name.
    :param name: the file that needs it.
    :param what: what the file is ("a PDF").
    :raises UnreadableDocument: the library is missing.
    """
    try:
        importlib.import_module(library)
    except ImportError as error:
        raise UnreadableDocument(
            f"{name!r} is {what}, which needs the library {library!r}. "
            f"Install it: {install_hint('documents')}."
        ) from error
