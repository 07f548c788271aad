"""The command line. Invariant: importing this package loads nothing; `main` loads what it runs.

A command ends in one of four exit codes (`vanta.cli.output`): 0 fine, 1 what was asked for failed,
2 something has to be changed by a person, 3 it could not run at all; 130 after Ctrl-C.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run `vanta` with `argv` (the process's own if None); returns the exit code."""
    from vanta.cli import app, output

    return output.guarded(lambda: app.run(argv))
