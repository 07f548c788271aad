"""Memory for the commands of `vanta memory`: opened without engines, with progress on stderr.

Invariant: closing it leaves no process, thread or file handle behind. Only the command's own
changes are written, together with transcripts that memory had not taken over yet and vectors that
were missing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, TypeVar

from vanta.cli import output
from vanta.cli.setup import Setup, load_setup

if TYPE_CHECKING:
    from vanta.memory import Memory

T = TypeVar("T")
ReportProgress = Callable[[int, int], None]
"""Reports how many items are done, and how many there are."""


def with_memory(source: str | None, work: Callable[[Memory], Awaitable[T]]) -> T:
    """Open the memory of a configuration, run `work` on it, and close it.

    Raises the errors of `work`, ConfigError, StoreError, and UsageError if memory is off.
    """
    import anyio

    return anyio.run(_run, load_setup(source), work)


async def _run(setup: Setup, work: Callable[[Memory], Awaitable[T]]) -> T:
    async with _open(setup) as memory:
        return await work(memory)


@asynccontextmanager
async def _open(setup: Setup) -> AsyncIterator[Memory]:
    import anyio.to_thread

    from vanta.errors import UsageError
    from vanta.runtime import open_store
    from vanta.runtime.memory_factory import open_memory

    store, _ledger = await anyio.to_thread.run_sync(open_store, setup.config)
    try:
        memory, why = await anyio.to_thread.run_sync(
            open_memory, setup.config, setup.plugins, setup.models, store
        )
        if memory is None:
            raise UsageError(
                f"memory is off: {why}. `vanta config explain memory` shows its settings."
            )
        async with memory.running():
            yield memory
    finally:
        await store.aclose()


def waiting_for(memory: Memory) -> str:
    """Return what must be ready before memory finds items by meaning."""
    if memory.embedder is None:
        return "looking for words"
    index = f", index {memory.index.name}" if memory.index else ""
    return f"waiting for embedder {memory.embedder.name}{index}"


@contextmanager
def progress_bar(before: str, then: str, *, quiet: bool = False) -> Iterator[ReportProgress]:
    """Show a bar on a terminal, and elsewhere a line for each tenth of the work.

    :param before: the description until the first report.
    :param then: the description of the counted work.
    :param quiet: print nothing without a terminal.
    """
    console = output.stderr()
    if not console.is_terminal:
        yield _ProgressLines(before, then, quiet=quiet)
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


class _ProgressLines:
    """Prints the start of the work, and every tenth of it."""

    def __init__(self, before: str, then: str, *, quiet: bool) -> None:
        self._then = then
        self._quiet = quiet
        self._printed_tenths = 0
        if not quiet:
            output.print_status(f"{before}...")

    def __call__(self, done: int, total: int) -> None:
        tenths = 10 * done // total if total else 10
        if tenths > self._printed_tenths and not self._quiet:
            self._printed_tenths = tenths
            output.print_status(f"{self._then}: {done} of {total}")
