"""Keeps the conversation out of what servers write about it: errors, and the records of turns.

A server's error may quote the request, whole or in part, plain, escaped, encoded or cut into
pieces. `scrub_error` removes what an error shares with its request before anything shows, raises or
stores it; of a private turn it keeps no word of the server at all. `forget_texts` removes what
servers wrote from a stored trace.

A text is compared without case, accents, white space and punctuation, at every level of escaping
(JSON, URL, HTML), and base64 and hexadecimal digits are decoded. What both share counts as a
quotation from `MIN_RUN` letters on, as a whole message, or as a word that is not one of errors.
Words count in any order: of ASCII from five letters on, of other writing from three on, also if the
server drops their accents.
Invariant: scrubbing only removes text, takes bounded time, and never raises.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from vanta.engine import GenerationRequest
from vanta.errors import EngineError

LEFT_OUT = "[left out]"
"""Stands for a quotation that was removed."""

MIN_RUN = 12
"""Letters in a row that make a quotation; a digit counts as two, one beyond ASCII as three, a
syllable of Hangul or Katakana as four, a Chinese character as six: names have two of them."""

MOST_CHECKED = 1_000
"""Characters of a server's text that are checked; the rest is left out."""

MOST_COMPARED = 200_000
"""Characters of a request; of a longer one, no word of the server is kept."""

_LEVELS = 3
"""How often escapes are undone."""

_ESCAPE = re.compile(
    r"(?:\\+u[0-9a-fA-F]{4})+|(?:\\+x[0-9a-fA-F]{2})+|\\+[nrtbf\"'/\\]|(?:%[0-9a-fA-F]{2})+"
    r"|&#?[0-9a-zA-Z]{1,31};"
)
_CODE = re.compile(r"[A-Za-z0-9+/_-]{12,}={0,2}")
_IMAGE_DATA = re.compile(r"data:image/[\w.+-]{1,40};base64,[\w+/=-]*|[A-Za-z0-9+/]{80,}={0,2}")
_WORD = re.compile(r"[^\W_]+")
_WORD_WITH_MARKS = re.compile(
    r"[^\W_](?:[^\W_]|[^\w\x00-\u02ff\u037e\u0387\u055a-\u055f\u0589\u05be\u05c0\u05f3\u05f4\u060c"
    r"\u061b\u061f\u066a-\u066d\u06d4\u0964\u0965\u0e3f\u0e4f\u2000-\u20cf\u2100-\u303f\ufe10-\uffff])*"
)
"""A word. A mark (an accent, a vowel sign) belongs to its letter, and no punctuation does."""

_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af]")
_SYLLABLE = re.compile("[\u30a1-\u30fa\u30fc\uac00-\ud7a3\u1100-\u11ff]")
_SEPARATORS = re.compile(r"[\W_]+")
_ASCII_SEPARATORS = bytes(code for code in range(128) if not chr(code).isalnum())
_MAY_ESCAPE = re.compile(r"[\\%&]")
_MIN_WORD, _MIN_FOREIGN_WORD, _MIN_DIGITS, _MIN_MESSAGE = 5, 3, 4, 4
_OF_ERRORS = frozenset(
    """
    about above access account added additional allowed already another answer argument
    arguments array assistant authentication available balance because before being below
    billing boolean cannot change check client completion completions connection contact content
    context could credit current detail details does deprecated developer doesn either empty
    enabled encoding endpoint error errors exceed exceeded exceeds exist exists expected failed
    failure field first format found frequency function generate generated given header healthy
    however incorrect index input instead integer internal invalid known large later layer least
    length limit loaded loading longer lower match maximum memory message messages method might
    minimum missing model models number object occurred other output overloaded parameter
    parameters parse payload penalty please presence processing prompt property provided quota
    range rates received reduce refused rejected request requested requests required response
    result resulted retry return returned right schema seconds server service should since
    status still stream string supported system temperature tenant their there these though
    through timeout token tokens tools unable unauthorized unexpected unknown unsupported until
    upstream usage users valid value values version visit wants which while window within
    without would wrong
    """.split()  # noqa: SIM905 - a list of words reads better as words
)
"""Words that are no quotation on their own."""


class WithheldError(Exception):
    """Stands for an exception whose text quoted the conversation; its text names the type."""


def scrub_error(
    error: EngineError, request: GenerationRequest | Iterable[str], *, private: bool
) -> None:
    """Remove the request's text from an error, and from the causes that a traceback would print.

    :param error: the error of an engine; it is changed.
    :param request: the request that failed, or its texts.
    :param private: whether the turn is private; then of the error's message only `summary` is
        kept, if it has one, and nothing of its causes but their type.
    """
    texts = _texts_of(request) if isinstance(request, GenerationRequest) else list(request)
    quotations = Quotations(texts)
    if error.summary is not None and (private or quotations.is_too_long):
        error.message = error.summary
    else:
        error.message = quotations.removed_from(error.message)
    error.suggestion = quotations.removed_from(error.suggestion)
    notes = getattr(error, "__notes__", [])
    if notes:
        notes[:] = [] if private else map(quotations.removed_from, notes)
    error.args = (error.kind, error.message)
    cause = error.__cause__ or error.__context__
    if cause is not None and (private or any(map(quotations.are_in, traceback_texts(cause)))):
        error.__context__ = None
        error.__cause__ = WithheldError(type(cause).__name__)


def remove_quotations(text: str, sources: Iterable[str]) -> str:
    """Return `text` without what it shares with `sources`.

    :param text: what a server or a plugin wrote.
    :param sources: texts that it must not repeat.
    """
    return Quotations(sources).removed_from(text)


def forget_texts(trace: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON of a trace without what servers, gates and embedders wrote into it.

    :param trace: the data of `Trace.to_dict`.
    """
    legs = [
        {**leg, "verdict": leg.get("verdict") and LEFT_OUT, "error": _forgotten(leg.get("error"))}
        for leg in trace.get("legs") or ()
    ]
    contexts = {
        track: {
            key: LEFT_OUT if key in ("refused", "memory_skipped") and value else value
            for key, value in context.items()
        }
        for track, context in (trace.get("context") or {}).items()
    }
    result = {**trace, "legs": legs, "context": contexts}
    if recall := trace.get("recall"):
        result["recall"] = {**recall, "skipped": recall.get("skipped") and LEFT_OUT}
    return result


def traceback_texts(error: BaseException) -> Iterator[str]:
    """Yield everything that a traceback would print of an exception and of those behind it.

    :param error: the exception.
    """
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        found = pending.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        yield f"{found} {found!r} {getattr(found, '__notes__', '')}"
        pending += [found.__cause__, found.__context__, *getattr(found, "exceptions", ())]


class Quotations:
    """Finds what a text shares with some sources.

    :param sources: texts that must not be repeated.
    :ivar is_too_long: whether the sources are too long to be compared; then nothing of a text is
        kept.
    """

    def __init__(self, sources: Iterable[str]) -> None:
        texts = [text for text in sources if text]
        self.is_too_long = sum(map(len, texts)) > MOST_COMPARED
        self._texts = [] if self.is_too_long else texts
        self._words: frozenset[str] = frozenset()
        self._foreign_words: frozenset[str] = frozenset()
        self._letters: str | None = None
        self._messages: list[str] = []

    def removed_from(self, text: str) -> str:
        """Return a text without what it shares with the sources, and without data of images."""
        text = _IMAGE_DATA.sub(LEFT_OUT, text)
        if not text or not (self._texts or self.is_too_long):
            return text
        if self.is_too_long:
            return LEFT_OUT
        kept, rest = text[:MOST_CHECKED], text[MOST_CHECKED:]
        return _cut(kept, self._spans(kept)) + (LEFT_OUT if rest else "")

    def are_in(self, text: str) -> bool:
        """Return whether a text repeats anything of the sources, or may."""
        return self.is_too_long or len(text) > MOST_CHECKED or bool(self._spans(text))

    def _spans(self, text: str) -> list[tuple[int, int]]:
        """Return the places of quotations in a text."""
        if not self._texts:
            return []
        self._prepare()
        spans = list(self._codes(text))
        level = [(char, place, place + 1) for place, char in enumerate(text)]
        for _ in range(_LEVELS + 1):
            letters = _letters_of(level)
            spans += [*self._runs(letters), *self._whole_messages(letters), *self._words_in(level)]
            following = _unescaped(level)
            if len(following) == len(level):
                break
            level = following
        return spans

    def _prepare(self) -> None:
        """Compute, once, what texts are compared with."""
        if self._letters is not None:
            return
        texts = [_folded(text) for text in self._texts]
        texts += [_folded(_plain_text(text)) for text in self._texts if _MAY_ESCAPE.search(text)]
        words = {word for text in texts for word in _WORD_WITH_MARKS.findall(text)}
        self._words = frozenset(map(_without_separators, words))
        self._foreign_words = frozenset(
            letters
            for word in words
            if not word.isascii() and len(letters := _without_separators(word)) >= _MIN_FOREIGN_WORD
        )
        self._letters = "\0".join(map(_without_separators, texts))
        short = (text for text in self._letters.split("\0") if _is_short(text))
        self._messages = [text for text in short if _is_message(text)]

    def _runs(self, letters: Sequence[tuple[str, int, int]]) -> Iterator[tuple[int, int]]:
        """Yield the places that share at least `MIN_RUN` letters in a row with the sources."""
        line, haystack, start = "".join(item[0] for item in letters), self._letters or "", 0
        while start < len(line):
            length = _run_length(line, start)
            if length is None:
                return
            longest = _longest_match(haystack, line, start, length)
            if longest:
                yield letters[start][1], letters[start + longest - 1][2]
            start += longest or 1

    def _whole_messages(self, letters: Sequence[tuple[str, int, int]]) -> Iterator[tuple[int, int]]:
        line = "".join(item[0] for item in letters)
        for message in self._messages:
            place = line.find(message)
            while place >= 0:
                yield letters[place][1], letters[place + len(message) - 1][2]
                place = line.find(message, place + 1)

    def _words_in(self, level: Sequence[tuple[str, int, int]]) -> Iterator[tuple[int, int]]:
        line = "".join(item[0] for item in level)
        for match in _WORD_WITH_MARKS.finditer(line):
            if self._has_word(_without_separators(_folded(match[0]))):
                yield level[match.start()][1], level[match.end() - 1][2]

    def _has_word(self, word: str) -> bool:
        if _digits(word) >= _MIN_DIGITS and word in (self._letters or ""):
            return True
        return word in self._foreign_words or (_is_telling(word) and word in self._words)

    def _codes(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the places of base64 or hexadecimal digits that encode a quotation."""
        for match in _CODE.finditer(text):
            for decoded in _decoded(match[0]):
                level = [(char, 0, 1) for char in decoded]
                letters = _letters_of(level)
                if any(self._runs(letters)) or any(self._whole_messages(letters)):
                    yield match.span()
                    break


def _texts_of(request: GenerationRequest) -> list[str]:
    """Return everything in a request that may be a user's."""
    texts = [request.prefix, request.sampling.grammar or ""]
    for message in request.messages:
        texts.append(message.content)
        texts += [part for call in message.tool_calls for part in (call.name, call.arguments)]
    if request.sampling.json_schema is not None:
        texts.append(str(request.sampling.json_schema))
    return texts + [f"{tool.name} {tool.description}" for tool in request.tools]


def _forgotten(error: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if error is None:
        return None
    written = {"message": LEFT_OUT, "suggestion": "", "cause": None}
    return {**error, **written}


def _letters_of(level: Sequence[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """Return the letters and digits of a text, folded, each with its place in the original."""
    return [
        (letter, start, end)
        for char, start, end in level
        for letter in _folded(char)
        if letter.isalnum()
    ]


def _unescaped(level: Sequence[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """Undo one level of escapes."""
    line = "".join(item[0] for item in level)
    result: list[tuple[str, int, int]] = []
    place = 0
    for match in _ESCAPE.finditer(line):
        result += level[place : match.start()]
        start, end = level[match.start()][1], level[match.end() - 1][2]
        result += [(char, start, end) for char in _unescape(match[0])]
        place = match.end()
    return result + list(level[place:])


def _plain_text(text: str) -> str:
    for _ in range(_LEVELS):
        text = _ESCAPE.sub(lambda match: _unescape(match[0]), text)
    return text


def _unescape(escape: str) -> str:
    if escape.startswith("%"):
        return unquote(escape, errors="replace")
    if escape.startswith("&"):
        return html.unescape(escape)
    if codes := re.findall(r"u([0-9a-fA-F]{4})", escape):
        return bytes.fromhex("".join(codes)).decode("utf-16-be", "replace")
    if codes := re.findall(r"x([0-9a-fA-F]{2})", escape):
        data = bytes.fromhex("".join(codes))
        text = data.decode("utf-8", "replace")
        return data.decode("latin-1") if "\ufffd" in text else text
    return " " if escape[-1] in "nrtbf" else escape[-1]


def _folded(text: str) -> str:
    """Return a text without the differences of case, width and accents."""
    if text.isascii():
        return text.casefold()
    return unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())


def _without_separators(text: str) -> str:
    if text.isascii():
        return text.encode().translate(None, _ASCII_SEPARATORS).decode()
    return _SEPARATORS.sub("", text)


def _weight(letters: str) -> int:
    return sum(map(_weight_of, letters))


def _is_short(letters: str) -> bool:
    return len(letters) < MIN_RUN and _weight(letters) < MIN_RUN


def _weight_of(letter: str) -> int:
    if letter.isascii():
        return 2 if letter.isdigit() else 1
    return 6 if _HAN.match(letter) else 4 if _SYLLABLE.match(letter) else 3


def _run_length(line: str, start: int) -> int | None:
    """Return how many letters from `start` on make a run, None if too few are left."""
    weight = 0
    for place in range(start, len(line)):
        weight += _weight_of(line[place])
        if weight >= MIN_RUN:
            return place - start + 1
    return None


def _longest_match(haystack: str, line: str, start: int, least: int) -> int:
    """Return the length of the longest match from `start` on, 0 if `least` letters do not match."""
    longest, place = 0, haystack.find(line[start : start + least])
    for _ in range(16):
        if place < 0:
            break
        length = least
        while (
            start + length < len(line)
            and haystack[place + length : place + length + 1] == (line[start + length])
        ):
            length += 1
        longest = max(longest, length)
        place = haystack.find(line[start : start + longest + 1], place + 1)
    return longest


def _is_telling(word: str) -> bool:
    """Return whether a word is a quotation on its own if the sources have it."""
    if _digits(word) >= _MIN_DIGITS:
        return True
    return word.isascii() and len(word) >= _MIN_WORD and word not in _OF_ERRORS


def _digits(word: str) -> int:
    return sum(letter.isdigit() for letter in word)


def _is_message(letters: str) -> bool:
    return _weight(letters) >= _MIN_MESSAGE and letters not in _OF_ERRORS


def _decoded(code: str) -> Iterator[str]:
    """Yield the texts that some digits may encode."""
    plain = code.rstrip("=").replace("-", "+").replace("_", "/")
    for decode in (_from_base64, binascii.unhexlify):
        try:
            yield decode(plain).decode("utf-8", "replace")
        except ValueError:
            continue


def _from_base64(code: str) -> bytes:
    whole = code[: len(code) - (len(code) % 4 == 1)]
    return base64.b64decode(whole + "=" * (-len(whole) % 4))


def _cut(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Return a text with `LEFT_OUT` in place of the spans; what lies between two is kept."""
    parts: list[str] = []
    place = 0
    for start, end in sorted(spans):
        if end <= place:
            continue
        between = text[place : max(place, start)]
        if not parts or _WORD.search(between):
            parts += [between, LEFT_OUT]
        place = end
    return "".join([*parts, text[place:]])
