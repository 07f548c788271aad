"""How every command talks to a terminal and to the shell: consoles, tables, JSON, exit codes.

Invariant: stdout carries only the requested result and stderr everything about it. An error that
vanta raises on purpose becomes a readable message and an exit code, never a traceback. Ctrl-C and
a closed pipe are quiet. Text of models, servers and files is never read as markup and cannot steer
the terminal: the consoles replace its control characters, and JSON escapes them.
"""

from __future__ import annotations

import functools
import json
import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TextIO

import typer

from vanta.cli.terminal import can_encode, claim_notice, discard, prepare_streams, reader_left
from vanta.files import parse_json, read_text
from vanta.text import escaped_json, printable, well_formed_data

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.text import Text

    from vanta.errors import VantaError

_MAX_JSON_BYTES = 1 << 28

__all__ = [
    "ExitCode",
    "exit_code",
    "print_error",
    "print_json",
    "print_json_line",
    "print_line",
    "print_status",
    "print_table",
    "printable",
    "read_json",
    "run_guarded",
    "silence_notes",
    "status_cell",
    "stderr",
    "stdout",
    "write_file",
]


class ExitCode(IntEnum):
    """The exit codes of every command."""

    FINE = 0
    FAILED = 1
    USAGE = 2
    COULD_NOT_RUN = 3
    INTERRUPTED = 130
    NO_READER = 141  # as of a command that SIGPIPE ends: 128 + 13


@functools.cache
def stdout() -> Console:
    """Return the console for results."""
    from vanta.cli.terminal.console import PrintableConsole

    return PrintableConsole(stderr=False)


@functools.cache
def stderr() -> Console:
    """Return the console for messages about the work."""
    from vanta.cli.terminal.console import PrintableConsole

    return PrintableConsole(stderr=True)


def print_json(data: Any) -> None:
    """Print one indented JSON document on stdout.

    :param data: JSON-ready data; other values are printed as their `str`.
    """
    print(_as_json(data, indent=2))


def print_json_line(data: Any, file: TextIO | None = None) -> None:
    """Print one JSON document on a line.

    :param data: JSON-ready data; other values are printed as their `str`.
    :param file: a file with UTF-8; standard output by default.
    """
    print(_as_json(data, any_character=file is not None), file=file)


def _as_json(data: Any, *, indent: int | None = None, any_character: bool = False) -> str:
    """Return JSON in which characters are escaped that the output lacks or would obey."""
    clean = well_formed_data(data)
    text = escaped_json(json.dumps(clean, ensure_ascii=False, indent=indent, default=str))
    if any_character or can_encode(text):
        return text
    return json.dumps(clean, indent=indent, default=str)


def print_status(message: str, style: str = "dim", end: str = "\n") -> None:
    """Print a line about the work on stderr.

    :param message: the line, printed literally.
    :param style: a rich style; "none" for plain text.
    :param end: what follows it; "" leaves the line open.
    """
    stderr().print(message, style=style, end=end, markup=False, highlight=False, soft_wrap=True)


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
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        title=Text(title) if title else None,
        title_justify="left",
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

    prepare_streams()
    _show_warnings()
    code: int = ExitCode.FINE
    try:
        command()
        sys.stdout.flush()
    except VantaError as error:
        print_error(error)
        code = exit_code(error)
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except SystemExit as end:
        # typer and rich end a command whose output is closed with 1, as if it had failed.
        closed = isinstance(end.__context__, BrokenPipeError)
        code = ExitCode.NO_READER if closed else _flushed(_as_code(end.code))
    except Exception as error:
        if isinstance(error, BrokenPipeError) and reader_left():
            code = ExitCode.NO_READER
        elif sys.flags.dev_mode:
            raise
        else:
            code = _print_unexpected(error)
    _let_go()
    return code


def _print_unexpected(error: Exception) -> ExitCode:
    """Print an error that is not vanta's own and return its exit code."""
    from vanta.errors import describe, refused_resource

    refusal = refused_resource(error)
    if refusal:
        _print_failure(f"{describe(error)}. {refusal}")
        return ExitCode.COULD_NOT_RUN
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


def _flushed(code: int) -> int:
    """Return the exit code of a command that ended itself, or of writing what it printed."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return ExitCode.NO_READER
    except OSError as error:
        return _print_unexpected(error)
    return code


def _let_go() -> None:
    """Leave no output behind that the interpreter would fail to flush at its end."""
    for descriptor, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            discard(descriptor)


def silence_notes() -> None:
    """Print no notes until the command ends, for `--quiet`."""
    _notes.setLevel(logging.ERROR)


class _Notes(logging.Handler):
    """Prints log warnings as dim lines on stderr; one that has a short form, once a day."""

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        short, data_dir = getattr(record, "short", ""), getattr(record, "data_dir", None)
        if short and data_dir is not None:
            if not claim_notice(data_dir, message):
                return
            message = f"{short} `vanta doctor` shows the rest. (This note comes once a day.)"
        print_status(f"note: {message}")


_notes = _Notes(logging.WARNING)


def _show_warnings() -> None:
    logger = logging.getLogger("vanta")
    _notes.setLevel(logging.WARNING)
    if _notes not in logger.handlers:
        logger.addHandler(_notes)
        logger.propagate = False
    logging.lastResort = _notes  # warnings of libraries may quote servers, too
