"""Tables to replay from: CSV, plain or gzipped.

Invariant: a table is read as a whole or not at all; an error names the file, the line and the
column, and what was expected there.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from vanta.errors import UsageError

_ADVICE = "A table is UTF-8 text, comma-separated, with the names of the columns in its first line."


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of a table, and where it stands."""

    text: str
    path: Path
    line: int
    column: str

    def number(self) -> float | None:
        """The value as a number, None of an empty cell. Raises UsageError."""
        if not self.text.strip():
            return None
        try:
            value = float(self.text)
        except ValueError:
            self.refuse("a number")
        return value if math.isfinite(value) else self.refuse("a finite number")

    def amount(self) -> float | None:
        """The same of something that cannot be below zero."""
        value = self.number()
        return self.refuse("0 or more") if value is not None and value < 0 else value

    def refuse(self, wanted: str) -> NoReturn:
        """Raise UsageError: the value is not what it should be."""
        raise UsageError(
            f"{self.path}, line {self.line}: column {self.column!r} has {self.text[:40]!r}, "
            f"{wanted} was expected. Mend the row or leave it out."
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table. line: where it ends in the file."""

    values: Mapping[str, str]
    path: Path
    line: int

    def __getitem__(self, column: str) -> Cell:
        return Cell(self.values[column], self.path, self.line, column)


@dataclass(frozen=True, slots=True)
class Table:
    """A file's columns and rows."""

    path: Path
    columns: Sequence[str]
    rows: Sequence[Row]

    def require(self, columns: Sequence[str]) -> None:
        """Raises UsageError if one of `columns` is not there."""
        missing = [column for column in columns if column not in self.columns]
        if missing:
            raise UsageError(
                f"{self.path} has no column {missing[0]!r}. It has: {', '.join(self.columns)}. "
                "Map the columns with --map FIELD=COLUMN."
            )


def read_text(path: Path) -> str:
    """The text of a file, unzipped if its name ends in .gz. Raises UsageError."""
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"{str(path)!r} does not exist. Give the path of the data.") from None
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{str(path)!r} cannot be read: {error}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{str(path)!r} is no UTF-8 text: {error.reason}. {_ADVICE}") from error


def read_table(path: Path) -> Table:
    """The table of a file. Raises UsageError."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        columns = next(reader, [])
        rows = [_row(cells, columns, path, reader.line_num) for cells in reader if cells]
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}. {_ADVICE}") from error
    if len(columns) < 2 or not rows:
        raise UsageError(f"{path} has no table with rows in it. {_ADVICE}")
    return Table(path, columns, rows)


def _row(cells: Sequence[str], columns: Sequence[str], path: Path, line: int) -> Row:
    if len(cells) != len(columns):
        raise UsageError(
            f"{path}, line {line}: {len(cells)} cells, {len(columns)} columns were expected. "
            "Mend the row or leave it out."
        )
    return Row(dict(zip(columns, cells, strict=True)), path, line)
