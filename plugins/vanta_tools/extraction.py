"""The text of a page or a document that came as bytes.

Invariant: bytes are untrusted. Reading is bounded in size and time by `vanta.memory.read_document`,
which is given a private temporary file that is removed before this returns.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from vanta import UnreadableDocument
from vanta.memory import read_document

SUFFIXES = {
    "application/json": ".txt",
    "application/pdf": ".pdf",
    "application/xhtml+xml": ".html",
    "text/html": ".html",
    "text/markdown": ".md",
    "text/plain": ".txt",
}
"""The file suffix of each content type whose format matters; any other text is plain."""


@dataclass(frozen=True, slots=True)
class ExtractedText:
    """The text of a document.

    :param text: its headings and paragraphs, apart by blank lines.
    :param title: the title in its metadata, or "".
    :param notes: remarks, such as an encoding other than UTF-8.
    """

    text: str
    title: str = ""
    notes: tuple[str, ...] = ()


def extract_text(data: bytes, suffix: str) -> ExtractedText:
    """Return the text of a document. Blocking, for seconds if a PDF is long.

    :param data: its content.
    :param suffix: a hint at its format, such as ".html".
    :raises UnreadableDocument: if it has no text that can be read.
    """
    if not data.strip():
        return ExtractedText("")
    with tempfile.TemporaryDirectory(prefix="vanta-tools-") as folder:
        path = Path(folder, f"document{suffix}")
        path.write_bytes(data)
        try:
            document = read_document(path)
        except UnreadableDocument:
            if suffix != ".md":
                raise
            # The library for Markdown is missing: it reads well as it is.
            document = read_document(path.rename(path.with_suffix(".txt")))
    text = "\n\n".join(_marked(block.kind, block.text, block.path) for block in document.blocks)
    return ExtractedText(text, document.title, document.notes)


def _marked(kind: str, text: str, path: tuple[str, ...]) -> str:
    if kind == "heading" and not text.startswith("#"):
        return f"{'#' * min(max(len(path), 1), 6)} {text}"
    return text
