"""What an `Upstream` does with one request, as data.

Invariant: a `Behaviour` is frozen and says everything; nothing in it depends on time except the
pauses in seconds that it states, and gates replace those where a test orders things by events.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from vanta.messages import Delta, FinishReason, TokenLogprob, ToolCallPart
from vanta.testing.steps import Waitable, split_tokens

Fault = Literal["refuse", "cut", "stall", "malformed", "error_frame"]
ErrorShape = Literal["object", "string", "wrapped"]
OVERFLOW = (
    "This model's maximum context length is 8192 tokens. However, your messages resulted in "
    "9000 tokens. Please reduce the length of the messages."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How one request is answered; made by the named constructors, varied with `but`.

    deltas: what is sent, one frame each ("token n" below is `deltas[n]`). finish_reason, model,
    prompt_tokens: what the answer says of itself (model None: the one that was asked for).
    usage: send it where the client asked. done: end with `data: [DONE]`. role_delta: begin with a
    delta that has nothing but the role. empty_deltas: so many deltas without text after it.
    reasoning_field: the name under which reasoning is sent.

    headers_after_s, headers_gate: before the status line. ttft_s: before token 0. gap_s: before
    each later one. gates: before token n, or before the end for n = len(deltas).

    fault: what goes wrong once `after` tokens were sent. status, error, headers: an answer other
    than 200 (and the error of an `error_frame`).
    """

    deltas: tuple[Delta, ...] = ()
    finish_reason: FinishReason | None = "stop"
    model: str | None = None
    prompt_tokens: int = 11
    usage: bool = True
    done: bool = True
    role_delta: bool = True
    empty_deltas: int = 0
    reasoning_field: Literal["reasoning", "reasoning_content"] = "reasoning_content"
    headers_after_s: float = 0.0
    headers_gate: Waitable | None = None
    ttft_s: float = 0.0
    gap_s: float = 0.0
    gates: Mapping[int, Waitable] = field(default_factory=dict)
    fault: Fault | None = None
    after: int = 0
    status: int = 200
    error: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def answer(
        cls,
        text: str | Iterable[str] = "Hello from upstream.",
        *,
        reasoning: str | Iterable[str] = (),
        logprobs: Iterable[float] = (),
        **rest: Any,
    ) -> Self:
        """A whole answer: `text` is split by `vanta.testing.steps`, or given token by token.

        reasoning: sent before the text. logprobs: one for each token of the text, sent where the
        client asked. rest: any field of `Behaviour`.
        """
        thoughts = (Delta(reasoning=piece) for piece in _pieces(reasoning))
        return cls(deltas=(*thoughts, *_spoken(_pieces(text), tuple(logprobs))), **rest)

    @classmethod
    def calls(cls, name: str, arguments: str, *, id: str = "call_1", **rest: Any) -> Self:  # noqa: A002
        """A tool call, its name first and its arguments in two parts."""
        half = len(arguments) // 2
        parts = (
            ToolCallPart(0, id=id, name=name),
            ToolCallPart(0, arguments=arguments[:half]),
            ToolCallPart(0, arguments=arguments[half:]),
        )
        deltas = tuple(Delta(tool_calls=(part,)) for part in parts)
        return cls(deltas=deltas, **{"finish_reason": "tool_calls", **rest})

    @classmethod
    def refused(cls) -> Self:
        """The connection is reset without a response. For a port where nothing listens see
        `nothing_listens`."""
        return cls(fault="refuse")

    @classmethod
    def cut(cls, after: int, text: str | Iterable[str] = "one two three four", **rest: Any) -> Self:
        """The connection is reset in the middle of the frame that follows `after` tokens."""
        return cls.answer(text, fault="cut", after=after, **rest)

    @classmethod
    def stall(
        cls, after: int, text: str | Iterable[str] = "one two three four", **rest: Any
    ) -> Self:
        """Silence after `after` tokens, with the connection open; 0: right after the headers."""
        return cls.answer(text, fault="stall", after=after, **rest)

    @classmethod
    def malformed(
        cls, after: int, text: str | Iterable[str] = "one two three four", **rest: Any
    ) -> Self:
        """A frame that is no JSON after `after` tokens; the rest follows as if nothing were."""
        return cls.answer(text, fault="malformed", after=after, **rest)

    @classmethod
    def error_frame(
        cls,
        after: int = 0,
        text: str | Iterable[str] = "one two three four",
        *,
        message: str = "The server had an error while processing your request.",
        code: int | str | None = 500,
        shape: ErrorShape = "object",
        **rest: Any,
    ) -> Self:
        """HTTP 200, `after` tokens, then an error where a chunk should be, then the end."""
        error = error_body(message, code, shape, kind="server_error")
        return cls.answer(text, fault="error_frame", after=after, error=error, **rest)

    @classmethod
    def failure(
        cls,
        status: int,
        message: str,
        *,
        code: int | str | None = None,
        kind: str = "invalid_request_error",
        shape: ErrorShape = "object",
        retry_after: str | None = None,
        **rest: Any,
    ) -> Self:
        """An error status. shape: `error` as an object, as a bare string, or as an object inside
        a list, as real servers do. retry_after: the header's value as it is sent."""
        headers = {} if retry_after is None else {"retry-after": retry_after}
        error = error_body(message, code, shape, kind)
        return cls(status=status, error=error, headers=headers, **rest)

    @classmethod
    def unauthorized(cls, **rest: Any) -> Self:
        """401: the key is wrong."""
        return cls.failure(
            401, "Incorrect API key provided.", **{"code": "invalid_api_key", **rest}
        )

    @classmethod
    def not_found(cls, model: str = "no-such-model", **rest: Any) -> Self:
        """404: the model does not exist."""
        message = f"The model `{model}` does not exist or you do not have access to it."
        return cls.failure(404, message, **{"code": "model_not_found", **rest})

    @classmethod
    def rate_limited(cls, retry_after: str | None = "2", **rest: Any) -> Self:
        """429, with `Retry-After` unless that is None."""
        rest = {"code": "rate_limit_exceeded", "kind": "requests", **rest}
        return cls.failure(429, "Rate limit reached for requests.", retry_after=retry_after, **rest)

    @classmethod
    def server_error(cls, status: int = 500, **rest: Any) -> Self:
        """500, or another status of the server's own fault."""
        rest = {"kind": "server_error", **rest}
        return cls.failure(status, "The server had an error while processing your request.", **rest)

    @classmethod
    def context_overflow(cls, **rest: Any) -> Self:
        """400: the prompt is longer than the window, in OpenAI's words."""
        return cls.failure(400, OVERFLOW, **{"code": "context_length_exceeded", **rest})

    def but(self, **changes: Any) -> Self:
        """The same with other values in some fields."""
        return dataclasses.replace(self, **changes)


def error_body(
    message: str, code: int | str | None, shape: ErrorShape, kind: str
) -> dict[str, Any]:
    """The JSON of an error, in one of the shapes that servers use."""
    error = {"message": message, "type": kind, "param": None, "code": code}
    match shape:
        case "string":
            return {"error": message}
        case "wrapped":
            return {"error": [error]}
        case "object":
            return {"error": error}


def _pieces(text: str | Iterable[str]) -> list[str]:
    return split_tokens(text) if isinstance(text, str) else list(text)


def _spoken(tokens: list[str], logprobs: tuple[float, ...]) -> list[Delta]:
    if not logprobs:
        return [Delta(text=token) for token in tokens]
    return [
        Delta(text=token, logprobs=(TokenLogprob(token, value, ((token, value),)),))
        for token, value in zip(tokens, logprobs, strict=True)
    ]
