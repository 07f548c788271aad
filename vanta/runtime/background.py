"""Companions: work in the background, for as long as a runtime is open.

A companion runs in the runtime's own task group: begun when the runtime opens, cancelled when it
closes, before engines and store are. Invariant: a companion harms nothing but itself: what it
raises is logged once, with its name, and ends it alone.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

import anyio

if TYPE_CHECKING:
    from vanta.runtime.runtime import Runtime

T = TypeVar("T")

_log = logging.getLogger("vanta")


class Companion(Protocol):
    """What a plugin brings by `vanta_companions`. name: as in the configuration's `companions`."""

    @property
    def name(self) -> str: ...

    async def accompany(self, runtime: Runtime) -> None:
        """Do its work until there is none left, or until it is cancelled: the runtime closes.

        It shares the event loop with every turn, so it must not block; one companion may be asked
        to accompany several runtimes at once, so what it keeps belongs into this call.
        """
        ...


@asynccontextmanager
async def accompanied(runtime: Runtime, companions: Iterable[Companion]) -> AsyncIterator[None]:
    """Have `companions` run beside the body, and cancel them when it ends."""
    async with anyio.create_task_group() as tasks:
        for companion in companions:
            tasks.start_soon(_accompany, companion, runtime, name=f"companion {companion.name}")
        try:
            yield
        finally:
            tasks.cancel_scope.cancel()


async def in_quiet(runtime: Runtime, work: Callable[[], Awaitable[T]]) -> T:
    """What `work` returns, done while no turn runs: it waits for such a moment, is cancelled as
    soon as a turn begins, and is begun again afterwards. For work that may be begun again, such as
    a generation whose result counts only once it is whole."""
    while True:
        turn_begins = await runtime.idle()
        values: list[T] = []
        errors: list[Exception] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_at, turn_begins, tasks.cancel_scope)
            try:
                values.append(await work())
            except Exception as error:  # noqa: BLE001 - raised below, outside the task group
                errors.append(error)
            tasks.cancel_scope.cancel()
        if errors:
            raise errors[0]
        if values:
            return values[0]


async def _cancel_at(event: anyio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


async def _accompany(companion: Companion, runtime: Runtime) -> None:
    try:
        await companion.accompany(runtime)
    except Exception:  # noqa: BLE001 - a companion's failure must stay its own
        _log.exception("companion %r failed and is off until the next start", companion.name)
