"""Reads a file as the document that it is, whatever its name says.

A suffix is a hint, the content decides: a PDF, a web page or a zipped file is known by how it
begins. Invariant: nothing larger than the limits is taken into memory, and only regular files are
opened, since a device or a pipe may never end.
"""

from __future__ import annotations

import re
from pathlib import Path

from vanta.errors import UnreadableDocument
from vanta.memory.documents import html, markdown, pdf, plain
from vanta.memory.documents.document import Block, Document, Format
from vanta.memory.documents.encodings import NotText, decode
from vanta.memory.documents.libraries import require

PDF_BYTES = 64_000_000
TEXT_BYTES = 16_000_000
CHARACTERS = 4_000_000
"""Characters of text that a document may have; the longest novels have about as many."""

_SUFFIXES: dict[str, Format] = {
    **dict.fromkeys((".md", ".markdown", ".mdown", ".mkd"), "markdown"),
    **dict.fromkeys((".html", ".htm", ".xhtml"), "html"),
}
_WEB_PAGE = re.compile(
    r"\s*(?:<\?xml[^>]{0,200}>\s*)?(?:<!--.{0,2000}?-->\s*){0,3}<(?:!doctype\s+html|html)\b",
    re.IGNORECASE | re.DOTALL,
)
_TAG = re.compile(r"<[a-z!/]", re.IGNORECASE)
_PDF_WITHIN = 1024
"""Bytes within which a PDF says that it is one; some have rubbish before."""

_KNOWN = (
    (b"PK\x03\x04", "a ZIP or Office file", "Save it as PDF, HTML or text"),
    (b"\xd0\xcf\x11\xe0", "an old Office file", "Save it as PDF, HTML or text"),
    (b"\x1f\x8b", "a gzip file", "Unpack it"),
    (b"\x89PNG", "an image", "Run text recognition over it"),
    (b"\xff\xd8\xff", "an image", "Run text recognition over it"),
    (b"{\\rtf", "an RTF file", "Save it as PDF, HTML or text"),
)


def read(path: Path) -> Document:
    """The document in a file. Blocking: for a long PDF, for seconds.

    Raises UnreadableDocument for a file that cannot be opened, is too large, broken, encrypted or
    a picture of text, and for a PDF where the library for it is missing.
    """
    data = _bytes(path)
    name = path.name
    if b"%PDF-" in data[:_PDF_WITHIN]:
        blocks, title, notes = pdf.read_pdf(name, data, CHARACTERS)
        return Document(name, "pdf", tuple(blocks), title, notes)
    return _read_text(name, _SUFFIXES.get(path.suffix.lower(), "text"), data)


def _read_text(name: str, expected: Format, data: bytes) -> Document:
    for beginning, what, advice in _KNOWN:
        if data.startswith(beginning):
            raise UnreadableDocument(f"{name!r} is {what}. {advice}, then add what that gives.")
    if len(data) > TEXT_BYTES:
        raise _too_large(name, f"{len(data)} bytes, at most {TEXT_BYTES}")
    try:
        text, note = decode(data, html=expected == "html")
    except NotText as error:
        raise UnreadableDocument(
            f"{name!r} cannot be read as text: {error}. Save it as UTF-8 text, HTML or PDF."
        ) from error
    if len(text) > CHARACTERS:
        raise _too_large(name, f"{len(text)} characters, at most {CHARACTERS}")
    found, blocks, title = _parsed(name, expected, text)
    if not blocks:
        raise UnreadableDocument(f"{name!r} has no text. Check that it is the right file.")
    return Document(name, found, tuple(blocks), title, (note,) if note else ())


def _parsed(name: str, expected: Format, text: str) -> tuple[Format, list[Block], str]:
    """What the text is, its blocks, and its title."""
    if _WEB_PAGE.match(text) or (expected == "html" and _TAG.search(text)):
        blocks, title = html.read_html(text)
        return "html", blocks, title
    if expected == "markdown":
        require("markdown_it", name, "Markdown")
        return "markdown", list(markdown.blocks_of(text)), ""
    return "text", list(plain.blocks_of(text)), ""


def _bytes(path: Path) -> bytes:
    try:
        if not path.is_file():
            why = "it is no regular file" if path.exists() else "there is no such file"
            raise UnreadableDocument(f"{str(path)!r} cannot be read: {why}. Check the path.")
        with path.open("rb") as file:
            data = file.read(PDF_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UnreadableDocument(
            f"{str(path)!r} cannot be read: {why}. Check the path and its permissions."
        ) from error
    if len(data) > PDF_BYTES:
        raise _too_large(path.name, f"more than {PDF_BYTES} bytes")
    return data


def _too_large(name: str, size: str) -> UnreadableDocument:
    return UnreadableDocument(f"{name!r} is too large: {size}. Split it, and add the parts.")
