"""Find the lines of a TOML text's keys and tables, and refuse a text that would be slow to parse.

The standard parser reports no positions and needs quadratic time for long dotted keys. This module
divides the text into statements with one pass over its characters. Invariant: the time is
proportional to the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vanta.files import parse_toml

MAX_DEPTH = 32
"""Brackets within brackets, and parts of a dotted key."""

Path = tuple[str, ...]

_TOKEN = re.compile(
    r"""(?P<multi>\"\"\"(?:\\.|(?!\"\"\").)*(?:\"{3,5}|\Z)|'''(?:(?!''').)*(?:'{3,5}|\Z))"""
    r"""|(?P<text>"(?:\\.|[^"\\\n])*"?|'[^'\n]*'?)"""
    r"""|(?P<comment>\#[^\n]*)|(?P<open>[\[{])|(?P<close>[\]}])|(?P<line>\n)|(?P<is>=)|(?P<dot>\.)""",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Statement:
    """A table's header, or a key with its value. line: its first line, counted from 1."""

    text: str
    line: int


class TooDeep(ValueError):  # noqa: N818 - the name states the error
    """A text has too many brackets or parts of a key in one statement. line: where it begins."""

    def __init__(self, line: int) -> None:
        super().__init__(f"it is nested more than {MAX_DEPTH} levels deep")
        self.line = line


def statements(text: str) -> Iterator[Statement]:
    """Yield the statements of a TOML text, valid or not.

    Raises TooDeep for a statement that is nested too deeply.
    """
    begin = depth = dots = 0
    line = first = 1
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth = max(0, depth - 1)
        elif kind == "dot":
            dots += 1
        elif kind == "is":
            dots = 0
        elif kind == "multi":
            line += token[0].count("\n")
        elif kind == "line":
            line += 1
            dots = 0
            if depth == 0:
                yield Statement(text[begin : token.start()], first)
                begin, first = token.end(), line
        if max(depth, dots) > MAX_DEPTH:
            raise TooDeep(first)
    yield Statement(text[begin:], first)


def lines_of(text: str) -> dict[Path, int]:
    """Return the line, counted from 1, of every value and table in valid TOML text."""
    lines: dict[Path, int] = {}
    table: Path = ()
    for statement in statements(text):
        data = parse_toml(statement.text)
        if statement.text.lstrip().startswith("["):
            table = _header_path(data)
            lines.setdefault(table, statement.line)
        else:
            for key in _paths(data, table):
                lines.setdefault(key, statement.line)
    return lines


def _header_path(data: Any) -> Path:
    """Return the path of a table header that was parsed alone: `[a.b]` and `[[a.b]]` give a, b."""
    path: Path = ()
    while isinstance(data, dict) and data:
        name, data = next(iter(data.items()))
        path += (name,)
    return path


def _paths(data: Any, prefix: Path) -> list[Path]:
    if not isinstance(data, dict):
        return [prefix]
    here = [prefix] if prefix else []
    return here + [path for key, value in data.items() for path in _paths(value, (*prefix, key))]
