"""What an `Upstream` does with one request, as data.

Invariant: a `Behaviour` is frozen and complete. Nothing in it depends on time except its pauses in
seconds; a test that orders things by events uses gates instead.
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
    """How one request is answered; use the named constructors, and `but` for variants.

    :param deltas: what is sent, one frame each. "Token n" below is `deltas[n]`.
    :param finish_reason: finish reason of the answer.
    :param model: model that the answer names; None for the requested one.
    :param prompt_tokens: input tokens of the reported usage.
    :param usage: report the usage if the client requests it.
    :param done: end with `data: [DONE]`.
    :param role_delta: begin with a delta that has only the role.
    :param empty_deltas: number of deltas without text that follow it.
    :param reasoning_field: name of the field for reasoning.
    :param headers_after_s: seconds before the status line.
    :param headers_gate: waited for before the status line.
    :param ttft_s: seconds before token 0.
    :param gap_s: seconds before each later token.
    :param gates: waited for before token n, or before the end for n = len(deltas).
    :param fault: what goes wrong after `after` tokens.
    :param after: number of tokens before the fault.
    :param status: HTTP status.
    :param error: body of an answer other than 200, or of an `error_frame`.
    :param headers: additional headers.
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
        """Return a whole answer.

        :param text: the text, split by `vanta.testing.split_tokens`, or its tokens.
        :param reasoning: sent before the text.
        :param logprobs: one for each token of the text, sent if the client requests logprobs.
        :param rest: any field of `Behaviour`.
        """
        reasoned = (Delta(reasoning=piece) for piece in _pieces(reasoning))
        return cls(deltas=(*reasoned, *_text_deltas(_pieces(text), tuple(logprobs))), **rest)

    @classmethod
    def calls(cls, name: str, arguments: str, *, id: str = "call_1", **rest: Any) -> Self:  # noqa: A002
        """Return a tool call: its name first, then its arguments in two parts.

        :param name: the tool's name.
        :param arguments: JSON text.
        :param id: the call's id.
        :param rest: any field of `Behaviour`.
        """
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
        """Reset the connection without a response.

        `nothing_listens` is for a port that refuses connections.
        """
        return cls(fault="refuse")

    @classmethod
    def cut(cls, after: int, text: str | Iterable[str] = "one two three four", **rest: Any) -> Self:
        """Reset the connection in the middle of the frame that follows `after` tokens.

        :param after: number of tokens before it.
        :param text: the text of the tokens.
        :param rest: any field of `Behaviour`.
        """
        return cls.answer(text, fault="cut", after=after, **rest)

    @classmethod
    def stall(
        cls, after: int, text: str | Iterable[str] = "one two three four", **rest: Any
    ) -> Self:
        """Send nothing after `after` tokens, and keep the connection open.

        :param after: number of tokens before it.
        :param text: the text of the tokens.
        :param rest: any field of `Behaviour`.
        """
        return cls.answer(text, fault="stall", after=after, **rest)

    @classmethod
    def malformed(
        cls, after: int, text: str | Iterable[str] = "one two three four", **rest: Any
    ) -> Self:
        """Send a frame that is not JSON after `after` tokens; the rest of the answer follows.

        :param after: number of tokens before it.
        :param text: the text of the tokens.
        :param rest: any field of `Behaviour`.
        """
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
        """Send HTTP 200 and `after` tokens, then an error in place of a chunk, then the end.

        :param after: number of tokens before the error.
        :param text: the text of the tokens.
        :param message: the error's message.
        :param code: the error's code.
        :param shape: see `failure`.
        :param rest: any field of `Behaviour`.
        """
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
        """Return an error status.

        :param status: HTTP status.
        :param message: the error's message.
        :param code: the error's code.
        :param kind: the error's type.
        :param shape: `error` as an object, a bare string, or an object inside a list; real servers
            do all three.
        :param retry_after: value of the header `Retry-After`, None for none.
        :param rest: any field of `Behaviour`.
        """
        headers = {} if retry_after is None else {"retry-after": retry_after}
        error = error_body(message, code, shape, kind)
        return cls(status=status, error=error, headers=headers, **rest)

    @classmethod
    def unauthorized(cls, **rest: Any) -> Self:
        """Return 401: the key is wrong.

        :param rest: any argument of `failure`.
        """
        return cls.failure(
            401, "Incorrect API key provided.", **{"code": "invalid_api_key", **rest}
        )

    @classmethod
    def not_found(cls, model: str = "no-such-model", **rest: Any) -> Self:
        """Return 404: the model does not exist.

        :param model: the model that the message names.
        :param rest: any argument of `failure`.
        """
        message = f"The model `{model}` does not exist or you do not have access to it."
        return cls.failure(404, message, **{"code": "model_not_found", **rest})

    @classmethod
    def rate_limited(cls, retry_after: str | None = "2", **rest: Any) -> Self:
        """Return 429.

        :param retry_after: value of the header `Retry-After`, None for none.
        :param rest: any argument of `failure`.
        """
        rest = {"code": "rate_limit_exceeded", "kind": "requests", **rest}
        return cls.failure(429, "Rate limit reached for requests.", retry_after=retry_after, **rest)

    @classmethod
    def server_error(cls, status: int = 500, **rest: Any) -> Self:
        """Return a fault of the server.

        :param status: HTTP status.
        :param rest: any argument of `failure`.
        """
        rest = {"kind": "server_error", **rest}
        return cls.failure(status, "The server had an error while processing your request.", **rest)

    @classmethod
    def context_overflow(cls, **rest: Any) -> Self:
        """Return 400: the prompt is longer than the window, in OpenAI's words.

        :param rest: any argument of `failure`.
        """
        return cls.failure(400, OVERFLOW, **{"code": "context_length_exceeded", **rest})

    def but(self, **changes: Any) -> Self:
        """Return a variant.

        :param changes: other values of fields.
        """
        return dataclasses.replace(self, **changes)


def error_body(
    message: str, code: int | str | None, shape: ErrorShape, kind: str
) -> dict[str, Any]:
    """Return the JSON of an error, in one of the shapes that servers use."""
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


def _text_deltas(tokens: list[str], logprobs: tuple[float, ...]) -> list[Delta]:
    if not logprobs:
        return [Delta(text=token) for token in tokens]
    return [
        Delta(text=token, logprobs=(TokenLogprob(token, value, ((token, value),)),))
        for token, value in zip(tokens, logprobs, strict=True)
    ]
