"""Errors as OpenAI's clients read them: a status, a type, a code, and when to try again.

Invariant: every error of vanta has a status that its cause deserves, so that a client retries what
may succeed later and nothing else; an error of the program itself shows no detail.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vanta import (
    AllTracksFailed,
    BudgetExceeded,
    EngineError,
    ErrorKind,
    NoTrack,
    UnknownName,
    UsageError,
    VantaError,
)

_RETRY_S = 1.0
"""Seconds after which a client may try again if no server named a time."""

_BY_KIND: Mapping[ErrorKind, tuple[int, str, str]] = {
    ErrorKind.CONTEXT_OVERFLOW: (400, "invalid_request_error", "context_length_exceeded"),
    ErrorKind.BAD_REQUEST: (400, "invalid_request_error", "bad_request"),
    ErrorKind.UNSUPPORTED: (400, "invalid_request_error", "unsupported"),
    ErrorKind.RATE_LIMITED: (429, "rate_limit_error", "rate_limit_exceeded"),
    ErrorKind.BUDGET: (429, "insufficient_quota", "insufficient_quota"),
    ErrorKind.OVERLOADED: (503, "server_error", "overloaded"),
    ErrorKind.LOADING: (503, "server_error", "loading"),
    ErrorKind.TIMEOUT: (504, "server_error", "timeout"),
}
"""Status, type and code of a turn whose tracks all failed for one reason. Any other reason is one
of the servers behind: 502."""


@dataclass(frozen=True, slots=True)
class ApiError(Exception):
    """An error as a client reads it.

    :param status: the HTTP status.
    :param message: what happened, in words.
    :param kind: OpenAI's type of error.
    :param code: what programs compare.
    :param param: the part of the request to blame; None if there is none.
    :param retry_after_s: seconds after which the same request may succeed; None if it will not.
    """

    status: int
    message: str
    kind: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None
    retry_after_s: float | None = None

    @property
    def body(self) -> dict[str, Any]:
        """The error as JSON-ready data."""
        error = {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }
        return {"error": error}

    @property
    def headers(self) -> dict[str, str]:
        """The headers that belong to it."""
        if self.retry_after_s is None:
            return {}
        return {"retry-after": f"{math.ceil(self.retry_after_s)}"}


def api_error(error: Exception) -> ApiError:
    """Return an error as a client reads it.

    :param error: what a turn, or reading the request, has raised.
    """
    if isinstance(error, ApiError):
        return error
    if isinstance(error, AllTracksFailed):
        return _of_tracks(error)
    if isinstance(error, UsageError):
        return _of_request(error)
    if isinstance(error, BudgetExceeded):
        return ApiError(429, str(error), "insufficient_quota", "insufficient_quota")
    known = str(error) if isinstance(error, VantaError) else ""
    hidden = f"the server failed ({type(error).__name__}): see its log"
    return ApiError(500, known or hidden, "server_error", "internal_error")


def _of_request(error: UsageError) -> ApiError:
    if isinstance(error, NoTrack) and error.unable:
        return ApiError(400, str(error), code="unsupported", param="messages")
    if isinstance(error, NoTrack):
        return ApiError(503, str(error), "server_error", "no_track", retry_after_s=_RETRY_S)
    if isinstance(error, UnknownName):
        is_model = str(error).startswith("no model")
        code = "model_not_found" if is_model else "not_found"
        return ApiError(404, str(error), code=code, param="model" if is_model else None)
    return ApiError(400, str(error))


def _of_tracks(error: AllTracksFailed) -> ApiError:
    kinds = {cause.kind for cause in error.causes}
    kind = kinds.pop() if len(kinds) == 1 else None
    default = (502, "server_error", "all_tracks_failed")
    status, name, code = _BY_KIND.get(kind, default) if kind else default
    waits = [cause.retry_after_s for cause in error.causes if _may_succeed(cause)]
    known = [wait_s for wait_s in waits if wait_s is not None]
    wait_s = min(known) if known else _RETRY_S if waits and status != 400 else None
    return ApiError(status, str(error), name, code, retry_after_s=wait_s)


def _may_succeed(cause: EngineError) -> bool:
    return cause.kind in (ErrorKind.RATE_LIMITED, ErrorKind.OVERLOADED, ErrorKind.LOADING)
