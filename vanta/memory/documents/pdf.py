"""PDF: the text of each page, extracted by pypdf within limits on the size of unpacked streams.

Invariant: every error of pypdf becomes an UnreadableDocument with the reason and the next step. A
file that takes longer than `MAX_SECONDS` is abandoned between two pages.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vanta.errors import UnreadableDocument
from vanta.memory.documents.document import Block, require
from vanta.memory.documents.text import text_blocks

if TYPE_CHECKING:
    from pypdf import PdfReader

MAX_PAGES = 5_000
MAX_SECONDS = 120.0
MAX_STREAM_BYTES = 16_000_000
"""Maximum size of an unpacked stream."""

_SCAN = "It is a scan or an image: run text recognition on it (`ocrmypdf`), then add the result."


def read_pdf(name: str, data: bytes, characters: int) -> tuple[list[Block], str, tuple[str, ...]]:
    """Return the blocks of a PDF, its title, and notes. Blocking, for seconds if the file is long.

    :param name: the name of the file, for messages.
    :param data: the content.
    :param characters: maximum number of characters of text.
    :raises UnreadableDocument: the file is broken, encrypted, too large or without text.
    """
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
                f"{name!r} unpacks to more data than is allowed ({error}). If you trust it, print "
                "it to a new PDF, then add that file."
            ) from error
        except Exception as error:
            raise UnreadableDocument(
                f"{name!r} is a broken PDF ({type(error).__name__}: {error}). Open it in a viewer, "
                "print or save it again, then add that file."
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
    """Return the blocks of all pages, and the number of pages without text."""
    deadline = time.monotonic() + MAX_SECONDS
    blocks: list[Block] = []
    empty = total = 0
    if len(reader.pages) > MAX_PAGES:
        raise _too_large(name, f"has {len(reader.pages)} pages, more than {MAX_PAGES}")
    for number, page in enumerate(reader.pages, start=1):
        text = page.extract_text()
        total += len(text)
        if total > characters:
            raise _too_large(name, f"has more than {characters} characters")
        if time.monotonic() > deadline:
            raise _too_large(name, f"took more than {MAX_SECONDS:g} s to read")
        page_blocks = list(text_blocks(text, page=number))
        empty += not page_blocks
        blocks += page_blocks
    return blocks, empty


def _too_large(name: str, problem: str) -> UnreadableDocument:
    return UnreadableDocument(f"{name!r} {problem}. Split it and add the parts.")


@contextmanager
def _limits() -> Iterator[None]:
    """Apply limits to pypdf and silence its warnings, which mean nothing to the user."""
    from pypdf import apply_configuration

    log = logging.getLogger("pypdf")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with apply_configuration(
            maximum_declared_stream_length=MAX_STREAM_BYTES,
            array_based_stream_maximum_output_length=MAX_STREAM_BYTES,
            lzw_maximum_output_length=MAX_STREAM_BYTES,
            run_length_maximum_output_length=MAX_STREAM_BYTES,
            zlib_maximum_output_length=MAX_STREAM_BYTES,
            brotli_maximum_output_length=MAX_STREAM_BYTES,
            stream_decoding_work_maximum_length=4 * MAX_STREAM_BYTES,
            jbig2dec_binary=None,
        ):
            yield
    finally:
        log.setLevel(level)
