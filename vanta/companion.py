"""The contract of companions: work in the background, for as long as a runtime is open.

A companion runs in the runtime's own task group: it starts when the runtime opens and is cancelled
when it closes, before engines and store close. Invariant: a companion that fails ends alone; its
error is logged once, with its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import anyio

    from vanta.memory import Memory
    from vanta.prompts import Templates
    from vanta.storage import Store
    from vanta.track import Track


class Host(Protocol):
    """The part of a runtime that background work uses."""

    @property
    def tracks(self) -> Mapping[str, Track]:
        """The tracks that are on, by name."""
        ...

    @property
    def memory(self) -> Memory | None:
        """The memory of all sessions; None if it is off, see `memory_off`."""
        ...

    @property
    def memory_off(self) -> str:
        """Why memory is off; "" if it is on."""
        ...

    @property
    def store(self) -> Store:
        """The transcripts of all sessions, and the trace of every turn."""
        ...

    @property
    def templates(self) -> Templates:
        """The prompt templates."""
        ...

    @property
    def turns(self) -> int:
        """How many turns have started since the runtime opened."""
        ...

    async def idle(self) -> anyio.Event:
        """Wait until no turn runs; see also `vanta.runtime.in_quiet`.

        :returns: an event that is set as soon as the next turn starts.
        """
        ...


class Companion(Protocol):
    """Background work that a plugin brings with `vanta_companions`."""

    @property
    def name(self) -> str:
        """The name under which the configuration's `companions` turns it on."""
        ...

    async def accompany(self, host: Host, /) -> None:
        """Do the work until there is none left, or until cancelled because the runtime closes.

        It shares the event loop with every turn, so it must not block. Keep state in local
        variables: one companion may accompany several runtimes at once.

        :param host: the runtime, as far as background work uses it.
        """
        ...
