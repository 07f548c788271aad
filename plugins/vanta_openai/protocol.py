"""OpenAI's wire format, in both directions: requests, streamed chunks, model lists, embeddings.

https://platform.openai.com/docs/api-reference. Invariant: pure, but for a salt. A request contains
everything that the caller set, or `UnsupportedFeatureError` is raised. Reading is tolerant: a chunk
may lack fields that others have; one of the wrong shape raises `MalformedChunkError`, one that
reports an error raises `ErrorChunkError`, and nothing else is raised.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vanta import (
    CallNumbering,
    Delta,
    EngineModel,
    FinishReason,
    GenerationRequest,
    Message,
    Sampling,
    TokenLogprob,
    Tool,
    ToolCallPart,
    Usage,
    read_content,
)
from vanta.normalising import AS_GIVEN, RoleRules, arranged
from vanta_openai.response_format import ResponseFormats
from vanta_openai.vision import message_parts, with_result_images

if TYPE_CHECKING:
    from vanta.memory import Vectors
    from vanta_openai.server import OpenAIOptions

_PLAIN_FIELDS = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed")
_EXTENDED_FIELDS = {
    "top_k": ("top_k",),
    "min_p": ("min_p",),
    "repeat_penalty": ("repeat_penalty", "repetition_penalty"),  # llama-server's name and vLLM's
    "typical_p": ("typical_p",),
    "dry_multiplier": ("dry_multiplier",),
    "grammar": ("grammar",),
}
_FINISH_REASONS: dict[str, FinishReason] = {
    **dict.fromkeys(("stop", "stop_sequence", "stop_token", "complete", "end_turn"), "stop"),
    **dict.fromkeys(("eos", "eos_token"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens", "model_length"), "length"),
    **dict.fromkeys(("tool_calls", "tool_call", "tool_use", "function_call"), "tool_calls"),
    **dict.fromkeys(("content_filter", "safety"), "content_filter"),
}
"""The protocol's own reasons, and those of TGI, Together, Mistral, Cohere, Gemini and Anthropic
behind compatible servers, in lower case."""

COMPLETION = "completion"
"""The event of a whole completion in place of a stream, whose size was checked before."""

LARGE_CHUNK, MOST_OBJECTS = 65_536, 30_000
"""Objects and lists in a chunk of more than that many characters: each takes much more memory and
time than the text that it is read from."""

MOST_PARTS = 1024
"""Parts of tool calls that are read of one chunk; an answer may have fewer calls."""

MOST_RIVALS, LONGEST_TOKEN = 20, 512
"""What is read of the logprobs: alternatives to a token, and characters of a token."""
_SALT = secrets.token_bytes(32)
"""Of this process, so that a scope does not reveal its salt."""

_NO_REASON = ("", "null", "none")
_FAILED_FINISH = ("error", "abort")
_INPUT_COUNTS = ("prompt_tokens", "input_tokens")
_OUTPUT_COUNTS = ("completion_tokens", "output_tokens")
_WINDOW_FIELDS = ("max_model_len", "context_length", "context_window", "max_context_length")
"""Fields in which vLLM, OpenRouter, Groq and LM Studio report the context window in tokens."""


@dataclass(frozen=True, slots=True)
class AnswerChunk:
    """One chunk of a stream.

    delta: its content; finish reason and usage belong to the chunk, not to the end of the stream.
    unknown_reason: a finish reason that is not part of the protocol, or "".
    """

    delta: Delta
    unknown_reason: str = ""


class UnsupportedFeatureError(Exception):
    """The protocol, as configured, cannot express a part of the request."""

    def __init__(self, problem: str, suggestion: str) -> None:
        self.problem = problem
        self.suggestion = suggestion
        super().__init__(problem)


class MalformedChunkError(Exception):
    """A chunk does not have the shape that the protocol prescribes."""


class ErrorChunkError(Exception):
    """The server sent an error in place of a chunk. error: the JSON value that it sent."""

    def __init__(self, error: object) -> None:
        self.error = error
        super().__init__("the server reported an error in the stream")


def chat_body(
    request: GenerationRequest,
    model: str,
    options: OpenAIOptions,
    *,
    is_openai: bool,
    rules: RoleRules = AS_GIVEN,
    formats: ResponseFormats | None = None,
) -> dict[str, Any]:
    """Return the keyword arguments of the SDK's `chat.completions.create` for a streamed answer.

    is_openai: the server is OpenAI's own. rules: the roles and the order that it accepts. formats:
    how it is asked for a checked answer of a schema. Raises UnsupportedFeatureError.
    """
    limit_field = options.max_tokens_field or (
        "max_completion_tokens" if is_openai else "max_tokens"
    )
    messages = with_result_images(arranged(request.messages, rules))
    body: dict[str, Any] = {
        "model": model,
        "messages": [*map(_message, messages), *_prefix(request, options)],
        "stream": True,
        **_sampling(request.sampling, limit_field),
    }
    if options.include_usage:
        body["stream_options"] = {"include_usage": True}
    schema = request.sampling.json_schema
    if schema is not None and formats is not None and request.checked:
        body.pop("response_format")
        body |= formats.field(schema)
    body |= _tools(request)
    extra = {
        **_extended_sampling(request.sampling, options),
        **_continuation(request, options),
        **_salt(request, options),
    }
    return {**body, "extra_body": extra} if extra else body


def _salt(request: GenerationRequest, options: OpenAIOptions) -> dict[str, Any]:
    """Return vLLM's field that keeps the cached prefixes of scopes apart; it reveals no scope."""
    if not options.cache_salt:
        return {}
    digest = hashlib.sha256(_SALT + request.scope.encode("utf-8", "replace"))
    return {"cache_salt": digest.hexdigest()}


def _message(message: Message) -> dict[str, Any]:
    payload: dict[str, Any] = {"role": message.role, "content": message_parts(message)}
    if message.tool_calls:
        payload["content"] = message.content or None
        payload["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        payload["tool_call_id"] = message.tool_call_id
    return payload


def _tools(request: GenerationRequest) -> dict[str, Any]:
    """Return the tools and how they may be called; what is the servers' default is left out."""
    if not request.tools:
        return {}
    fields: dict[str, Any] = {"tools": [_tool(tool) for tool in request.tools]}
    choice = request.tool_choice
    if choice in ("none", "required"):
        fields["tool_choice"] = choice
    elif choice != "auto":
        fields["tool_choice"] = {"type": "function", "function": {"name": choice}}
    if not request.parallel_tool_calls:
        fields["parallel_tool_calls"] = False
    return fields


def _tool(tool: Tool) -> dict[str, Any]:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
    }
    return {"type": "function", "function": function}


def _sampling(sampling: Sampling, limit_field: str) -> dict[str, Any]:
    fields = {name: getattr(sampling, name) for name in _PLAIN_FIELDS}
    fields[limit_field] = sampling.max_tokens
    fields["stop"] = list(sampling.stop) or None
    fields["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias.items()} or None
    fields["top_logprobs"] = sampling.logprobs
    fields["logprobs"] = None if sampling.logprobs is None else True
    if sampling.json_schema is not None:
        schema = {"name": "answer", "strict": True, "schema": dict(sampling.json_schema)}
        fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    return {name: value for name, value in fields.items() if value is not None}


def _extended_sampling(sampling: Sampling, options: OpenAIOptions) -> dict[str, Any]:
    values = {name: getattr(sampling, name) for name in _EXTENDED_FIELDS}
    values = {name: value for name, value in values.items() if value is not None}
    if values and not options.extended_sampling:
        raise UnsupportedFeatureError(
            f"the OpenAI protocol has no field for {', '.join(map(repr, values))}",
            "Remove it, or set the option 'extended_sampling' if the server supports it.",
        )
    return {field: value for name, value in values.items() for field in _EXTENDED_FIELDS[name]}


def _prefix(request: GenerationRequest, options: OpenAIOptions) -> Iterator[dict[str, Any]]:
    if not request.prefix:
        return
    if not options.prefix_continuation:
        raise UnsupportedFeatureError(
            "the OpenAI protocol cannot continue an answer from a given beginning",
            "Set the option 'prefix_continuation' if the server supports it.",
        )
    yield {"role": "assistant", "content": request.prefix}


def _continuation(request: GenerationRequest, options: OpenAIOptions) -> dict[str, Any]:
    if request.prefix and options.prefix_continuation == "vllm":
        return {"continue_final_message": True, "add_generation_prompt": False}
    return {}


def parse_chunk(data: str, numbering: CallNumbering, event: str = "message") -> AnswerChunk:
    """Return the chunk in one server-sent event, or a whole completion as one chunk.

    numbering: numbers the tool calls of the whole answer.
    Raises MalformedChunkError, ErrorChunkError.
    """
    is_large = event != COMPLETION and len(data) > LARGE_CHUNK
    if is_large and data.count("{") + data.count("[") > MOST_OBJECTS:
        raise MalformedChunkError(f"a chunk has more than {MOST_OBJECTS} objects")
    try:
        chunk = json.loads(data)
        if not isinstance(chunk, dict):
            raise MalformedChunkError(f"a chunk is not a JSON object: {_excerpt(data)}")
        _check_error(chunk, event)
        return _chunk(chunk, numbering)
    except (
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise MalformedChunkError(f"a chunk has the wrong shape: {_excerpt(data)}") from error


def _check_error(chunk: Mapping[str, Any], event: str) -> None:
    if chunk.get("error"):
        raise ErrorChunkError(chunk["error"])
    if event == "error" or chunk.get("object") == "error":
        raise ErrorChunkError(chunk)


def _chunk(chunk: Mapping[str, Any], numbering: CallNumbering) -> AnswerChunk:
    model = chunk.get("model")
    choices = chunk.get("choices") or []
    choice = choices[0] if choices else {}
    delta = choice.get("delta") or choice.get("message") or {}
    finish = str(choice.get("finish_reason") or "").strip().lower()
    if finish in _FAILED_FINISH:
        raise ErrorChunkError(choice.get("error") or f"the server ended the answer with {finish!r}")
    reason = _FINISH_REASONS.get(finish)
    text, hidden = read_content(delta.get("content"))
    # Servers in transition between these names send the same text under each.
    names = ("reasoning_content", "reasoning", "reasoning_details", "thinking")
    content = Delta(
        text=text or read_content(delta.get("refusal"))[0],
        reasoning=next(filter(None, (_reasoning(delta.get(name)) for name in names)), hidden),
        tool_calls=tuple(_tool_call_parts(delta.get("tool_calls") or (), numbering)),
        logprobs=tuple(_logprobs(choice.get("logprobs"))),
        finish_reason=reason,
        usage=_usage(chunk),
        model=model if isinstance(model, str) and model else None,
    )
    is_known = reason is not None or finish in _NO_REASON
    return AnswerChunk(content, "" if is_known else finish)


def _usage(chunk: Mapping[str, Any]) -> Usage | None:
    """Return the reported counts, 0 for one that is missing or no number; None if both are missing.

    `vanta.context.believed_usage` decides whether they are possible.
    """
    usage = chunk.get("usage")
    names = (*_INPUT_COUNTS, *_OUTPUT_COUNTS)
    if not isinstance(usage, dict) or all(usage.get(name) is None for name in names):
        return None
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    cached = _count(details, ("cached_tokens",)) if isinstance(details, dict) else 0
    return Usage(_count(usage, _INPUT_COUNTS), _count(usage, _OUTPUT_COUNTS), cached)


def _count(counts: Mapping[str, Any], names: tuple[str, ...]) -> int:
    """Return the first whole number of these names, or 0."""
    for name in names:
        value = counts.get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return 0


def _reasoning(value: object) -> str:
    """Return the text of a field for reasoning; objects of other meanings have none."""
    if isinstance(value, bool | int | float):
        return ""
    return "".join(read_content(value))


def _tool_call_parts(calls: Any, numbering: CallNumbering) -> Iterator[ToolCallPart]:
    for call in itertools.islice(calls, MOST_PARTS):
        function = call.get("function") or {}
        arguments = function.get("arguments") or ""
        index, call_id = call.get("index"), str(call.get("id") or "")
        name = str(function.get("name") or "")
        # Without index and id, only a name shows where the next call begins.
        begins = index is None and not call_id and bool(name)
        yield ToolCallPart(
            index=numbering.number(None if index is None else int(index), call_id, begins=begins),
            id=call_id,
            name=name,
            arguments=arguments if isinstance(arguments, str) else json.dumps(arguments),
        )


def _logprobs(logprobs: Any) -> Iterator[TokenLogprob]:
    entries = logprobs.get("content") if isinstance(logprobs, dict) else None
    for entry in entries or ():
        alternatives = (entry.get("top_logprobs") or ())[:MOST_RIVALS]
        top = tuple((_token(item), float(item["logprob"])) for item in alternatives)
        logprob = float(entry["logprob"])
        if not math.isnan(logprob):
            known = tuple(pair for pair in top if not math.isnan(pair[1]))
            yield TokenLogprob(_token(entry), logprob, known)


def _token(entry: Mapping[str, Any]) -> str:
    return str(entry["token"])[:LONGEST_TOKEN]


def _excerpt(data: str) -> str:
    return repr(data if len(data) <= 80 else data[:77] + "...")


def parse_models(listing: Any) -> list[EngineModel]:
    """Return the models in the JSON of `GET /models`; `data` may be null if there are none.

    Raises ValueError for any other shape.
    """
    if not isinstance(listing, dict) or "data" not in listing:
        raise ValueError("not a list of models")
    entries = listing["data"] or []
    if not isinstance(entries, list):
        raise ValueError("not a list of models")  # noqa: TRY004 - the input is wrong, not a call
    return [_model(entry) for entry in entries if isinstance(entry, dict) and entry.get("id")]


def _model(entry: dict[str, Any]) -> EngineModel:
    windows = (entry.get(name) for name in _WINDOW_FIELDS)
    counts = (value for value in windows if isinstance(value, int) and value is not True)
    window = next((value for value in counts if value > 0), None)
    return EngineModel(str(entry["id"]), window, entry)


def parse_embeddings(body: bytes, count: int) -> Vectors:
    """Return the vectors of `count` texts, in their order: finite, of length 1 or all zeros.

    Blocking. Raises ValueError with what is wrong with the response.
    """
    import numpy as np

    items = _embedding_items(json.loads(body))
    if len(items) != count:
        raise ValueError(f"{len(items)} vectors were returned for {count} texts")
    rows: list[Any] = [None] * count
    for position, item in enumerate(items):
        rows[_text_index(item, position, count)] = item["embedding"]
    if any(row is None for row in rows):
        raise ValueError("two vectors have the same index")
    try:
        matrix = np.array(rows, np.float64)
    except (TypeError, ValueError):
        raise ValueError("the vectors are not numbers, or differ in length") from None
    if matrix.ndim != 2 or not matrix.shape[1] or not np.isfinite(matrix).all():
        raise ValueError("the vectors are not rows of finite numbers")
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    vectors: Vectors = (matrix / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return vectors


def _embedding_items(response: Any) -> list[dict[str, Any]]:
    items = response.get("data") if isinstance(response, dict) else None
    if not isinstance(items, list) or not all(
        isinstance(item, dict) and "embedding" in item for item in items
    ):
        raise ValueError("it contains no list of vectors")
    return items


def _text_index(item: dict[str, Any], position: int, count: int) -> int:
    """Return which text an item belongs to; servers that omit the index keep the order."""
    index = item.get("index", position)
    if not isinstance(index, int) or not 0 <= index < count:
        raise ValueError(f"a vector has the index {index!r}, which is not one of {count} texts")
    return index
