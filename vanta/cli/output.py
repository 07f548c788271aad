"""What all commands share: consoles, `--json`, `--config`, errors as messages, exit codes.

Invariant: stdout carries only what was asked for, everything said about it goes to stderr; an error
that vanta raises on purpose is a readable message and an exit code, never a traceback; Ctrl-C and a
closed pipe are quiet.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
from collections.abc import Callable
from contextvars import ContextVar
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from vanta.api import Opening
    from vanta.errors import VantaError

ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        "-c",
        metavar="PATH|NAME",
        help='A TOML file, or a ready configuration ("offline"); VANTA_CONFIG says the same.',
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]

_CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
_config: ContextVar[str | None] = ContextVar("config", default=None)


class ExitCode(IntEnum):
    """What a command tells the shell."""

    FINE = 0
    FAILED = 1
    USAGE = 2
    COULD_NOT_RUN = 3
    INTERRUPTED = 130


def set_config(source: str | None) -> None:
    """Remember what `--config` before the command's name said."""
    _config.set(source)


def config(source: str | None = None) -> str | None:
    """The configuration to load: the command's own `--config`, else the one before its name."""
    return source or _config.get()


def open_runtime(
    source: str | None, *, plugins: tuple[object, ...] = (), **overrides: Any
) -> Opening:
    """`vanta.open` with the configuration that was asked for; overrides that are None are none."""
    import vanta

    told = {key: value for key, value in overrides.items() if value is not None}
    return vanta.open(config(source), plugins=plugins, **told)


@functools.cache
def stdout() -> Console:
    """For what was asked for."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


@functools.cache
def stderr() -> Console:
    """For what is said about it."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def print_json(data: Any) -> None:
    """One JSON document on stdout, indented for a person, the same for a pipe."""
    print(json.dumps(data, ensure_ascii=False, indent=2, default=str))


def writing(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file that was asked for. Raises typer's usage error where that cannot be done."""
    try:
        write(path)
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be written: {error.strerror}.") from error


def read_json(path: Path) -> Any:
    """The JSON in a file that was named. Raises typer's usage error where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise typer.BadParameter(f"{path} is no JSON: {error}.") from error


def say(message: str, style: str = "dim") -> None:
    """A line about what happens, on stderr; never taken for markup."""
    stderr().print(message, style=style, markup=False, highlight=False, soft_wrap=True)


def harmless(text: str) -> str:
    """`text` without what would steer a terminal; for text that a model or a server wrote."""
    return text.translate(_CONTROLS)


def print_error(error: VantaError) -> None:
    """An error as a person should see it; where several tracks failed, a line for each."""
    from vanta.errors import AllTracksFailed

    if not isinstance(error, AllTracksFailed):
        return _print_failure(str(error))
    _print_failure("no track could answer:")
    for cause in error.exceptions:
        say(f"  {cause}", style="none")
    return None


def exit_code(error: VantaError) -> ExitCode:
    """2 where a person has to change something, 3 without a store to work on, else 1."""
    from vanta.errors import StoreError, UsageError

    if isinstance(error, UsageError):
        return ExitCode.USAGE
    return ExitCode.COULD_NOT_RUN if isinstance(error, StoreError) else ExitCode.FAILED


def guarded(command: Callable[[], None]) -> int:
    """Run `command`, turn whatever ends it into an exit code, and say why on stderr."""
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
        return _hush()
    except OSError as error:
        # What the system refuses where nothing of ours stands between: a full disk, above all.
        _print_failure(f"{error}. Make room or choose another place, then try again.")
        return ExitCode.COULD_NOT_RUN
    except SystemExit as end:
        return _flushed(_as_code(end.code))
    return _flushed(ExitCode.FINE)


def _print_failure(message: str) -> None:
    from rich.text import Text

    stderr().print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)


def _as_code(code: object) -> int:
    if isinstance(code, int):
        return code
    return ExitCode.FINE if code is None else ExitCode.FAILED


def _flushed(code: int) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _hush()
    return code


def _hush() -> int:
    """Nobody reads any more: keep the interpreter from complaining when it flushes at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.FAILED


class _Warnings(logging.Handler):
    """Shows what vanta logs as a dim line on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        say(f"note: {record.getMessage()}")


def _show_warnings() -> None:
    logger = logging.getLogger("vanta")
    if not any(isinstance(handler, _Warnings) for handler in logger.handlers):
        logger.addHandler(_Warnings(logging.WARNING))
        logger.propagate = False
