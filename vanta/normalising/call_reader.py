"""Reads the tool calls that a model writes into the text of its answer, as the text arrives.

Text that only mentions a mark (in a code block, in backticks, in a sentence) is text, as is a call
that stands in the text of the request (`vanta.normalising.quoted_calls`). A call of a
tool that is not offered counts at the beginning of a line only, as does a broken one.

Invariants: every character is returned once, as text or as part of a call or its marks, however the
text was cut. A call that is broken becomes text, or a wrong call that the model can correct. The
time is linear in the length of the text, and no more than `MOST_REREAD` characters are read again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from vanta.normalising.call_bodies import Calls, JsonEnd, Schemas, broken_call
from vanta.normalising.call_markups import BARE, LONGEST_HEAD, MARKUPS, CallMarkup
from vanta.normalising.quoted_calls import NONE_QUOTED, QuotedCalls
from vanta.tool_contract import Tool

MOST_MARKS = 256
"""Marks that count in one answer. What follows them is text."""

MOST_REREAD = 1 << 20
"""Characters that are read again after marks that turned out to be text. Then all is text."""


def _pattern(markups: Iterable[CallMarkup]) -> re.Pattern[str]:
    marks = sorted((markup.mark for markup in markups), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, marks)))


_BY_MARK = {markup.mark: markup for markup in MARKUPS}
_ANYWHERE = _pattern(markup for markup in MARKUPS if not markup.first)
_AT_FIRST = _pattern(MARKUPS)
_BEGINNINGS = frozenset(mark[:size] for mark in _BY_MARK for size in range(1, len(mark)))
_LONGEST = max(map(len, _BY_MARK))


class CallReader:
    """Separates the calls in an answer's text from the text itself, as it arrives.

    :param tools: the tools that may be called; none if they are not known.
    :param continues: whether the text continues an answer. Otherwise JSON that is the whole answer
        is a call without a mark, as Llama 3 writes it, if it names one of the tools.
    :param quoted: the calls that are quotations, and so text.
    :ivar calls: how many calls there were.
    """

    def __init__(
        self,
        tools: Sequence[Tool] = (),
        *,
        continues: bool = False,
        quoted: QuotedCalls = NONE_QUOTED,
    ) -> None:
        self._quoted = quoted
        self._schemas: Schemas = {tool.name: tool.parameters for tool in tools}
        self._held = ""
        self._markup: CallMarkup | None = None
        self._mark = ""
        self._json: JsonEnd | None = None
        self._json_at = 0
        self._searched = 0
        self._gap: CallMarkup | None = None
        self._marks = 0
        self._reread = 0
        self._is_first = self._is_bare = not continues
        self._line = _Line()
        self._text: list[str] = []
        self._calls: Calls = []
        self.calls = 0

    @property
    def opened(self) -> str:
        """The mark that the text has just ended with, or ""."""
        return self._mark if self._markup and not self._held.strip() else ""

    @property
    def is_idle(self) -> bool:
        """Whether nothing is held back."""
        return not (self._held or self._markup or self._gap)

    def add(self, text: str) -> tuple[str, Calls]:
        """Add text; return what is complete: text to show, and calls.

        :param text: the next fragment of the answer.
        """
        self._held += text
        while self._held and self._step():
            pass
        return self._take()

    def finish(self) -> tuple[str, Calls]:
        """End the text; return the rest."""
        while self._held or self._markup:
            while self._held and self._step():
                pass
            if self._markup is not None:
                self._end_body(self._held, "")
            elif self._gap is not None:
                self._end_gap()
            else:
                self._show(self._held)
                self._held = ""
        return self._take()

    def _take(self) -> tuple[str, Calls]:
        text, calls = "".join(self._text), self._calls
        self._text, self._calls = [], []
        self.calls += len(calls)
        return text, calls

    def _step(self) -> bool:
        """Take one more part. Returns False if that needs more text."""
        if self._markup is not None:
            return self._read(self._markup)
        if self._gap is not None:
            return self._close(self._gap)
        if self._is_first and self._is_bare and self._may_be_bare():
            return self._begin(BARE, "", "")
        return self._plain()

    def _may_be_bare(self) -> bool:
        bare = self._held.lstrip()
        self._is_bare = not bare or bare.startswith("{")
        return bare.startswith("{")

    def _plain(self) -> bool:
        """Show text up to the next mark."""
        if not self._held.strip() and self._is_first and len(self._held) < LONGEST_HEAD:
            return False
        if self._marks >= MOST_MARKS:
            self._show(self._held)
            self._held = ""
            return False
        match = (_AT_FIRST if self._is_first else _ANYWHERE).search(self._held)
        if match and _BY_MARK[match[0]].first and self._held[: match.start()].strip():
            match = _ANYWHERE.search(self._held)
        if match:
            self._show(self._held[: match.start()])
            return self._begin(_BY_MARK[match[0]], match[0], self._held[match.end() :])
        ready = len(self._held) - _possible_mark(self._held)
        self._show(self._held[:ready])
        self._held = self._held[ready:]
        return False

    def _begin(self, markup: CallMarkup, mark: str, body: str) -> bool:
        if self._line.is_code:  # the mark is quoted
            self._show(mark)
            self._held = body
            return True
        self._marks += 1
        self._markup, self._mark = markup, mark
        self._held = body if mark else self._held
        self._json, self._searched = None, 0
        return True

    def _read(self, markup: CallMarkup) -> bool:
        """Read the body of a call up to its end."""
        if self._json is None and self._searched < LONGEST_HEAD:
            verdict = markup.check(self._held)
            if verdict is None:
                return False
            if not verdict:
                return self._reject()
            head = markup.head.match(self._held)
            if head:
                self._json, self._json_at = JsonEnd(), head.end()
        return self._read_json(markup, self._json) if self._json else self._read_to_end(markup)

    def _read_json(self, markup: CallMarkup, json: JsonEnd) -> bool:
        body, start = self._held, self._json_at
        length = json.at
        while length is None:
            place = start + json.read
            found = body.find(markup.end, max(self._searched, start)) if markup.end else -1
            length = json.feed(body[place:] if found < 0 else body[place : found + len(markup.end)])
            if length is None and found < 0:
                self._searched = max(self._searched, len(body) - len(markup.end) + 1)
                return False
            if length is None and not json.in_text:
                return self._end_body(body[:found], body[found:])
            self._searched = found + 1
        end = start + length
        if markup is not BARE:
            return self._end_body(body[:end], body[end:])
        rest = body[end:].lstrip(" \t\r\n;")
        return bool(rest) and not rest.startswith("{") and self._reject()

    def _read_to_end(self, markup: CallMarkup) -> bool:
        if not markup.end:
            return False
        found = self._held.find(markup.end, self._searched)
        if found < 0:
            self._searched = max(self._searched, len(self._held) - len(markup.end) + 1)
            return False
        if _is_inside_parameter(self._held[:found]):
            self._searched = found + 1
            return True
        return self._end_body(self._held[:found], self._held[found:])

    def _end_body(self, body: str, rest: str) -> bool:
        """Read a whole body: calls, a wrong call, or text."""
        markup = self._markup
        assert markup is not None  # noqa: S101 - only called inside a body
        if self._quoted.holds(self._mark + body):
            return self._reject()
        calls = markup.read(body, self._schemas)
        is_quoted = not self._line.is_blank
        if calls is not None and (is_quoted or markup is BARE) and self._schemas:
            calls = calls if all(name in self._schemas for name, _ in calls) else None
        elif calls is None and not is_quoted and markup is not BARE:
            calls = broken_call(body, self._schemas)
        if calls is None:
            return self._reject()
        self._calls += calls
        self._held, self._gap, self._markup = rest, markup, None
        self._is_first = False
        return True

    def _reject(self) -> bool:
        """Show a mark that begins no call; what follows it may hold other marks."""
        self._markup = None
        self._reread += len(self._held)
        if self._reread > MOST_REREAD:
            self._marks = MOST_MARKS
        if self._mark:
            self._show(self._mark)
        else:
            self._is_bare = False
        return True

    def _close(self, markup: CallMarkup) -> bool:
        """Drop the marks and line ends after a call."""
        bare = self._held.lstrip()
        if markup.repeats and bare[:1] in (";", ","):
            bare = bare[1:].lstrip()
        closing = next((text for text in markup.closings if bare.startswith(text)), "")
        if closing:
            self._held = bare[len(closing) :]
            return True
        if not bare or any(text.startswith(bare) for text in markup.closings):
            return False
        if markup.repeats and bare.startswith("{"):
            self._gap = None
            self._held = bare
            self._begin(markup, self._mark, bare)
            return True
        self._end_gap()
        return bool(self._held)

    def _end_gap(self) -> None:
        held, markup = self._held, self._gap
        self._gap = None
        closings = markup.closings if markup else ()
        is_cut = len(held.strip()) > 1 and any(text.startswith(held.strip()) for text in closings)
        self._held = "" if is_cut or not held.strip() else held.lstrip("\n")
        self._line.end()

    def _show(self, text: str) -> None:
        if text:
            self._text.append(text)
            self._line.add(text)
            self._is_first = self._is_first and not text.strip()


class _Line:
    """Whether the end of a text is inside code: a fenced block, or backticks."""

    def __init__(self) -> None:
        self._fence = ""
        self._head = ""
        self._ticks = 0

    @property
    def is_code(self) -> bool:
        """Whether the next character is part of code."""
        return bool(self._fence) or self._ticks % 2 == 1

    @property
    def is_blank(self) -> bool:
        """Whether the line has nothing but white space so far."""
        return not self._head.strip()

    def add(self, text: str) -> None:
        """Read more text, in time linear in its length."""
        *lines, last = text.split("\n")
        for line in lines:
            self._part(line)
            self.end()
        self._part(last)

    def end(self) -> None:
        """Begin a new line."""
        head = self._head.lstrip(" ")
        mark = head[:3]
        if mark in ("```", "~~~") and len(self._head) - len(head) < 4:
            if not self._fence:
                self._fence = mark
            elif mark == self._fence:
                self._fence = ""
        self._head, self._ticks = "", 0

    def _part(self, text: str) -> None:
        self._head += text[: max(0, 8 - len(self._head))]
        self._ticks += text.count("`")


def _is_inside_parameter(body: str) -> bool:
    opened = max(body.rfind("<parameter"), body.rfind("<arg_value>"))
    return opened > max(body.rfind("</parameter>"), body.rfind("</arg_value>"))


def _possible_mark(text: str) -> int:
    """Return how many characters at the end may begin a mark."""
    for size in range(min(len(text), _LONGEST - 1), 0, -1):
        if text[-size:] in _BEGINNINGS:
            return size
    return 0
