"""The command line, and the toolkit with which plugins write commands of their own.

A command ends in one of the exit codes of `ExitCode`: 0 fine, 1 the requested work failed, 2 a
person must change something, 3 the command could not run, 130 after Ctrl-C.

Invariant: importing this package loads nothing; a name is imported when it is first used, and
`main` imports only the command that runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vanta.fronts import lazy_front

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
    from vanta.hookspecs import Command

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

_NAMES = {
    ".bench": "load_benchmarks",
    ".options": "ConfigOption JsonOption PolicyOption TrackOption check_choice",
    ".output": (
        "ExitCode print_error print_json print_line print_status print_table printable read_json "
        "status_cell stderr stdout write_file"
    ),
    ".setup": "Setup load_setup open_runtime",
    ".turns": "Interruptible describe_event format_money format_seconds",
    "vanta.hookspecs": "Command",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    :param argv: the arguments without the program's name; those of the process by default.
    :returns: the exit code.
    """
    from vanta.cli import app, output

    return output.run_guarded(lambda: app.run(argv))


__getattr__ = lazy_front(__name__, _NAMES)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
