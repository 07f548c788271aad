"""OpenAI's chat completion format: deltas to chunks and to a whole response.

https://platform.openai.com/docs/api-reference/chat. Invariant: pure; one delta, one frame.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vanta.messages import Completion, Delta, FinishReason, TokenLogprob, ToolCallPart, Usage

DONE = b"data: [DONE]\n\n"
MALFORMED = b'data: {"id": "chatcmpl-1", "choices": [{"delta": {"conte\n\n'


def frame(data: Mapping[str, Any]) -> bytes:
    """A server-sent event with `data`."""
    return b"data: " + encode(data) + b"\n\n"


def encode(data: Mapping[str, Any]) -> bytes:
    """`data` as compact JSON."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Format:
    """What is the same in all chunks of one answer."""

    id: str
    model: str
    reasoning_field: str
    logprobs: bool

    def role(self) -> dict[str, Any]:
        """The chunk that says nothing but who speaks."""
        return self._chunk({"role": "assistant", "content": ""})

    def empty(self) -> dict[str, Any]:
        """A chunk with no text."""
        return self._chunk({"content": ""})

    def delta(self, delta: Delta) -> dict[str, Any]:
        """The chunk of one delta."""
        body: dict[str, Any] = {"content": delta.text} if delta.text else {}
        if delta.reasoning:
            body[self.reasoning_field] = delta.reasoning
        if delta.tool_calls:
            body["tool_calls"] = [_call_part(part) for part in delta.tool_calls]
        return self._chunk(body, logprobs=self._logprobs(delta.logprobs))

    def finish(self, reason: FinishReason | None) -> dict[str, Any]:
        """The chunk that ends the answer."""
        return self._chunk({}, finish_reason=reason)

    def usage(self, usage: Usage) -> dict[str, Any]:
        """The chunk with the usage, which has no choices."""
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": usage_body(usage)}

    def whole(self, answer: Completion) -> dict[str, Any]:
        """The answer in one piece, for a client that did not ask for a stream."""
        message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
        if answer.reasoning:
            message[self.reasoning_field] = answer.reasoning
        if answer.tool_calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in answer.tool_calls
            ]
        choice = {
            "index": 0,
            "message": message,
            "logprobs": self._logprobs(answer.logprobs),
            "finish_reason": answer.finish_reason,
        }
        body = {**self._head("chat.completion"), "choices": [choice]}
        return {**body, "usage": usage_body(answer.usage)} if answer.usage else body

    def _chunk(
        self,
        delta: dict[str, Any],
        *,
        logprobs: dict[str, Any] | None = None,
        finish_reason: FinishReason | None = None,
    ) -> dict[str, Any]:
        choice = {
            "index": 0,
            "delta": delta,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
        }
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": 1_700_000_000, "model": self.model}

    def _logprobs(self, tokens: tuple[TokenLogprob, ...]) -> dict[str, Any] | None:
        if not (self.logprobs and tokens):
            return None
        return {"content": [_logprob(token) for token in tokens]}


def usage_body(usage: Usage) -> dict[str, Any]:
    """Usage in OpenAI's names."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input_tokens},
    }


def _logprob(token: TokenLogprob) -> dict[str, Any]:
    return {
        **_token(token.token, token.logprob),
        "top_logprobs": [_token(text, value) for text, value in token.top],
    }


def _token(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


def _call_part(part: ToolCallPart) -> dict[str, Any]:
    function = {"arguments": part.arguments}
    if not part.id:
        return {"index": part.index, "function": function}
    function["name"] = part.name
    return {"index": part.index, "id": part.id, "type": "function", "function": function}
