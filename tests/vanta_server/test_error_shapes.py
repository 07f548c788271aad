"""Errors as each protocol's clients read them."""

from __future__ import annotations

from typing import Any

import pytest

from vanta_server.error_shapes import error_answer, protocol_of
from vanta_server.errors import ApiError


def scope_of(path: str, *headers: bytes) -> dict[str, Any]:
    pairs = [(name, b"x") for name in headers]
    return {"path": path, "headers": pairs, "state": {"request_id": "req_1"}}


@pytest.mark.parametrize(
    ("path", "headers", "protocol"),
    [
        ("/v1/chat/completions", (), "openai"),
        ("/v1/chat/completions", (b"anthropic-version",), "openai"),
        ("/v1/models", (), "openai"),
        ("/v1/models/vanta", (b"Anthropic-Version",), "anthropic"),
        ("/v1/messages", (), "anthropic"),
        ("/v1/messages/count_tokens", (), "anthropic"),
        ("/v1/messages_of_mine", (), "openai"),
        ("/api/chat", (), "ollama"),
        ("/apiary", (), "openai"),
    ],
)
def test_the_path_names_the_protocol(path: str, headers: tuple[bytes, ...], protocol: str) -> None:
    assert protocol_of(scope_of(path, *headers)) == protocol


@pytest.mark.parametrize(
    ("status", "code", "sent", "kind"),
    [
        (400, None, 400, "invalid_request_error"),
        (401, "invalid_api_key", 401, "authentication_error"),
        (403, None, 403, "permission_error"),
        (404, None, 404, "not_found_error"),
        (405, None, 405, "invalid_request_error"),
        (413, None, 413, "request_too_large"),
        (429, None, 429, "rate_limit_error"),
        (500, None, 500, "api_error"),
        (503, "loading", 503, "api_error"),
        (503, "overloaded", 529, "overloaded_error"),
        (504, "timeout", 504, "timeout_error"),
    ],
)
def test_anthropics_errors_have_its_types(
    status: int, code: str | None, sent: int, kind: str
) -> None:
    error = ApiError(status, "It failed.", code=code, retry_after_s=1.2)
    answer = error_answer(error, scope_of("/v1/messages"))
    assert answer.status == sent
    assert answer.body == {
        "type": "error",
        "error": {"type": kind, "message": "It failed."},
        "request_id": "req_1",
    }
    assert answer.headers == {
        "retry-after": "2",
        "x-request-id": "req_1",
        "request-id": "req_1",
    }


def test_the_others_keep_the_status_and_say_it_in_their_shape() -> None:
    error = ApiError(503, "It is full.", "server_error", "overloaded", retry_after_s=1.0)
    ollama = error_answer(error, scope_of("/api/chat"))
    openai = error_answer(error, scope_of("/v1/chat/completions"))
    assert (ollama.status, ollama.body) == (503, {"error": "It is full."})
    assert (openai.status, openai.body) == (503, error.body)
    assert ollama.headers == openai.headers == {"retry-after": "1", "x-request-id": "req_1"}
