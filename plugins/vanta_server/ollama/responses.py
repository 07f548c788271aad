"""Answers as Ollama's clients read them: whole, and in lines of JSON.

Each line has a part of the answer; the last one has its reason, its counts and its durations in
nanoseconds, and vanta's own field. Invariant: the parts of all lines, joined, are the answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from vanta import Reply, ToolCall
from vanta_server.answers import AnswerPart, event_data, who_answered
from vanta_server.http import ResponseStream

_NS = 1_000_000_000
_REASONS = {"length": "length", "deadline": "length"}


@dataclass(frozen=True, slots=True)
class OllamaHeading:
    """What all lines of an answer have in common.

    :param model: the name as the client sent it.
    :param form: whether the answer is a message or a text.
    :param thinks: whether the client wants to read the reasoning.
    :param ignored: fields of the request that had no effect.
    """

    model: str
    form: Literal["chat", "generate"]
    thinks: bool
    ignored: Sequence[str]

    def line(
        self, text: str = "", *, thinking: str = "", calls: Sequence[ToolCall] = ()
    ) -> dict[str, Any]:
        """Return a line before the last one.

        :param text: more of the text.
        :param thinking: more of the reasoning.
        :param calls: calls that the client has to run.
        """
        reasoning = {"thinking": thinking} if thinking and self.thinks else {}
        if self.form == "generate":
            content: dict[str, Any] = {"response": text, **reasoning}
        else:
            message: dict[str, Any] = {"role": "assistant", "content": text, **reasoning}
            if calls:
                message["tool_calls"] = [_call(number, call) for number, call in enumerate(calls)]
            content = {"message": message}
        return {"model": self.model, "created_at": now(), **content, "done": False}

    def last(self, reply: Reply, *, whole: bool) -> dict[str, Any]:
        """Return the last line.

        :param reply: the answer.
        :param whole: whether no line comes before it.
        """
        line = (
            self.line(reply.text, thinking=reply.reasoning, calls=reply.tool_calls)
            if whole
            else self.line()
        )
        who = {**who_answered(reply), "ignored": list(self.ignored)}
        reason = _REASONS.get(reply.finish_reason or "", "stop")
        return {**line, "done": True, "done_reason": reason, **_figures(reply), "vanta": who}

    def loaded(self, took_s: float) -> dict[str, Any]:
        """Return the answer to a request that only loads the model.

        :param took_s: seconds that it took.
        """
        took_ns = round(took_s * _NS)
        durations = {"total_duration": took_ns, "load_duration": took_ns}
        return {**self.line(), "done": True, "done_reason": "load", **durations}


class LineWriter:
    """Writes the parts of an answer as lines.

    :param heading: what all lines have in common.
    :param stream: the stream to the client.
    :param sends_events: whether the turn's events are sent, each in a line without text.
    """

    def __init__(
        self, heading: OllamaHeading, stream: ResponseStream, *, sends_events: bool
    ) -> None:
        self._heading = heading
        self._stream = stream
        self._sends_events = sends_events

    async def write(self, part: AnswerPart) -> None:
        """Write one part."""
        if part.event is not None:
            if self._sends_events:
                await self._line({**self._heading.line(), "vanta": event_data(part.event)})
        elif part.reply is not None:
            await self._line(self._heading.last(part.reply, whole=False))
        elif part.text or part.calls:
            await self._line(self._heading.line(part.text, calls=part.calls))
        elif self._heading.thinks:
            await self._line(self._heading.line(thinking=part.reasoning))

    async def _line(self, data: Mapping[str, Any]) -> None:
        await self._stream.write(json_line(data))


def json_line(data: Mapping[str, Any]) -> bytes:
    """Return JSON as a line."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace") + b"\n"


def now() -> str:
    """Return the present time as the protocol writes it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _figures(reply: Reply) -> dict[str, int]:
    """Return counts and durations: all before the first content counts as reading the prompt."""
    total_s = reply.timings.duration_s
    prompt_s = min(total_s, reply.timings.first_content_s or total_s)
    figures = {"total_duration": round(total_s * _NS), "load_duration": 0}
    if reply.usage is not None:
        figures |= {
            "prompt_eval_count": reply.usage.input_tokens,
            "prompt_eval_duration": round(prompt_s * _NS),
            "eval_count": reply.usage.output_tokens,
            "eval_duration": max(1, round((total_s - prompt_s) * _NS)),
        }
    return figures


def _call(number: int, call: ToolCall) -> dict[str, Any]:
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        arguments = {}
    function = {
        "index": number,
        "name": call.name,
        "arguments": arguments if isinstance(arguments, dict) else {},
    }
    return {"id": call.id, "function": function}
