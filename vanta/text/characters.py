"""Characters: text that is Unicode, and text that cannot steer a terminal.

A Python string may hold halves of UTF-16 surrogate pairs: from a JSON escape, from a server that
cuts an emoji in two, or from bytes that the operating system could not decode. Such a half is not a
character: no file, socket or database takes it. Invariant: text passes `well_formed` where it
enters (a message, a delta, a name, a memory) and where it leaves (SQL, JSON, a terminal), so that
neither a turn nor a record is lost for it. Text without a half comes back as the same object.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")

REPLACEMENT = "\ufffd"
"""What stands for a character that cannot be read."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_BYTES = re.compile("[\udc80-\udcff]+")
_SHORT = 1024
_SLICE = 1 << 16
_HIGH = ("\ud800", "\udbff")
_BIDI = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_CONTROLS = frozenset((*range(32), *range(127, 160), *_BIDI)) - {9, 10}
_UNPRINTABLE = {**dict.fromkeys(_CONTROLS, REPLACEMENT), 0x2028: "\n", 0x2029: "\n"}
_JSON_ESCAPES = {code: f"\\u{code:04x}" for code in (*_CONTROLS, *range(0xD800, 0xE000))}


def well_formed(text: str) -> str:
    """Join surrogate pairs and replace each lone half by U+FFFD.

    :param text: any text.
    :returns: text that can be encoded as UTF-8.
    """
    if text.isascii() or not _has_half(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _has_half(text: str) -> bool:
    if len(text) <= _SHORT:
        return _SURROGATE.search(text) is not None
    try:  # several times as fast as the search, which is faster to begin
        for start in range(0, len(text), _SLICE):
            text[start : start + _SLICE].encode("utf-16-le")
    except UnicodeEncodeError:
        return True
    return False


def well_formed_data(value: T) -> T:
    """Make every text in JSON-like data well-formed, keys included.

    :param value: text, or lists, tuples and mappings of it; other values stay as they are.
    """
    cleaned: T = _cleaned(value)
    return cleaned


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, Mapping):
        return {_cleaned(key): _cleaned(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_cleaned, value))
    return value


def make_well_formed(item: object, *names: str) -> None:
    """Make fields of a frozen dataclass well-formed, in its `__post_init__`.

    :param item: the object.
    :param names: the names of its fields; what is not text stays as it is.
    """
    for name in names:
        value = getattr(item, name)
        if value and not (isinstance(value, str) and value.isascii()):
            object.__setattr__(item, name, well_formed_data(value))


def decoded(text: str) -> str:
    """Return text of the operating system (an argument, a variable, a line of input) as Unicode.

    Python represents a byte that it cannot decode as half a surrogate pair. Such bytes are read as
    UTF-8, which they are if the locale is wrong; what is not UTF-8 becomes U+FFFD.

    :param text: text that was decoded with the error handler `surrogateescape`.
    """
    if text.isascii():
        return text
    return well_formed(_ESCAPED_BYTES.sub(_read_bytes, text))


def _read_bytes(match: re.Match[str]) -> str:
    before = match.string[match.start() - 1 : match.start()]
    if before and _HIGH[0] <= before <= _HIGH[1]:
        return match[0]  # the second half of a pair, not a byte
    return match[0].encode("ascii", "surrogateescape").decode("utf-8", "replace")


def printable(text: str) -> str:
    """Replace control characters, so text of a model, a server or a file cannot steer a terminal.

    Escape sequences lose their first character, and overrides of the direction of writing, which
    can make a line read backwards, are replaced, too.

    :param text: any text; newlines and tabs stay.
    :returns: text that a terminal shows as it is.
    """
    if text.isascii() and text.isprintable():
        return text
    return well_formed(text.replace("\r\n", "\n").translate(_UNPRINTABLE))


def escaped_json(document: str) -> str:
    """Escape the control characters in a JSON document, which keeps its value.

    :param document: a JSON document, with line breaks between its values only.
    """
    if document.isascii() and "\x7f" not in document:
        return document
    return document.translate(_JSON_ESCAPES)


class SurrogateJoiner:
    """Joins surrogate pairs that are split across the fragments of one text.

    The fragments that `feed` returns are well-formed. A first half at the end of a fragment waits
    for the next one; `flush` ends the text.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = ""

    def feed(self, fragment: str) -> str:
        """Return the next fragment as far as its characters are complete.

        :param fragment: the fragment as it arrived.
        """
        if not self._held and (fragment.isascii() or not _has_half(fragment)):
            return fragment
        text = self._held + fragment
        self._held = text[-1] if _HIGH[0] <= text[-1:] <= _HIGH[1] else ""
        return well_formed(text[:-1] if self._held else text)

    def flush(self) -> str:
        """Return U+FFFD if half a pair was left at the end of the text, else ""."""
        held, self._held = self._held, ""
        return REPLACEMENT if held else ""
