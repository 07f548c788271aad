"""Runs companions beside a runtime, and their work while no turn runs.

Invariant: a companion that fails ends alone; its error is logged once, with its name.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio

from vanta.companion import Companion, Host
from vanta.concurrency import open_task_group
from vanta.tools.recall import ToolLibrary

T = TypeVar("T")

_log = logging.getLogger("vanta")


@asynccontextmanager
async def accompanied(host: Host, companions: Iterable[Companion]) -> AsyncIterator[None]:
    """Run `companions` beside the body, and cancel them when it ends."""
    async with open_task_group() as tasks:
        for companion in companions:
            tasks.start_soon(_accompany, companion, host, name=f"companion {companion.name}")
        try:
            yield
        finally:
            tasks.cancel_scope.cancel()


async def in_quiet(host: Host, work: Callable[[], Awaitable[T]]) -> T:
    """Run `work` while no turn runs, and return its result.

    Waits until no turn runs, cancels `work` as soon as a turn starts, and starts it again
    afterwards. For work that can be repeated, such as a generation whose result only counts when it
    is complete.

    :param host: the runtime.
    :param work: called once for each attempt.
    """
    while True:
        turn_starts = await host.idle()
        values: list[T] = []
        async with open_task_group() as tasks:
            tasks.start_soon(_cancel_at, turn_starts, tasks.cancel_scope)
            values.append(await work())
            tasks.cancel_scope.cancel()
        if values:
            return values[0]


class ToolVectors:
    """The companion that makes the vectors of tools, so that meaning finds them, too.

    :param library: the tools of the runtime.
    """

    name = "tool vectors"

    def __init__(self, library: ToolLibrary) -> None:
        self._library = library

    async def accompany(self, host: Host, /) -> None:
        """See `vanta.companion.Companion`."""
        await self._library.keep_embedded(functools.partial(in_quiet, host))


async def _cancel_at(event: anyio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


async def _accompany(companion: Companion, host: Host) -> None:
    try:
        await companion.accompany(host)
    except Exception:  # noqa: BLE001 - the failure of a companion must not leave it
        _log.exception("companion %r failed and is off until the next start", companion.name)
