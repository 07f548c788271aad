"""Tables to replay from: CSV, plain or gzipped.

Invariant: a table is read whole or not at all; an error names the file, the line, the column and
the expected value.
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

from vanta import UsageError
from vanta.files import read_file

_MOST_BYTES = 1 << 30

_ADVICE = "A table is UTF-8 text, comma-separated, with column names in its first line."


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of a table and its place."""

    text: str
    path: Path
    line: int
    column: str

    def number(self) -> float | None:
        """Return the value as a number, None for an empty cell.

        :raises UsageError: it is not a finite number.
        """
        if not self.text.strip():
            return None
        try:
            value = float(self.text)
        except ValueError:
            self.refuse("a number")
        return value if math.isfinite(value) else self.refuse("a finite number")

    def amount(self) -> float | None:
        """Return the value as a number of at least 0, None for an empty cell."""
        value = self.number()
        return self.refuse("0 or more") if value is not None and value < 0 else value

    def refuse(self, wanted: str) -> NoReturn:
        """Raise UsageError for a value that is not what was wanted."""
        raise UsageError(
            f"{self.path}, line {self.line}: column {self.column!r} has {self.text[:40]!r}, "
            f"{wanted} was expected. Fix the row or leave it out."
        )


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row of a table; `line` is the line of the file where it ends."""

    values: Mapping[str, str]
    path: Path
    line: int

    def __getitem__(self, column: str) -> Cell:
        return Cell(self.values[column], self.path, self.line, column)


@dataclass(frozen=True, slots=True)
class CsvTable:
    """The columns and rows of a file."""

    path: Path
    columns: Sequence[str]
    rows: Sequence[TableRow]

    def require(self, columns: Sequence[str]) -> None:
        """Check that all of `columns` exist.

        :raises UsageError: one is missing.
        """
        missing = [column for column in columns if column not in self.columns]
        if missing:
            raise UsageError(
                f"{self.path} has no column {missing[0]!r}. It has: {', '.join(self.columns)}. "
                "Map the columns with --map FIELD=COLUMN."
            )


def read_text(path: Path) -> str:
    """Return the text of a file, unzipped if its name ends in .gz.

    :raises UsageError: it cannot be read.
    """
    try:
        data = read_file(path, _MOST_BYTES)
        return (_unzipped(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"{str(path)!r} does not exist. Give the path of the data.") from None
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{str(path)!r} cannot be read: {error}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{str(path)!r} is not UTF-8 text: {error.reason}. {_ADVICE}") from error


def _unzipped(data: bytes) -> bytes:
    with gzip.open(io.BytesIO(data)) as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise OSError(f"unzipped it is larger than {_MOST_BYTES:,} bytes")
    return content


def read_table(path: Path) -> CsvTable:
    """Return the table of a file.

    :raises UsageError: it cannot be read or is not a table.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        columns = next(reader, [])
        rows = [_row(cells, columns, path, reader.line_num) for cells in reader if cells]
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}. {_ADVICE}") from error
    if len(columns) < 2 or not rows:
        raise UsageError(f"{path} has no table with rows. {_ADVICE}")
    return CsvTable(path, columns, rows)


def _row(cells: Sequence[str], columns: Sequence[str], path: Path, line: int) -> TableRow:
    if len(cells) != len(columns):
        raise UsageError(
            f"{path}, line {line}: {len(cells)} cells, {len(columns)} columns were expected. "
            "Fix the row or leave it out."
        )
    return TableRow(dict(zip(columns, cells, strict=True)), path, line)
