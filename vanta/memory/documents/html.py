"""HTML: the text that a reader would see, in blocks.

Based on the standard library's tokenizer, without a tree. A tree by the rules of HTML 5 (selectolax
with lexbor) is 17 times as fast, but not bounded: 52 kB of unclosed `<font>` and `<p>` take 3.6 GB
and 27 s, and 100 kB of nested `<div>` take 10 s. Invariants: time and memory are proportional to
the file; scripts, styles, templates and other invisible content are not text; nothing outside the
file is used.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

from vanta.memory.documents.document import Block, BlockKind, Outline

_INVISIBLE = frozenset(
    {"script", "style", "template", "noscript", "svg", "math", "iframe", "object", "canvas"}
)
_CONTAINERS: dict[str, BlockKind] = {
    "ul": "list",
    "ol": "list",
    "dl": "list",
    "table": "table",
    "pre": "code",
}
_HEADINGS = frozenset(f"h{level}" for level in range(1, 7))
_BLOCK_TAGS = """address article aside blockquote body caption details dialog div dd dt fieldset
    figcaption figure footer form header hr html li main nav p section summary tbody tfoot thead
    tr"""
_BLOCK_ELEMENTS = frozenset(_BLOCK_TAGS.split())
_SPACE = re.compile(r"\s+")
_CONDITION = re.compile(r"<!\[(?!CDATA\[)[^\]>]{0,200}\]>")
_DECLARATION = re.compile(r"<!\[(?!CDATA\[)")
_MAX_DEPTH = 64
"""Nested lists, tables and invisible elements that are distinguished; deeper ones are ignored."""


def read_html(text: str) -> tuple[list[Block], str]:
    """Return the blocks of an HTML text, and its title."""
    reader = _Reader()
    reader.feed(_without_unclosed(text))
    reader.close()
    reader.end_block()
    return reader.blocks, " ".join(reader.title.split())


def _without_unclosed(text: str) -> str:
    """Escape openings that are never closed: for each of them the tokenizer would search the rest
    of the file."""
    text = _DECLARATION.sub("&lt;![", _CONDITION.sub("", text))
    for opening, closing in (("<!--", "-->"), ("<![CDATA[", "]]>"), ("<", ">")):
        end = text.rfind(closing) + 1
        text = text[:end] + text[end:].replace(opening, f"&lt;{opening[1:]}")
    return text


class _Reader(HTMLParser):
    """Turns tags and text into blocks."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[Block] = []
        self.title = ""
        self._outline = Outline()
        self._parts: list[str] = []
        self._invisible: list[str] = []
        self._containers: list[str] = []
        self._numbers: list[int] = []
        self._heading = 0
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _INVISIBLE:
            self._invisible += [tag] if len(self._invisible) < _MAX_DEPTH else []
        elif self._invisible:
            return
        elif tag in _HEADINGS:
            self.end_block()
            self._heading = int(tag[1])
        elif tag in _CONTAINERS and len(self._containers) < _MAX_DEPTH:
            self._begin_container(tag)
        elif tag == "title":
            self._in_title = not self.title
        else:
            self._separate(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _INVISIBLE:  # `<svg/>` has no content
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if self._invisible:
            if tag in self._invisible:
                del self._invisible[self._invisible.index(tag) :]
        elif tag == "title":
            self._in_title = False
        elif tag in _HEADINGS:
            self.end_block()
        elif tag in self._containers:
            self._end_container(tag)
        elif tag in _BLOCK_ELEMENTS:
            self._separate("")

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif not self._invisible:
            raw = self._containers[:1] == ["pre"]
            self._parts.append(data if raw else _SPACE.sub(" ", data))

    def end_block(self) -> None:
        """Emit the collected text as a block and close all lists and tables."""
        kind: BlockKind = _CONTAINERS[self._containers[0]] if self._containers else "text"
        text = "".join(self._parts)
        text = text.strip("\n").rstrip() if kind == "code" else _tidy(text)
        if text.strip():
            if self._heading:
                self.blocks.append(Block("heading", text, self._outline.enter(self._heading, text)))
            else:
                self.blocks.append(Block(kind, text, self._outline.path))
        self._parts, self._containers, self._numbers, self._heading = [], [], [], 0

    def _begin_container(self, tag: str) -> None:
        if not self._containers:
            self.end_block()
        self._containers.append(tag)
        self._numbers.append(0)
        self._parts.append("\n")

    def _end_container(self, tag: str) -> None:
        depth = len(self._containers) - 1 - self._containers[::-1].index(tag)
        if depth == 0:
            self.end_block()
        else:
            del self._containers[depth:], self._numbers[depth:]
            self._parts.append("\n")

    def _separate(self, tag: str) -> None:
        """Begin a new line, cell, item or block."""
        if tag == "br":
            self._parts.append("\n")
        elif tag in {"td", "th"} and self._containers:
            self._parts.append(" | ")
        elif tag == "li" and self._containers:
            self._parts.append(f"\n{self._bullet()} ")
        elif tag in _BLOCK_ELEMENTS or not tag:
            if self._containers:
                self._parts.append("\n")
            else:
                self.end_block()

    def _bullet(self) -> str:
        self._numbers[-1] += 1
        return f"{self._numbers[-1]}." if self._containers[-1] == "ol" else "-"


def _tidy(text: str) -> str:
    """Strip lines, drop empty ones, and join a bullet that stands alone with the next line."""
    lines = (" ".join(line.split()).removeprefix("| ") for line in text.split("\n"))
    kept: list[str] = []
    for line in filter(None, lines):
        if kept and _MARK.fullmatch(kept[-1]):
            kept[-1] = f"{kept[-1]} {line}"  # `<li><p>text</p></li>`
        else:
            kept.append(line)
    return "\n".join(kept)


_MARK = re.compile(r"-|\d{1,9}\.|\|")
