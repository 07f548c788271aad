"""How every command talks to a terminal and to the shell: consoles, tables, JSON, exit codes.

Invariant: stdout carries only the requested result and stderr everything about it. An error that
vanta raises on purpose becomes a readable message and an exit code, never a traceback. Ctrl-C and
a closed pipe are quiet. Text of models and servers is never read as markup.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import typer

from vanta.files import parse_json, read_text

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.text import Text

    from vanta.errors import VantaError

_MAX_JSON_BYTES = 1 << 28

_CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


class ExitCode(IntEnum):
    """The exit codes of every command."""

    FINE = 0
    FAILED = 1
    USAGE = 2
    COULD_NOT_RUN = 3
    INTERRUPTED = 130


@functools.cache
def stdout() -> Console:
    """Return the console for results."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


@functools.cache
def stderr() -> Console:
    """Return the console for messages about the work."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def printable(text: str) -> str:
    """Replace control characters, so text of a model or a server cannot steer the terminal.

    :param text: any text; newlines and tabs stay.
    """
    return text.translate(_CONTROLS)


def print_json(data: Any) -> None:
    """Print one indented JSON document on stdout.

    :param data: JSON-ready data; other values are printed as their `str`.
    """
    print(json.dumps(data, ensure_ascii=False, indent=2, default=str))


def print_status(message: str, style: str = "dim") -> None:
    """Print a line about the work on stderr.

    :param message: the line, printed literally.
    :param style: a rich style; "none" for plain text.
    """
    stderr().print(message, style=style, markup=False, highlight=False, soft_wrap=True)


def print_line(text: str | Text) -> None:
    """Print one line on stdout without wrapping it.

    :param text: plain text, printed literally, or styled text.
    """
    from rich.text import Text

    stdout().print(Text(text) if isinstance(text, str) else text, soft_wrap=True)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, title: str = ""
) -> None:
    """Print a table on stdout.

    :param columns: headings; one that begins with `>` aligns its column to the right. If all are
        empty, the table has no heading row.
    :param rows: the cells of each row, printed literally.
    :param title: a line above the table, or "".
    """
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
    stdout().print(table)


def status_cell(holds: bool | None, words: Sequence[str] = ("yes", "no", "-")) -> Text:
    """Return a coloured table cell for a verdict.

    :param holds: the verdict; None if there is neither success nor failure.
    :param words: the words for True, False and None.
    """
    from rich.text import Text

    style = {True: "green", False: "red", None: "dim"}[holds]
    return Text({True: words[0], False: words[1], None: words[2]}[holds], style)


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write an output file that is named on the command line.

    :param path: the file.
    :param write: a function that writes to this path.
    :raises typer.BadParameter: if the file cannot be written.
    """
    try:
        write(path)
    except OSError as error:
        raise typer.BadParameter(
            f"{str(path)!r} cannot be written: {error.strerror}. Choose another file."
        ) from error


def read_json(path: Path) -> Any:
    """Read a JSON file that is named on the command line.

    :param path: the file.
    :returns: the decoded document.
    :raises typer.BadParameter: if the file cannot be read or is not JSON.
    """
    try:
        return parse_json(read_text(path, _MAX_JSON_BYTES))
    except OSError as error:
        raise typer.BadParameter(
            f"{str(path)!r} cannot be read: {error.strerror}. Check the path."
        ) from error
    except ValueError as error:
        raise typer.BadParameter(f"{str(path)!r} is not JSON: {error}.") from error


def print_error(error: VantaError) -> None:
    """Print an error on stderr; if several tracks failed, one line for each.

    :param error: an error that vanta raised on purpose.
    """
    from vanta.errors import AllTracksFailed

    if not isinstance(error, AllTracksFailed):
        _print_failure(str(error))
        return
    _print_failure("no track could answer:")
    for cause in error.exceptions:
        print_status(f"  {cause}", style="none")


def exit_code(error: VantaError) -> ExitCode:
    """Return USAGE for a UsageError, COULD_NOT_RUN for a StoreError, else FAILED."""
    from vanta.errors import StoreError, UsageError

    if isinstance(error, UsageError):
        return ExitCode.USAGE
    return ExitCode.COULD_NOT_RUN if isinstance(error, StoreError) else ExitCode.FAILED


def run_guarded(command: Callable[[], None]) -> int:
    """Run a command and return its exit code; the reason for a failure goes to stderr."""
    from vanta.errors import VantaError

    _show_warnings()
    try:
        command()
    except VantaError as error:
        print_error(error)
        return exit_code(error)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return _close_pipe()
    except SystemExit as end:
        return _flush(_as_code(end.code))
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        return _print_unexpected(error)
    return _flush(ExitCode.FINE)


def _print_unexpected(error: Exception) -> ExitCode:
    """Print an error that is not vanta's own and return its exit code."""
    from vanta.errors import describe

    if isinstance(error, OSError):
        # The operating system refuses something outside vanta's own code, often for a full disk.
        _print_failure(f"{error}. Make room or choose another place, then try again.")
        return ExitCode.COULD_NOT_RUN
    _print_failure(
        f"{describe(error)}. This is a fault of vanta or of a plugin: report it with the "
        "traceback, which `python -X dev -m vanta ...` shows."
    )
    return ExitCode.FAILED


def _print_failure(message: str) -> None:
    from rich.text import Text

    stderr().print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)


def _as_code(code: object) -> int:
    if isinstance(code, int):
        return code
    return ExitCode.FINE if code is None else ExitCode.FAILED


def _flush(code: int) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _close_pipe()
    return code


def _close_pipe() -> int:
    """Redirect stdout, so the interpreter does not complain when it flushes a closed pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.FAILED


class _Warnings(logging.Handler):
    """Prints vanta's log warnings as dim lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        print_status(f"note: {record.getMessage()}")


def _show_warnings() -> None:
    logger = logging.getLogger("vanta")
    if not any(isinstance(handler, _Warnings) for handler in logger.handlers):
        logger.addHandler(_Warnings(logging.WARNING))
        logger.propagate = False
