"""The command line, and the toolkit with which plugins write commands of their own.

A command ends in one of the exit codes of `ExitCode`: 0 fine, 1 the requested work failed, 2 a
person must change something, 3 the command could not run, 130 after Ctrl-C.

Invariant: importing this package loads nothing; a name is imported when it is first used, and
`main` imports only the command that runs.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vanta.cli.bench import load_benchmarks
    from vanta.cli.options import ConfigOption, JsonOption, PolicyOption, TrackOption, check_choice
    from vanta.cli.output import (
        ExitCode,
        print_error,
        print_json,
        print_line,
        print_status,
        print_table,
        printable,
        read_json,
        status_cell,
        stderr,
        stdout,
        write_file,
    )
    from vanta.cli.setup import Setup, load_setup, open_runtime
    from vanta.cli.turns import Interruptible, describe_event, format_money, format_seconds
    from vanta.command import Command

__all__ = [
    "Command",
    "ConfigOption",
    "ExitCode",
    "Interruptible",
    "JsonOption",
    "PolicyOption",
    "Setup",
    "TrackOption",
    "check_choice",
    "describe_event",
    "format_money",
    "format_seconds",
    "load_benchmarks",
    "load_setup",
    "main",
    "open_runtime",
    "print_error",
    "print_json",
    "print_line",
    "print_status",
    "print_table",
    "printable",
    "read_json",
    "status_cell",
    "stderr",
    "stdout",
    "write_file",
]

_PLACES = {
    "vanta.cli.bench": ("load_benchmarks",),
    "vanta.cli.options": (
        *("ConfigOption", "JsonOption", "PolicyOption", "TrackOption"),
        "check_choice",
    ),
    "vanta.cli.output": (
        *("ExitCode", "print_error", "print_json", "print_line", "print_status", "print_table"),
        *("printable", "read_json", "status_cell", "stderr", "stdout", "write_file"),
    ),
    "vanta.cli.setup": ("Setup", "load_setup", "open_runtime"),
    "vanta.cli.turns": ("Interruptible", "describe_event", "format_money", "format_seconds"),
    "vanta.command": ("Command",),
}
_MODULE_OF = {name: module for module, names in _PLACES.items() for name in names}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    :param argv: the arguments without the program's name; those of the process by default.
    :returns: the exit code.
    """
    from vanta.cli import app, output

    return output.run_guarded(lambda: app.run(argv))


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_MODULE_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
