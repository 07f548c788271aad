"""PDF: the text of each page, by pypdf, inside limits on what a stream may unfold to.

Invariant: nothing that pypdf raises comes out; what does is UnreadableDocument, with the reason and
the next step. A file that takes longer than `SECONDS` is given up between two pages.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vanta.errors import UnreadableDocument
from vanta.memory.documents.document import Block
from vanta.memory.documents.libraries import require
from vanta.memory.documents.plain import blocks_of

if TYPE_CHECKING:
    from pypdf import PdfReader

PAGES = 5_000
SECONDS = 120.0
STREAM_BYTES = 16_000_000
"""Bytes that one stream of the file may unfold to."""

_SCAN = (
    "It is a scan or an image: run text recognition over it (`ocrmypdf`) and add what that gives."
)


def read_pdf(name: str, data: bytes, characters: int) -> tuple[list[Block], str, tuple[str, ...]]:
    """The blocks of a PDF page by page, its title, and notes. Blocking, for seconds where the file
    is long. Raises UnreadableDocument."""
    require("pypdf", name, "a PDF")
    from pypdf.errors import LimitReachedError

    with _limits():
        try:
            reader = _open(name, data)
            blocks, empty = _pages(name, reader, characters)
            title = str(reader.metadata.title or "") if reader.metadata else ""
        except UnreadableDocument:
            raise
        except LimitReachedError as error:
            raise UnreadableDocument(
                f"{name!r} unfolds to more than a PDF may here ({error}). If you trust it, print "
                "it to a new PDF, then add that file."
            ) from error
        except Exception as error:
            raise UnreadableDocument(
                f"{name!r} is a broken PDF ({type(error).__name__}: {error}). Open it in a viewer "
                "and print or save it anew, then add that file."
            ) from error
    if not blocks:
        raise UnreadableDocument(f"{name!r} has no text on any of its {empty} pages. {_SCAN}")
    return blocks, title, (f"{empty} of its pages have no text",) if empty else ()


def _open(name: str, data: bytes) -> PdfReader:
    from pypdf import PdfReader
    from pypdf.errors import DependencyError

    reader = PdfReader(io.BytesIO(data))
    try:
        locked = reader.is_encrypted and not reader.decrypt("")
    except DependencyError:
        locked = True
    if locked:
        raise UnreadableDocument(
            f"{name!r} is encrypted. Save it without a password, then add that file."
        )
    return reader


def _pages(name: str, reader: PdfReader, characters: int) -> tuple[list[Block], int]:
    """The blocks of all pages, and how many pages have none."""
    until = time.monotonic() + SECONDS
    blocks: list[Block] = []
    empty = read = 0
    if len(reader.pages) > PAGES:
        raise UnreadableDocument(_too_large(name, f"has {len(reader.pages)} pages of {PAGES}"))
    for number, page in enumerate(reader.pages, start=1):
        text = page.extract_text()
        read += len(text)
        if read > characters:
            raise UnreadableDocument(_too_large(name, f"has over {characters} characters"))
        if time.monotonic() > until:
            raise UnreadableDocument(_too_large(name, f"took over {SECONDS:g} s to read"))
        found = list(blocks_of(text, page=number))
        empty += not found
        blocks += found
    return blocks, empty


def _too_large(name: str, what: str) -> str:
    return f"{name!r} {what}. Split it, and add the parts."


@contextmanager
def _limits() -> Iterator[None]:
    """pypdf inside its limits, and silent: what it warns of is no concern of whoever reads."""
    from pypdf import apply_configuration

    log = logging.getLogger("pypdf")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with apply_configuration(
            maximum_declared_stream_length=STREAM_BYTES,
            array_based_stream_maximum_output_length=STREAM_BYTES,
            lzw_maximum_output_length=STREAM_BYTES,
            run_length_maximum_output_length=STREAM_BYTES,
            zlib_maximum_output_length=STREAM_BYTES,
            brotli_maximum_output_length=STREAM_BYTES,
            stream_decoding_work_maximum_length=4 * STREAM_BYTES,
            jbig2dec_binary=None,
        ):
            yield
    finally:
        log.setLevel(level)
