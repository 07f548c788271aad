"""Bytes to text: a byte order mark, then UTF-8, then an HTML declaration, then detection.

Detection is by charset-normalizer. It distinguishes scripts (Cyrillic, Greek, Japanese...), but not
reliably the code pages of one script, so Latin text is read as Windows-1252, and so is text with
too few bytes to judge by, or if the library is missing. Invariant: data that is not text (a NUL
where none belongs) is refused.
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
_PAGE_ENCODINGS = (
    "iso-8859",
    "windows-125",
    "koi8",
    "shift_jis",
    "euc-",
    "gb",
    "big5",
    "macintosh",
)
"""Prefixes of the encodings that web pages are written in; Python knows stranger ones."""

_CANDIDATES = (
    "cp1252 cp1251 koi8_r cp1253 cp1256 cp932 euc_jp gb18030 big5 euc_kr".split()  # noqa: SIM905
)
_DETECTION_SAMPLE = 65_536
_MIN_EVIDENCE = 16
"""Bytes outside ASCII that detection needs; with fewer it mistakes "café" for Cyrillic."""

_NAMES = {"cp1252": "Latin-1 (Windows-1252)", "latin-1": "Latin-1"}


class NotText(Exception):  # noqa: N818 - never leaves this package
    """The bytes are not text; the message says why."""


def decode(data: bytes, *, html: bool = False) -> tuple[str, str]:
    """Return the text and a note on its encoding, "" for UTF-8.

    html: use the encoding that the page declares. Raises NotText.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _decode_strictly(data, encoding), ""
    if b"\0" in data:
        return _decode_strictly(data, _utf_16_without_mark(data)), "it was read as UTF-16"
    try:
        return data.decode("utf-8"), ""
    except UnicodeDecodeError:
        return _decode_legacy(data, _declared(data) if html else "")


def _decode_strictly(data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise NotText(f"it begins as {encoding.upper()} but continues differently") from error
    if "\0" in text:
        raise NotText("it contains NUL characters, so it is not text")
    return text


def _utf_16_without_mark(data: bytes) -> str:
    """Return the byte order: the NULs of text in Latin letters are all in odd or in even places."""
    sample = data[:_SAMPLE]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if len(data) % 2 == 0 and max(even, odd) > len(sample) // 4 and min(even, odd) == 0:
        return "utf-16-le" if odd else "utf-16-be"
    raise NotText("it contains NUL bytes, so it is not text")


def _declared(data: bytes) -> str:
    match = _DECLARED.search(data[:_SAMPLE])
    name = match[1].decode("ascii").lower() if match else ""
    return name if name.startswith(_PAGE_ENCODINGS) else ""


def _decode_legacy(data: bytes, declared: str) -> tuple[str, str]:
    """Decode by the declared encoding, the detected one, Windows-1252, or Latin-1, which has a
    letter for any byte."""
    for encoding in filter(None, (declared, _detected(data), "cp1252", "latin-1")):
        with contextlib.suppress(LookupError, ValueError):
            return data.decode(encoding), (
                f"it is not UTF-8 and was read as {_NAMES.get(encoding, encoding)}"
            )
    raise NotText("its encoding is unknown")


def _detected(data: bytes) -> str:
    sample = data[:_DETECTION_SAMPLE]
    if sum(byte > 0x7F for byte in sample) < _MIN_EVIDENCE:
        return ""
    try:
        from charset_normalizer import from_bytes
    except ImportError:
        return ""
    match = from_bytes(sample, cp_isolation=_CANDIDATES).best()
    return match.encoding if match else ""
