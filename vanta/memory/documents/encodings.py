"""Bytes to text: a byte order mark decides, else UTF-8, else what the bytes look like.

Invariant: whatever is not text (a NUL where none belongs) is refused, never guessed at.
"""

from __future__ import annotations

import codecs
import contextlib
import re

_MARKS = (  # UTF-32 first: its little-endian mark begins like that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARED = re.compile(
    rb"""<meta[^>]{0,200}?charset\s{0,9}=\s{0,9}["']?([\w-]{1,40})""", re.IGNORECASE
)
_SAMPLE = 4096
_WRITTEN_SO = ("iso-8859", "windows-125", "koi8", "shift_jis", "euc-", "gb", "big5", "macintosh")
"""How the names of encodings begin that web pages are written in; Python knows stranger ones."""


class NotText(Exception):  # noqa: N818 - never leaves this package
    """The bytes are no text; the message says why."""


def decode(data: bytes, *, html: bool = False) -> tuple[str, str]:
    """The text and a note on its encoding, "" for UTF-8. html: look for a declared encoding.

    Raises NotText.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _strict(data, encoding), ""
    if b"\0" in data:
        return _strict(data, _utf_16_without_mark(data)), "it was read as UTF-16"
    try:
        return data.decode("utf-8"), ""
    except UnicodeDecodeError:
        return _one_byte(data, _declared(data) if html else "")


def _strict(data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise NotText(f"it begins as {encoding.upper()} and goes on as something else") from error
    if "\0" in text:
        raise NotText("it has NUL characters, so it is no text")
    return text


def _utf_16_without_mark(data: bytes) -> str:
    """Which UTF-16 it is: text in Latin letters has its NULs all in the odd or the even places."""
    sample = data[:_SAMPLE]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if len(data) % 2 == 0 and max(even, odd) > len(sample) // 4 and min(even, odd) == 0:
        return "utf-16-le" if odd else "utf-16-be"
    raise NotText("it has NUL bytes, so it is no text")


def _declared(data: bytes) -> str:
    found = _DECLARED.search(data[:_SAMPLE])
    name = found[1].decode("ascii").lower() if found else ""
    return name if name.startswith(_WRITTEN_SO) else ""


def _one_byte(data: bytes, declared: str) -> tuple[str, str]:
    """What it says of itself, else Windows-1252, else Latin-1, which has a letter for any byte."""
    for encoding in filter(None, (declared, "cp1252", "latin-1")):
        with contextlib.suppress(LookupError, ValueError):
            return data.decode(encoding), f"it is not UTF-8 and was read as {_named(encoding)}"
    raise NotText("its encoding is unknown")


def _named(encoding: str) -> str:
    return {"cp1252": "Latin-1 (Windows-1252)", "latin-1": "Latin-1"}.get(encoding, encoding)
