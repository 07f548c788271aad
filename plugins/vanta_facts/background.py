"""What both companions share: the local model, and work in steps while no turn runs.

Invariant: only a private track without a price is used, so no text leaves the machine and nothing
costs money. No work is done before the first turn, so a program that asks a single question pays
nothing. A step that a turn interrupts is repeated from its beginning, so a step stores its result
only when that is complete.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from vanta import (
    AnswerBound,
    Completion,
    EngineError,
    ErrorKind,
    GenerationRequest,
    Message,
    Price,
    Sampling,
    StoreError,
    in_quiet,
    scrub_error,
    whole_answer,
)

if TYPE_CHECKING:
    from vanta import Host, Track
    from vanta.memory import Memory

    Step = Callable[[Host, Memory, Track], Awaitable[bool]]

PERMANENT = frozenset({ErrorKind.CONTEXT_OVERFLOW, ErrorKind.BAD_REQUEST, ErrorKind.UNSUPPORTED})
"""Kinds of errors that the same request would raise again."""

_log = logging.getLogger("vanta.facts")


def local_track(host: Host, *, json_schema: bool = False) -> Track | None:
    """Return the first track that is private and free, None if there is none.

    json_schema: the track must be able to follow a JSON Schema.
    """
    for track in host.tracks.values():
        is_able = track.engine.capabilities.json_schema or not json_schema
        if track.private and track.price == Price() and is_able:
            return track
    return None


async def complete(
    track: Track,
    prompt: str,
    *,
    session: str,
    max_tokens: int,
    json_schema: Mapping[str, Any] | None = None,
) -> Completion:
    """Return the most likely answer to `prompt`, once it is complete.

    session: a name for the engine's KV cache. Raises EngineError.
    """
    sampling = Sampling(max_tokens=max_tokens, temperature=0.0, json_schema=json_schema)
    request = GenerationRequest(
        (Message("user", prompt),), sampling, session=session, scope="companion"
    )
    try:
        async with track.engine.stream(request) as deltas:
            return await whole_answer(deltas, AnswerBound(max_tokens, track.engine.window))
    except EngineError as error:
        scrub_error(error, request, private=True)  # it is logged, and quotes memories
        raise


async def run_companion(host: Host, name: str, step: Step, *, json_schema: bool = False) -> None:
    """Repeat `step` on the local track until cancelled.

    Returns at once, with a warning, if the host lacks memory or a suitable track. name: the
    companion's name, for the log. json_schema: the track must be able to follow a JSON Schema.
    """
    memory, track = host.memory, local_track(host, json_schema=json_schema)
    if memory is None:
        _log.warning("companion %r is off: there is no memory (%s)", name, host.memory_off)
    elif track is None:
        ability = " and can follow a JSON Schema" if json_schema else ""
        _log.warning("companion %r is off: no track is private and free%s", name, ability)
    else:
        await _repeat(host, name, partial(step, host, memory, track))


async def _repeat(host: Host, name: str, step: Callable[[], Awaitable[bool]]) -> None:
    """Repeat `step` while it returns True. Never returns.

    After False, or an error of an engine or the store, continue after the next turn. An error is
    logged once.
    """
    turn_starts = await host.idle()
    if not host.turns:
        await turn_starts.wait()
    logged: set[str] = set()
    while True:
        turn_starts = await host.idle()
        try:
            has_more = await in_quiet(host, step)
        except (EngineError, StoreError) as error:
            has_more = False
            if str(error) not in logged:
                logged.add(str(error))
                _log.warning("companion %r continues after the next turn: %s", name, error)
        if not has_more:
            await turn_starts.wait()
