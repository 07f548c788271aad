"""Brings a model's file to this disk, with a bar that shows how far it is.

Invariant: a model that is here already costs no network and no hashing; Ctrl-C leaves the store as
it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vanta.cli import output

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from vanta.engine import ModelFile
    from vanta.models import ModelStore


def ensure(store: ModelStore, ref: str) -> ModelFile:
    """The model `ref`, fetched if it is not here. Blocking. Raises UnknownName, ModelStoreError."""
    from vanta.errors import ModelStoreError

    try:
        return store.find(ref)
    except ModelStoreError:
        return pull(store, ref)


def pull(store: ModelStore, ref: str) -> ModelFile:
    """The model `ref`, fetched or at least verified, with a bar. Raises as `ModelStore.pull`."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TransferSpeedColumn(), console=output.stderr()) as bar:
        return store.pull(ref, _Shown(bar, ref))


class _Shown:
    """A `vanta.models.Progress` that moves a bar; each phase has one of its own."""

    def __init__(self, bar: Progress, ref: str) -> None:
        self._bar = bar
        self._ref = ref
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, done: int, total: int | None, phase: str) -> None:
        if phase not in self._tasks:
            self._tasks[phase] = self._bar.add_task(f"{phase} {self._ref}", total=total)
        self._bar.update(self._tasks[phase], completed=done, total=total)
