"""Plain text and Markdown (CommonMark with tables): their blocks, as they are written.

Invariant: every line that is not blank is in a block, including lines that render as nothing
(reference definitions). Embedded HTML that stands alone is reduced to its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vanta.memory.documents.document import Block, BlockKind, Outline
from vanta.memory.documents.html import read_html

if TYPE_CHECKING:
    from markdown_it.token import Token

_BLANK_LINES = re.compile(r"\n[^\S\n]*(?:\n[^\S\n]*)+")
_LIST_ITEM = re.compile(r"\s*(?:[-*+\u2022]|\d{1,3}[.)])\s")
_KINDS: dict[str, BlockKind] = {
    "bullet_list_open": "list",
    "ordered_list_open": "list",
    "fence": "code",
    "code_block": "code",
    "table_open": "table",
}
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(?:(?!---).*\n)*?---[ \t]*(?:\n|\Z)")


def text_blocks(text: str, *, page: int | None = None) -> Iterator[Block]:
    """Yield the paragraphs and lists of a plain text."""
    for part in _BLANK_LINES.split(text):
        if part.strip():
            yield Block(_text_kind(part), part.strip("\n").rstrip(), (), page)


def _text_kind(part: str) -> BlockKind:
    lines = [line for line in part.splitlines() if line.strip()]
    is_list = len(lines) > 1 and all(_LIST_ITEM.match(line) for line in lines[:2])
    return "list" if is_list else "text"


def markdown_blocks(text: str) -> Iterator[Block]:
    """Yield the top-level blocks of a Markdown text."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    front = _FRONT_MATTER.match(text)
    if front:
        yield Block("code", front[0].strip())
        text = text[front.end() :]
    outline = Outline()
    lines = text.split("\n")
    for token, begin, end in _top_level(text, len(lines)):
        source = "\n".join(lines[begin:end]).strip("\n").rstrip()
        if source:
            yield from _blocks(token, source, outline)


def _blocks(token: Token | None, source: str, outline: Outline) -> Iterator[Block]:
    if token and token.type == "heading_open":
        path = outline.enter(int(token.tag[1:]), _title(source))
        yield Block("heading", source, path)
    elif token and token.type == "html_block":
        for block in read_html(source)[0]:
            kind = "text" if block.kind == "heading" else block.kind
            yield Block(kind, block.text, outline.path)
    else:
        yield Block(_KINDS.get(token.type, "text") if token else "text", source, outline.path)


def _title(source: str) -> str:
    """Return the text of a heading without its markup."""
    if not source.lstrip().startswith("#"):
        return source.rpartition("\n")[0]  # the last line underlines it
    words = source.strip().lstrip("#").strip()
    bare = words.rstrip("#")
    return bare.strip() if not bare or bare[-1].isspace() else words


def _top_level(text: str, lines: int) -> Iterator[tuple[Token | None, int, int]]:
    """Yield each top-level token with its first line and the line after its last one; None instead
    of the token for lines without one."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").enable("table")
    parser.core.ruler.enableOnly(["normalize", "block"])
    done = 0
    for token in parser.parse(text):
        if token.level == 0 and token.map:
            begin, end = token.map
            if begin > done:
                yield None, done, begin
            yield token, max(begin, done), end
            done = max(end, done)
    if done < lines:
        yield None, done, lines
