"""The errors of legs that the scheduler itself finds, and the wait before another attempt.

Invariant: each names the track, what happened, and what a person can do about it.
"""

from __future__ import annotations

import random

from vanta.engine import GenerationRequest
from vanta.errors import EngineError, ErrorKind
from vanta.messages import Completion
from vanta.scheduling.gate import Verdict
from vanta.track import Track

BACKOFF_S = 0.5
"""Longest wait before the first retry, in seconds."""

_NO_TEXT = "the answer ended without any readable text"


def too_late(track: Track, deadline_s: float) -> EngineError:
    """Return the error of a track that could not answer before the turn's deadline."""
    return track.error(
        ErrorKind.TIMEOUT,
        f"the turn's deadline of {deadline_s:g} s passed before it could answer",
        "Raise deadline_s, or choose a policy with a faster track.",
    )


def retry_too_late(track: Track, wait_s: float) -> EngineError:
    """Return the error of a track whose server requested a wait beyond the turn's deadline."""
    return track.error(
        ErrorKind.RATE_LIMITED,
        f"the server requested a wait of another {wait_s:.1f} s, longer than the turn may take",
        "Send the message again then, or choose a policy with another track.",
        retry_after_s=wait_s,
    )


def rejected_answer(track: Track, verdict: Verdict | None) -> EngineError:
    """Return the error of a leg whose answer the gate rejected."""
    why = verdict.why if verdict else "no verdict"
    return track.error(ErrorKind.SERVER, f"the gate rejected its answer: {why}")


def stalled(track: Track, limit_s: float) -> EngineError:
    """Return the error of a leg that stalled in the middle of its answer."""
    return track.error(
        ErrorKind.TIMEOUT,
        f"silent for {limit_s:g} s in the middle of its answer",
        "Raise stall_timeout_s if the server is only slow.",
    )


def empty_answer(track: Track, answer: Completion) -> EngineError:
    """Return the error of an answer without a text and without a call."""
    problem, advice = "", "Raise max_tokens, or turn the model's reasoning down."
    if answer.finish_reason == "length":
        problem = "the token limit was reached before any readable text"
    elif answer.reasoning:
        problem = "the reasoning never ended: the answer has no readable text"
    error = track.error(ErrorKind.SERVER, problem or _NO_TEXT, advice if problem else "")
    error.retryable = not answer.reasoning
    return error


def missing_call(
    track: Track, request: GenerationRequest, answer: Completion
) -> EngineError | None:
    """Return the error of an answer that lacks the call it had to make; None if it has it.

    :param track: the track that answered.
    :param request: what it was sent.
    :param answer: its answer.
    """
    names = {tool.name for tool in request.callable_tools}
    called = [call.name for call in answer.tool_calls]
    if not request.must_call or (
        called and (request.tool_choice == "required" or names & {*called})
    ):
        return None
    wanted = "a tool" if request.tool_choice == "required" else f"the tool {request.tool_choice!r}"
    instead = f"it called {called[0]!r}" if called else "it did not call any tool"
    cut = ", and the answer reached its token limit" if answer.finish_reason == "length" else ""
    return track.error(
        ErrorKind.NO_CALL,
        f"the answer had to call {wanted}, and {instead}{cut}",
        "The server or the model ignores 'tool_choice'. Use another model, or 'auto'.",
    )


def broken_contract(track: Track, cause: Exception) -> EngineError:
    """Return the error of an engine that raised what its contract does not allow."""
    problem = f"the engine raised {type(cause).__name__} instead of an EngineError"
    error = track.error(
        ErrorKind.SERVER,
        f"{problem}: {cause}",
        "This is a bug in the engine's plugin; report it there.",
        summary=problem,
    )
    error.__cause__ = cause
    return error


def backoff_s(error: EngineError | None, attempt: int) -> float:
    """Return the seconds before the next attempt.

    They are the server's Retry-After, or double with each attempt, with full jitter (Brooker,
    "Exponential Backoff And Jitter", 2015).
    """
    if error and error.retry_after_s:
        return error.retry_after_s
    return random.uniform(0.0, BACKOFF_S * 2 ** (attempt - 1))  # noqa: S311 - no secret
