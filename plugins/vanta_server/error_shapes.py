"""Errors in the shape of the protocol that the client speaks: OpenAI's, Anthropic's or Ollama's.

The path of a request names its protocol; a path that two of them have is Anthropic's if the request
has Anthropic's header of versions. Invariant: every error, also one that ends a request before it
has reached a route, is one that the protocol's own client reads with its status, its message and
the time after which to try again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vanta_server.errors import ApiError

Protocol = Literal["openai", "anthropic", "ollama"]

ANTHROPIC_OVERLOADED = 529
"""Anthropic's status of a server that is overloaded."""

_ANTHROPIC_KINDS: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    ANTHROPIC_OVERLOADED: "overloaded_error",
}
"""Anthropic's type of an error by its status (https://docs.claude.com/en/api/errors). 405 counts as
an invalid request, any other as `api_error`."""


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An error as it is sent.

    :param status: the HTTP status.
    :param body: JSON-ready data.
    :param headers: the headers that belong to it.
    """

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str]


def protocol_of(scope: Mapping[str, Any]) -> Protocol:
    """Return the protocol of a request.

    :param scope: the request.
    """
    path: str = scope["path"]
    if path == "/api" or path.startswith("/api/"):
        return "ollama"
    has_version = any(name.lower() == b"anthropic-version" for name, _ in scope["headers"])
    is_messages = path == "/v1/messages" or path.startswith("/v1/messages/")
    if is_messages or (has_version and path.startswith("/v1/models")):
        return "anthropic"
    return "openai"


def id_headers(scope: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers that name a request, as the client's protocol calls them.

    :param scope: the request, as `Access` passes it on.
    """
    request_id = scope["state"]["request_id"]
    headers = {"x-request-id": request_id}
    if protocol_of(scope) == "anthropic":
        headers["request-id"] = request_id
    return headers


def error_answer(error: ApiError, scope: Mapping[str, Any]) -> ErrorAnswer:
    """Return an error as the client of a request reads it.

    :param error: the error.
    :param scope: the request, as `Access` passes it on.
    """
    headers = {**error.headers, **id_headers(scope)}
    protocol = protocol_of(scope)
    if protocol == "ollama":
        return ErrorAnswer(error.status, {"error": error.message}, headers)
    if protocol == "openai":
        return ErrorAnswer(error.status, error.body, headers)
    status = ANTHROPIC_OVERLOADED if error.code == "overloaded" else error.status
    invalid = "invalid_request_error" if status < 500 else "api_error"
    body = {
        "type": "error",
        "error": {"type": _ANTHROPIC_KINDS.get(status, invalid), "message": error.message},
        "request_id": scope["state"]["request_id"],
    }
    return ErrorAnswer(status, body, headers)
