"""Work step by step while no turn runs, for as long as the runtime is open.

Invariant: nothing is done before the first turn, so that a program that only asks one question
pays nothing; a step that a turn interrupts is done again from its beginning, so a step stores
something only when it is whole.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from vanta import in_quiet
from vanta.errors import EngineError, ErrorKind, StoreError

if TYPE_CHECKING:
    from vanta import Host

HOPELESS = frozenset({ErrorKind.CONTEXT_OVERFLOW, ErrorKind.BAD_REQUEST, ErrorKind.UNSUPPORTED})
"""Kinds of errors that would come again for the same request."""

_log = logging.getLogger("vanta.facts")


async def step_by_step(host: Host, name: str, step: Callable[[], Awaitable[bool]]) -> None:
    """Do `step` again and again while it returns True; after a False, or an engine or a store that
    fails, go on after the next turn. Never returns."""
    turn_begins = await host.idle()
    if not host.turns:
        await turn_begins.wait()
    said: set[str] = set()
    while True:
        turn_begins = await host.idle()
        try:
            more = await in_quiet(host, step)
        except (EngineError, StoreError) as error:
            more = False
            if str(error) not in said:
                said.add(str(error))
                _log.warning("companion %r goes on after the next turn: %s", name, error)
        if not more:
            await turn_begins.wait()
