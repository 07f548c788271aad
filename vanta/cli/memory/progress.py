"""How far memory is: a bar on a terminal, lines elsewhere.

Invariant: it says what is waited for before the first figure is there; nothing of it is on stdout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vanta.cli import output

Progress = Callable[[int, int], None]


@contextmanager
def shown(before: str, then: str, *, quiet: bool = False) -> Iterator[Progress]:
    """A callable to tell how many are done, of how many. before: what is waited for at first, then:
    what is counted. quiet: say nothing where there is no terminal."""
    console = output.stderr()
    if not console.is_terminal:
        yield _Lines(before, then, quiet=quiet)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", style="dim", markup=False), BarColumn(bar_width=30))
    bars = Progress(
        *columns, MofNCompleteColumn(), TimeElapsedColumn(), console=console, transient=True
    )
    with bars:
        task = bars.add_task(before, total=None)

        def show(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total, description=then)

        yield show


class _Lines:
    """Says what begins, and every tenth of the way."""

    def __init__(self, before: str, then: str, *, quiet: bool) -> None:
        self._then = then
        self._quiet = quiet
        self._told = 0
        if not quiet:
            output.say(f"{before}...")

    def __call__(self, done: int, total: int) -> None:
        tenth = 10 * done // total if total else 10
        if tenth > self._told and not self._quiet:
            self._told = tenth
            output.say(f"{self._then}: {done} of {total}")
