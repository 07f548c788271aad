"""A `GenerationRequest` in the words of OpenAI's chat completions.

https://platform.openai.com/docs/api-reference/chat/create. Invariant: pure; what cannot be said to
the server is an `Unsayable`, never left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from vanta.engine import GenerationRequest, Sampling, Tool
from vanta.messages import Message
from vanta_openai.options import OpenAIOptions

MaxTokensField = Literal["max_completion_tokens", "max_tokens"]
_PLAIN = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed")
_EXTENDED = {
    "top_k": ("top_k",),
    "min_p": ("min_p",),
    "repeat_penalty": ("repeat_penalty", "repetition_penalty"),  # llama-server's word and vLLM's
    "typical_p": ("typical_p",),
    "dry_multiplier": ("dry_multiplier",),
    "grammar": ("grammar",),
}


class Unsayable(Exception):  # noqa: N818 - it is what a request holds, not what went wrong
    """Something that the protocol, as configured, has no words for: `what`, and what `helps`."""

    def __init__(self, what: str, helps: str) -> None:
        self.what = what
        self.helps = helps
        super().__init__(what)


def body_of(
    request: GenerationRequest, model: str, options: OpenAIOptions, limit_name: MaxTokensField
) -> dict[str, Any]:
    """The keyword arguments of the SDK's `chat.completions.create` for a streamed answer."""
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        "messages": [*map(_message, request.messages), *_prefix(request, options)],
        "stream": True,
        **_sampling(sampling, limit_name),
    }
    if options.include_usage:
        body["stream_options"] = {"include_usage": True}
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    extra = {**_extended(sampling, options), **_continuation(request, options)}
    return {**body, "extra_body": extra} if extra else body


def _message(message: Message) -> dict[str, Any]:
    said: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        said["content"] = message.content or None
        said["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        said["tool_call_id"] = message.tool_call_id
    return said


def _tool(tool: Tool) -> dict[str, Any]:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
    }
    return {"type": "function", "function": function}


def _sampling(sampling: Sampling, limit_name: MaxTokensField) -> dict[str, Any]:
    said = {name: getattr(sampling, name) for name in _PLAIN}
    said[limit_name] = sampling.max_tokens
    said["stop"] = list(sampling.stop) or None
    said["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias.items()} or None
    said["top_logprobs"] = sampling.logprobs
    said["logprobs"] = None if sampling.logprobs is None else True
    if sampling.json_schema is not None:
        schema = {"name": "answer", "strict": True, "schema": dict(sampling.json_schema)}
        said["response_format"] = {"type": "json_schema", "json_schema": schema}
    return {name: value for name, value in said.items() if value is not None}


def _extended(sampling: Sampling, options: OpenAIOptions) -> dict[str, Any]:
    asked = {name: getattr(sampling, name) for name in _EXTENDED}
    asked = {name: value for name, value in asked.items() if value is not None}
    if asked and not options.extended_sampling:
        raise Unsayable(
            f"the OpenAI protocol has no {' and no '.join(map(repr, asked))}",
            "Leave it out, or set the option 'extended_sampling' if the server knows it.",
        )
    return {word: value for name, value in asked.items() for word in _EXTENDED[name]}


def _prefix(request: GenerationRequest, options: OpenAIOptions) -> Iterator[dict[str, Any]]:
    if not request.prefix:
        return
    if not options.prefix_continuation:
        raise Unsayable(
            "an answer that is already begun cannot be continued",
            "Set the option 'prefix_continuation' if the server can do that.",
        )
    yield {"role": "assistant", "content": request.prefix}


def _continuation(request: GenerationRequest, options: OpenAIOptions) -> dict[str, Any]:
    if request.prefix and options.prefix_continuation == "vllm":
        return {"continue_final_message": True, "add_generation_prompt": False}
    return {}
