"""Markdown (CommonMark with tables): its top-level blocks, as they are written.

Invariant: every line that is not blank is in a block, those that render as nothing (reference
definitions) too; of embedded HTML that stands alone, its text is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vanta.memory.documents.document import Block, BlockKind, Outline
from vanta.memory.documents.html import read_html

if TYPE_CHECKING:
    from markdown_it.token import Token

_KINDS: dict[str, BlockKind] = {
    "bullet_list_open": "list",
    "ordered_list_open": "list",
    "fence": "code",
    "code_block": "code",
    "table_open": "table",
}
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(?:(?!---).*\n)*?---[ \t]*(?:\n|\Z)")


def blocks_of(text: str) -> Iterator[Block]:
    """The blocks of a Markdown text, each as it is written."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    front = _FRONT_MATTER.match(text)
    if front:
        yield Block("code", front[0].strip())
        text = text[front.end() :]
    outline = Outline()
    lines = text.split("\n")
    for token, begin, end in _top_level(text, len(lines)):
        written = "\n".join(lines[begin:end]).strip("\n").rstrip()
        if written:
            yield from _blocks(token, written, outline)


def _blocks(token: Token | None, written: str, outline: Outline) -> Iterator[Block]:
    if token and token.type == "heading_open":
        path = outline.enter(int(token.tag[1:]), _title(written))
        yield Block("heading", written, path)
    elif token and token.type == "html_block":
        for block in read_html(written)[0]:
            kind = "text" if block.kind == "heading" else block.kind
            yield Block(kind, block.text, outline.path)
    else:
        yield Block(_KINDS.get(token.type, "text") if token else "text", written, outline.path)


def _title(written: str) -> str:
    """A heading's words, without the marks that make it one."""
    if not written.lstrip().startswith("#"):
        return written.rpartition("\n")[0]  # its last line underlines it
    words = written.strip().lstrip("#").strip()
    bare = words.rstrip("#")
    return bare.strip() if not bare or bare[-1].isspace() else words


def _top_level(text: str, lines: int) -> Iterator[tuple[Token | None, int, int]]:
    """Each top-level token with its lines, from and to; None for lines that have no token."""
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
