"""Messages as Anthropic's clients read them: whole, and in events.

Every message, and the last but one event of a stream, has one field of its own, `vanta`, that says
who answered. Invariant: the events of a stream, accumulated as the protocol says, are the whole
message; a takeover in the middle is in the same block of text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vanta import Reply, ToolCall, Usage
from vanta_server.answers import AnswerPart, event_data, who_answered
from vanta_server.http import ResponseStream

_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "deadline": "max_tokens",
    "content_filter": "refusal",
}
SIGNATURE = "vanta"
"""What stands where Anthropic signs its reasoning; reasoning that is sent back is not read."""


@dataclass(frozen=True, slots=True)
class MessageHeading:
    """What is known of a message before its content.

    :param id: the id of the message.
    :param model: the name as the client sent it.
    :param thinks: whether the client wants to read the reasoning.
    :param ignored: fields of the request that had no effect.
    """

    id: str
    model: str
    thinks: bool
    ignored: Sequence[str]

    def message(self, reply: Reply) -> dict[str, Any]:
        """Return the whole message.

        :param reply: the answer.
        """
        content: list[dict[str, Any]] = []
        if reply.reasoning and self.thinks:
            content.append(_thinking(reply.reasoning, SIGNATURE))
        if reply.text:
            content.append(_text(reply.text))
        content += [_tool_use(call, call_input(call)) for call in reply.tool_calls]
        return {
            **self.start(),
            "content": content,
            "stop_reason": stop_reason(reply),
            "usage": usage_data(reply.usage),
            "vanta": self.who(reply),
        }

    def start(self) -> dict[str, Any]:
        """Return the message before its content; its usage is known at the end."""
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_data(None),
        }

    def who(self, reply: Reply) -> dict[str, Any]:
        """Return the value of vanta's own field."""
        return {**who_answered(reply), "ignored": list(self.ignored)}


class MessageWriter:
    """Writes the parts of an answer as events.

    :param heading: what is known of the message before its content.
    :param stream: the stream to the client.
    :param sends_events: whether the turn's events are sent, in pings, which every client skips.
    """

    def __init__(
        self, heading: MessageHeading, stream: ResponseStream, *, sends_events: bool
    ) -> None:
        self._heading = heading
        self._stream = stream
        self._sends_events = sends_events
        self._begun = False
        self._blocks = 0
        self._open = ""

    async def write(self, part: AnswerPart) -> None:
        """Write one part. Reasoning after the text has begun is left out, as it would cut it."""
        if part.event is not None:
            if self._sends_events:
                await self._stream.write(message_event("ping", {"vanta": event_data(part.event)}))
            return
        events: list[bytes] = []
        if part.text:
            events += self._append("text", _text(""), {"type": "text_delta", "text": part.text})
        elif part.reasoning and self._heading.thinks and self._open != "text":
            delta = {"type": "thinking_delta", "thinking": part.reasoning}
            events += self._append("thinking", _thinking("", ""), delta)
        for call in part.calls:
            events += self._call(call)
        if part.reply is not None:
            events += self._end(part.reply)
        if events and not self._begun:
            self._begun = True
            events.insert(0, message_event("message_start", {"message": self._heading.start()}))
        if events:
            await self._stream.write(b"".join(events))

    def _append(self, kind: str, block: Mapping[str, Any], delta: Mapping[str, Any]) -> list[bytes]:
        events = []
        if self._open != kind:
            events += self._stop()
            events.append(self._at("content_block_start", {"content_block": block}))
            self._open = kind
        return [*events, self._at("content_block_delta", {"delta": delta})]

    def _call(self, call: ToolCall) -> list[bytes]:
        text = json.dumps(call_input(call), ensure_ascii=False)
        delta = {"type": "input_json_delta", "partial_json": text}
        return [*self._stop(), *self._append("tool_use", _tool_use(call, {}), delta), *self._stop()]

    def _stop(self) -> list[bytes]:
        """Return the events that end the open block, if there is one."""
        if not self._open:
            return []
        events = []
        if self._open == "thinking":
            delta = {"type": "signature_delta", "signature": SIGNATURE}
            events.append(self._at("content_block_delta", {"delta": delta}))
        events.append(self._at("content_block_stop", {}))
        self._blocks += 1
        self._open = ""
        return events

    def _end(self, reply: Reply) -> list[bytes]:
        last = {
            "delta": {"stop_reason": stop_reason(reply), "stop_sequence": None},
            "usage": usage_data(reply.usage),
            "vanta": self._heading.who(reply),
        }
        events = [message_event("message_delta", last), message_event("message_stop", {})]
        return [*self._stop(), *events]

    def _at(self, name: str, data: Mapping[str, Any]) -> bytes:
        return message_event(name, {"index": self._blocks, **data})


def message_event(name: str, data: Mapping[str, Any]) -> bytes:
    """Return a server-sent event of this protocol.

    :param name: its name, which is its type, too.
    :param data: the rest of its data.
    """
    text = json.dumps({"type": name, **data}, ensure_ascii=False, separators=(",", ":"))
    return f"event: {name}\ndata: {text}\n\n".encode("utf-8", "replace")


def stop_reason(reply: Reply) -> str:
    """Return why the answer ends, as the protocol names it."""
    if reply.tool_calls:
        return "tool_use"
    return _REASONS.get(reply.finish_reason or "stop", "end_turn")


def usage_data(usage: Usage | None) -> dict[str, int]:
    """Return token counts as the protocol has them: cached tokens are no part of `input_tokens`."""
    usage = usage or Usage(0, 0)
    cached = min(usage.cached_input_tokens, usage.input_tokens)
    return {
        "input_tokens": usage.input_tokens - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.output_tokens,
    }


def call_input(call: ToolCall) -> dict[str, Any]:
    """Return the arguments of a call as an object; empty if the model wrote no object."""
    try:
        value = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text, "citations": None}


def _thinking(text: str, signature: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "signature": signature}


def _tool_use(call: ToolCall, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments}
