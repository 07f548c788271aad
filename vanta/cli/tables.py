"""Tables for people. Invariant: a cell is shown as it is, never taken for markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from vanta.cli import output

if TYPE_CHECKING:
    from rich.text import Text


def mark(holds: bool | None, words: Sequence[str] = ("yes", "no", "-")) -> Text:
    """`holds` as a coloured word: of `words` the one for True, for False, for None."""
    from rich.text import Text

    style = {True: "green", False: "red", None: "dim"}[holds]
    return Text({True: words[0], False: words[1], None: words[2]}[holds], style)


def show(columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, title: str = "") -> None:
    """Print a table on stdout; columns that begin with `>` are right-aligned. No columns' names:
    no header."""
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), title=title or None, title_justify="left"
    )
    table.show_header = any(columns)
    for column in columns:
        table.add_column(
            column.lstrip(">"),
            header_style="bold",
            justify="right" if column.startswith(">") else "left",
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    output.stdout().print(table)


def line(text: str | Text) -> None:
    """Print one line on stdout, not broken where it is long."""
    from rich.text import Text

    output.stdout().print(Text(text) if isinstance(text, str) else text, soft_wrap=True)
