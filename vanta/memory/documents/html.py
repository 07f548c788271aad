"""HTML: the text that a reader would see, in blocks.

Written on the standard library's tokenizer, without a tree, so that nothing nests too deeply and
memory stays in proportion to the file. Invariant: scripts, styles, templates and what else is never
shown are no text; nothing outside the file is ever looked at.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

from vanta.memory.documents.document import Block, BlockKind, Outline

_UNSEEN = frozenset(
    {"script", "style", "template", "noscript", "svg", "math", "iframe", "object", "canvas"}
)
_WHOLE: dict[str, BlockKind] = {
    "ul": "list",
    "ol": "list",
    "dl": "list",
    "table": "table",
    "pre": "code",
}
_HEADINGS = frozenset(f"h{level}" for level in range(1, 7))
_BREAKING = """address article aside blockquote body caption details dialog div dd dt fieldset
    figcaption figure footer form header hr html li main nav p section summary tbody tfoot thead
    tr"""
_BREAKS = frozenset(_BREAKING.split())
_SPACE = re.compile(r"\s+")
_CONDITION = re.compile(r"<!\[(?!CDATA\[)[^\]>]{0,200}\]>")
_DECLARATION = re.compile(r"<!\[(?!CDATA\[)")
_DEPTH = 64
"""Lists, tables and unseen things inside each other that are told apart; deeper is all one."""


def read_html(text: str) -> tuple[list[Block], str]:
    """The blocks of an HTML text, and its title."""
    reader = _Reader()
    reader.feed(_closed(text))
    reader.close()
    reader.end_block()
    return reader.blocks, " ".join(reader.title.split())


def _closed(text: str) -> str:
    """The text without openings that nothing closes: the tokenizer would search the rest of the
    file again for each of them."""
    text = _DECLARATION.sub("&lt;![", _CONDITION.sub("", text))
    for opening, closing in (("<!--", "-->"), ("<![CDATA[", "]]>"), ("<", ">")):
        end = text.rfind(closing) + 1
        text = text[:end] + text[end:].replace(opening, f"&lt;{opening[1:]}")
    return text


class _Reader(HTMLParser):
    """Takes in tags and text, gives blocks."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[Block] = []
        self.title = ""
        self._outline = Outline()
        self._parts: list[str] = []
        self._unseen: list[str] = []
        self._whole: list[str] = []
        self._numbers: list[int] = []
        self._heading = 0
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSEEN:
            self._unseen += [tag] if len(self._unseen) < _DEPTH else []
        elif self._unseen:
            return
        elif tag in _HEADINGS:
            self.end_block()
            self._heading = int(tag[1])
        elif tag in _WHOLE and len(self._whole) < _DEPTH:
            self._begin_whole(tag)
        elif tag == "title":
            self._in_title = not self.title
        else:
            self._separate(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _UNSEEN:  # `<svg/>` opens nothing
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if self._unseen:
            if tag in self._unseen:
                del self._unseen[self._unseen.index(tag) :]
        elif tag == "title":
            self._in_title = False
        elif tag in _HEADINGS:
            self.end_block()
        elif tag in self._whole:
            self._end_whole(tag)
        elif tag in _BREAKS:
            self._separate("")

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif not self._unseen:
            raw = self._whole[:1] == ["pre"]
            self._parts.append(data if raw else _SPACE.sub(" ", data))

    def end_block(self) -> None:
        """What was gathered is a block; every list and table that is open ends."""
        kind: BlockKind = _WHOLE[self._whole[0]] if self._whole else "text"
        text = "".join(self._parts)
        text = text.strip("\n").rstrip() if kind == "code" else _tidy(text)
        if text.strip():
            if self._heading:
                self.blocks.append(Block("heading", text, self._outline.enter(self._heading, text)))
            else:
                self.blocks.append(Block(kind, text, self._outline.path))
        self._parts, self._whole, self._numbers, self._heading = [], [], [], 0

    def _begin_whole(self, tag: str) -> None:
        if not self._whole:
            self.end_block()
        self._whole.append(tag)
        self._numbers.append(0)
        self._parts.append("\n")

    def _end_whole(self, tag: str) -> None:
        depth = len(self._whole) - 1 - self._whole[::-1].index(tag)
        if depth == 0:
            self.end_block()
        else:
            del self._whole[depth:], self._numbers[depth:]
            self._parts.append("\n")

    def _separate(self, tag: str) -> None:
        """A new line, cell, item or block begins."""
        if tag == "br":
            self._parts.append("\n")
        elif tag in {"td", "th"} and self._whole:
            self._parts.append(" | ")
        elif tag == "li" and self._whole:
            self._parts.append(f"\n{self._bullet()} ")
        elif tag in _BREAKS or not tag:
            if self._whole:
                self._parts.append("\n")
            else:
                self.end_block()

    def _bullet(self) -> str:
        self._numbers[-1] += 1
        return f"{self._numbers[-1]}." if self._whole[-1] == "ol" else "-"


def _tidy(text: str) -> str:
    """Lines without space at their ends, and none of them empty or a mark alone."""
    lines = (" ".join(line.split()).removeprefix("| ") for line in text.split("\n"))
    kept: list[str] = []
    for line in filter(None, lines):
        if kept and _MARK.fullmatch(kept[-1]):
            kept[-1] = f"{kept[-1]} {line}"  # `<li><p>text</p></li>`
        else:
            kept.append(line)
    return "\n".join(kept)


_MARK = re.compile(r"-|\d{1,9}\.|\|")
