"""What a server streams, frame by frame, as deltas.

Invariant: pure and tolerant. A frame that lacks what others have is no error; a frame of the wrong
shape raises `Malformed`, one that reports an error raises `ErrorFrame`, and nothing else is raised.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from vanta.messages import Delta, FinishReason, TokenLogprob, ToolCallPart, Usage

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
_BROKEN = ("error", "abort")
_WRONG_SHAPE = (
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RecursionError,
)


class Malformed(Exception):  # noqa: N818 - what the frame is
    """A frame that is not what the protocol says."""


class ErrorFrame(Exception):  # noqa: N818 - what the frame is
    """An error where a chunk should be; `error` is what the server says of it."""

    def __init__(self, error: object) -> None:
        self.error = error
        super().__init__("the server reported an error in the stream")


def delta_of(data: str, event: str = "message") -> Delta:
    """The delta of one frame; its finish reason and usage are the frame's, not yet the stream's."""
    try:
        frame = json.loads(data)
        if not isinstance(frame, dict):
            raise Malformed(f"a frame that is no JSON object: {_excerpt(data)}")
        _check_error(frame, event)
        return _delta(frame)
    except (
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise Malformed(f"a frame of the wrong shape: {_excerpt(data)}") from error


def usage_of(frame: Mapping[str, Any]) -> Usage | None:
    """The token counts in a frame, or None where there are none."""
    usage = frame.get("usage")
    if not isinstance(usage, dict) or usage.get("prompt_tokens") is None:
        return None
    details = usage.get("prompt_tokens_details") or {}
    return Usage(
        input_tokens=int(usage["prompt_tokens"]),
        output_tokens=int(usage.get("completion_tokens") or 0),
        cached_input_tokens=int(details.get("cached_tokens") or 0),
    )


def _check_error(frame: Mapping[str, Any], event: str) -> None:
    if frame.get("error"):
        raise ErrorFrame(frame["error"])
    if event == "error" or frame.get("object") == "error":
        raise ErrorFrame(frame)


def _delta(frame: Mapping[str, Any]) -> Delta:
    model = frame.get("model")
    choices = frame.get("choices") or []
    choice = choices[0] if choices else {}
    said = choice.get("delta") or {}
    finish = choice.get("finish_reason")
    if finish in _BROKEN:
        raise ErrorFrame(choice.get("error") or f"the server ended the answer with {finish!r}")
    return Delta(
        text=_text(said.get("content")) or _text(said.get("refusal")),
        # Servers in transition between the two names send both, with the same text.
        reasoning=_text(said.get("reasoning_content")) or _text(said.get("reasoning")),
        tool_calls=tuple(_parts(said.get("tool_calls") or ())),
        logprobs=tuple(_logprobs(choice.get("logprobs"))),
        # A reason that is not known here ended the answer all the same.
        finish_reason=_FINISH.get(str(finish), "stop") if finish else None,
        usage=usage_of(frame),
        model=model if isinstance(model, str) and model else None,
    )


def _text(value: object) -> str:
    if value is None or isinstance(value, dict):
        return ""
    if not isinstance(value, str):
        raise Malformed(f"text that is a {type(value).__name__}")
    return value


def _parts(calls: Any) -> Iterator[ToolCallPart]:
    for position, call in enumerate(calls):
        function = call.get("function") or {}
        arguments = function.get("arguments") or ""
        yield ToolCallPart(
            index=int(call.get("index", position) or 0),
            id=str(call.get("id") or ""),
            name=str(function.get("name") or ""),
            arguments=arguments if isinstance(arguments, str) else json.dumps(arguments),
        )


def _logprobs(logprobs: Any) -> Iterator[TokenLogprob]:
    entries = logprobs.get("content") if isinstance(logprobs, dict) else None
    for entry in entries or ():
        rivals = entry.get("top_logprobs") or ()
        top = tuple((str(rival["token"]), float(rival["logprob"])) for rival in rivals)
        yield TokenLogprob(str(entry["token"]), float(entry["logprob"]), top)


def _excerpt(data: str) -> str:
    return repr(data if len(data) <= 80 else data[:77] + "...")
