"""The scheduler's own failures: too late, turned down, silent; and how long to wait after one."""

from __future__ import annotations

import random

from vanta.errors import EngineError, ErrorKind
from vanta.scheduling.leg import Leg
from vanta.track import Track

BACKOFF_S = 0.5
"""The longest wait before the first retry, in seconds."""


def too_late(track: Track, deadline_s: float) -> EngineError:
    """The error of a track that had no chance to answer before the turn's deadline."""
    error = EngineError(
        ErrorKind.TIMEOUT,
        f"the turn's deadline of {deadline_s:g} s passed before it could answer",
        engine=track.engine.name,
        model=track.engine.model,
        suggestion="Raise deadline_s, or choose a policy with a faster track.",
    )
    error.track = track.name
    return error


def told_to_wait(track: Track, wait_s: float) -> EngineError:
    """The error of a track whose server asked to wait for longer than the turn may take."""
    error = EngineError(
        ErrorKind.RATE_LIMITED,
        f"the server asked to wait for another {wait_s:.1f} s, longer than the turn may take",
        engine=track.engine.name,
        model=track.engine.model,
        suggestion="Ask again then, or choose a policy with another track.",
        retry_after_s=wait_s,
    )
    error.track = track.name
    return error


def turned_down(leg: Leg) -> EngineError:
    """The error of a leg whose answer the gate did not want."""
    why = leg.verdict.why if leg.verdict else "no verdict"
    return leg.error_of(ErrorKind.SERVER, f"the gate turned its answer down: {why}")


def stalled(leg: Leg, limit_s: float) -> EngineError:
    """The error of a leg that fell silent in the middle of its answer."""
    return leg.error_of(
        ErrorKind.TIMEOUT,
        f"silent for {limit_s:g} s in the middle of its answer",
        "Raise stall_timeout_s if the server is only slow.",
    )


def backoff_s(error: EngineError | None, attempt: int) -> float:
    """Seconds before the next attempt: what the server asked, else doubling with full jitter
    (Brooker, "Exponential Backoff And Jitter", 2015)."""
    if error and error.retry_after_s:
        return error.retry_after_s
    return random.uniform(0.0, BACKOFF_S * 2 ** (attempt - 1))  # noqa: S311 - no secret
