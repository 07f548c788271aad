"""A real engine behind an `Upstream`: the request in vanta's terms, its deltas as they come.

Invariant: what the client asks for reaches the engine or is an error; leaving the request stops the
engine.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from vanta.engine import Engine, GenerationRequest, Sampling, Tool
from vanta.messages import Delta, Message, ToolCall
from vanta.testing._respond import Generate

_SAME = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
    "typical_p",
    "dry_multiplier",
    "seed",
    "grammar",
)


def behind(engine: Engine) -> Generate:
    """What `Upstream(generate=...)` wants, answered by `engine`."""

    @asynccontextmanager
    async def generate(body: Mapping[str, Any]) -> AsyncIterator[AsyncIterator[Delta]]:
        async with engine.stream(parse_request(body)) as stream:
            yield stream

    return generate


def parse_request(body: Mapping[str, Any]) -> GenerationRequest:
    """The generation that a chat completion's body asks for.

    A last message of the assistant's is a prefix to go on from, as with llama-server.
    """
    messages = [_message(message) for message in body.get("messages", ())]
    continues = messages and messages[-1].role == "assistant" and not messages[-1].tool_calls
    prefix = messages.pop().content if continues else ""
    tools = tuple(_tool(tool["function"]) for tool in body.get("tools") or ())
    return GenerationRequest(tuple(messages), _sampling(body), tools, prefix)


def _sampling(body: Mapping[str, Any]) -> Sampling:
    stop = body.get("stop") or ()
    form = body.get("response_format") or {}
    wanted = (form.get("json_schema") or {}).get("schema")
    return Sampling(
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        logit_bias={int(token): bias for token, bias in (body.get("logit_bias") or {}).items()},
        logprobs=(body.get("top_logprobs") or 0) if body.get("logprobs") else None,
        json_schema={"type": "object"} if form.get("type") == "json_object" else wanted,
        **{name: body[name] for name in _SAME if body.get(name) is not None},
    )


def _message(raw: Mapping[str, Any]) -> Message:
    calls = tuple(
        ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in raw.get("tool_calls") or ()
    )
    return Message(raw["role"], _text(raw.get("content")), calls, raw.get("tool_call_id"))


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", json.dumps(part)) for part in content or ())


def _tool(raw: Mapping[str, Any]) -> Tool:
    return Tool(raw["name"], raw.get("description", ""), raw.get("parameters") or {})
