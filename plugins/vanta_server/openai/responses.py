"""Chat completions as OpenAI's clients read them: whole, and in chunks.

Every answer and every chunk has one field of its own, `vanta`, that says who answered. Invariant:
what is written depends on the parts of the answer alone, so a takeover in the middle changes
nothing that a client compares: the id, the name of the model, the order of the chunks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vanta import Reply, ToolCall, Usage
from vanta_server.answers import who_answered
from vanta_server.openai.logprobs import chat_logprobs

_REASONS = {"deadline": "length"}
"""Reasons of vanta that the protocol does not have."""

_LINE_ENDS = {number: f"\\u{number:04x}" for number in (0x85, 0x2028, 0x2029)}

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Heading:
    """What all chunks of an answer have in common.

    :param id: the id of the completion.
    :param created: when it began, in seconds since 1970.
    :param model: the name as the client sent it.
    """

    id: str
    created: int
    model: str

    def chunk(
        self,
        number: int,
        delta: Mapping[str, Any],
        *,
        reason: str | None = None,
        logprobs: Mapping[str, Any] | None = None,
        vanta: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return a chunk of one answer as a server-sent event.

        :param number: which of several answers it belongs to.
        :param delta: what the client appends.
        :param reason: why the answer ends; None before its end.
        :param logprobs: the tokens of the whole answer, with its end; None for none.
        :param vanta: the value of vanta's own field; None leaves it out.
        """
        choice = {"index": number, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        own = {} if vanta is None else {"vanta": vanta}
        return server_event({**self._of("chat.completion.chunk"), "choices": [choice], **own})

    def usage_chunk(self, usage: Usage) -> bytes:
        """Return the last chunk, which has the usage of all answers and no choice."""
        chunk = {**self._of("chat.completion.chunk"), "choices": [], "usage": usage_data(usage)}
        return server_event(chunk)

    def completion(
        self, replies: Sequence[Reply], ignored: Sequence[str], rivals: int | None = None
    ) -> dict[str, Any]:
        """Return the whole completion.

        :param replies: the answers, in order.
        :param ignored: fields of the request that had no effect.
        :param rivals: the number of top alternatives per token; None for no logprobs.
        """
        total = total_usage(replies)
        return {
            **self._of("chat.completion"),
            "choices": [_choice(number, reply, rivals) for number, reply in enumerate(replies)],
            "usage": usage_data(total) if total else None,
            "vanta": {**who_answered(replies[0]), "ignored": list(ignored)},
        }

    def _of(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def finish_reason(reply: Reply) -> str:
    """Return why the answer ends, as the protocol names it."""
    if reply.tool_calls:
        return "tool_calls"
    reason = reply.finish_reason or "stop"
    return _REASONS.get(reason, reason)


def total_usage(replies: Sequence[Reply]) -> Usage | None:
    """Return the tokens of several answers; None if none of them is known."""
    known = [reply.usage for reply in replies if reply.usage is not None]
    return sum(known[1:], known[0]) if known else None


def usage_data(usage: Usage) -> dict[str, Any]:
    """Return token counts as the protocol names them."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input_tokens},
    }


def calls_data(calls: Sequence[ToolCall], *, numbered: bool) -> list[dict[str, Any]]:
    """Return calls as the protocol writes them.

    :param calls: the calls.
    :param numbered: whether each has its index, as in chunks.
    """
    return [
        {
            **({"index": number} if numbered else {}),
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for number, call in enumerate(calls)
    ]


def server_event(data: Mapping[str, Any]) -> bytes:
    """Return JSON as one server-sent event.

    Clients that split lines as Python's `splitlines` does would cut an event at three characters
    that JSON leaves as they are: they are escaped.
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).translate(_LINE_ENDS)
    return b"data: " + text.encode("utf-8", "replace") + b"\n\n"


def _choice(number: int, reply: Reply, rivals: int | None) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": None}
    if reply.reasoning:
        message["reasoning_content"] = reply.reasoning
    if reply.tool_calls:
        message["content"] = reply.text or None
        message["tool_calls"] = calls_data(reply.tool_calls, numbered=False)
    return {
        "index": number,
        "message": message,
        "logprobs": chat_logprobs(reply, rivals),
        "finish_reason": finish_reason(reply),
    }
