"""Reads a file as a document, in the format of its content.

The suffix is only a hint: a PDF, a web page or a ZIP file is recognised by its first bytes.
Invariant: nothing larger than the limits is read into memory, and only regular files are opened,
since a device or a pipe may never end.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path

from vanta.errors import UnreadableDocument
from vanta.files import read_file
from vanta.memory.documents import html, pdf, text
from vanta.memory.documents.document import Block, Document, DocumentFormat, require
from vanta.memory.documents.encodings import NotText, decode

MAX_PDF_BYTES = 64_000_000
MAX_TEXT_BYTES = 16_000_000
MAX_CHARACTERS = 4_000_000
"""Maximum length of a document's text, about that of the longest novels."""

_SUFFIXES: dict[str, DocumentFormat] = {
    **dict.fromkeys((".md", ".markdown", ".mdown", ".mkd"), "markdown"),
    **dict.fromkeys((".html", ".htm", ".xhtml"), "html"),
}
_WEB_PAGE = re.compile(
    r"\s*(?:<\?xml[^>]{0,200}>\s*)?(?:<!--.{0,2000}?-->\s*){0,3}<(?:!doctype\s+html|html)\b",
    re.IGNORECASE | re.DOTALL,
)
_TAG = re.compile(r"<[a-z!/]", re.IGNORECASE)
_PDF_HEADER_BYTES = 1024
"""Bytes in which the header of a PDF is searched; some files have garbage before it."""

_OTHER_FORMATS = (
    (b"PK\x03\x04", "a ZIP or Office file", "Save it as PDF, HTML or text"),
    (b"\xd0\xcf\x11\xe0", "an old Office file", "Save it as PDF, HTML or text"),
    (b"\x1f\x8b", "a gzip file", "Unpack it"),
    (b"\x89PNG", "an image", "Run text recognition on it"),
    (b"\xff\xd8\xff", "an image", "Run text recognition on it"),
    (b"{\\rtf", "an RTF file", "Save it as PDF, HTML or text"),
)


def read_document(path: Path) -> Document:
    """Read a text, Markdown, HTML or PDF file. Blocking, for seconds if a PDF is long.

    :param path: the file.
    :returns: the document.
    :raises UnreadableDocument: the file cannot be opened, is too large, broken, encrypted or
        without text, or a library for its format is missing.
    """
    data = _read_bytes(path)
    name = path.name
    if b"%PDF-" in data[:_PDF_HEADER_BYTES]:
        blocks, title, notes = pdf.read_pdf(name, data, MAX_CHARACTERS)
        return Document(name, "pdf", tuple(blocks), title, notes)
    return _read_text(name, _SUFFIXES.get(path.suffix.lower(), "text"), data)


def _read_text(name: str, expected: DocumentFormat, data: bytes) -> Document:
    for beginning, what, advice in _OTHER_FORMATS:
        if data.startswith(beginning):
            raise UnreadableDocument(f"{name!r} is {what}. {advice}, then add the result.")
    if len(data) > MAX_TEXT_BYTES:
        raise _too_large(name, f"{len(data)} bytes, at most {MAX_TEXT_BYTES}")
    try:
        content, note = decode(data, html=expected == "html")
    except NotText as error:
        raise UnreadableDocument(
            f"{name!r} cannot be read as text: {error}. Save it as UTF-8 text, HTML or PDF."
        ) from error
    if len(content) > MAX_CHARACTERS:
        raise _too_large(name, f"{len(content)} characters, at most {MAX_CHARACTERS}")
    actual, blocks, title = _parse(name, expected, content)
    if not blocks:
        raise UnreadableDocument(f"{name!r} has no text. Check that it is the right file.")
    return Document(name, actual, tuple(blocks), title, (note,) if note else ())


def _parse(
    name: str, expected: DocumentFormat, content: str
) -> tuple[DocumentFormat, list[Block], str]:
    """Return the actual format of a text, its blocks, and its title."""
    if _WEB_PAGE.match(content) or (expected == "html" and _TAG.search(content)):
        blocks, title = html.read_html(content)
        return "html", blocks, title
    if expected == "markdown":
        require("markdown_it", name, "Markdown")
        return "markdown", list(text.markdown_blocks(content)), ""
    return "text", list(text.text_blocks(content)), ""


def _read_bytes(path: Path) -> bytes:
    try:
        return read_file(path, MAX_PDF_BYTES)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise _too_large(path.name, f"more than {MAX_PDF_BYTES} bytes") from error
        missing = isinstance(error, FileNotFoundError)
        why = "there is no such file" if missing else error.strerror or str(error)
        raise UnreadableDocument(
            f"{str(path)!r} cannot be read: {why}. Check the path and its permissions."
        ) from error


def _too_large(name: str, size: str) -> UnreadableDocument:
    return UnreadableDocument(f"{name!r} is too large: {size}. Split it and add the parts.")
