"""The conformance suite over a real socket, against a server backed by a scripted engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.openai.support import engine_at
from vanta.engine import Capabilities, Engine, GenerationRequest, Sampling, Tool
from vanta.messages import Delta, Message
from vanta.testing import EngineConformance, Hints, ScriptedEngine, Upstream

EVERYTHING = Capabilities(
    tools=True, grammar=True, json_schema=True, logprobs=True, prefix_continuation=True
)
NUMBERS = "one two three four five six seven eight nine ten eleven twelve " * 12


def script(request: GenerationRequest) -> Iterable[str]:
    if request.sampling.grammar is not None:
        return ["yes"]
    if request.sampling.json_schema is not None:
        return ['{"ok": true}']
    texts = {
        Hints.long_request.messages: NUMBERS,
        Hints.unicode_request.messages: "🙂🙃 naïve 日本語",
    }
    return [texts.get(request.messages, "Hello to you all.")]


def request_of(body: Mapping[str, Any]) -> GenerationRequest:
    """Return the request that a server reads from a body."""
    messages = [Message(m["role"], m.get("content") or "") for m in body["messages"]]
    prefix = messages.pop().content if messages and messages[-1].role == "assistant" else ""
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
    sampling = Sampling(
        max_tokens=body.get("max_tokens"),
        stop=tuple(body.get("stop", ())),
        grammar=body.get("grammar"),
        json_schema=schema,
        logprobs=body.get("top_logprobs"),
    )
    choice = body.get("tool_choice", "auto")
    return GenerationRequest(
        tuple(messages),
        sampling,
        tools=tuple(Tool(**tool["function"]) for tool in body.get("tools", ())),
        tool_choice=choice if isinstance(choice, str) else choice["function"]["name"],
        parallel_tool_calls=body.get("parallel_tool_calls", True),
        prefix=prefix,
    )


@asynccontextmanager
async def answers(body: Mapping[str, Any]) -> AsyncIterator[AsyncIterator[Delta]]:
    engine = ScriptedEngine(reply=script, capabilities=EVERYTHING)
    async with engine.stream(request_of(body)) as stream:
        yield aiter(stream)


class TestPlainServer(EngineConformance):
    """Capabilities that every OpenAI-compatible server has."""

    expects_exact_counts = False

    @pytest.fixture
    async def engine(self) -> AsyncIterator[Engine]:
        async with Upstream(generate=answers) as upstream, engine_at(upstream.base_url) as engine:
            yield engine


class TestExtendedServer(EngineConformance):
    """llama-server and similar ones, with all options on."""

    expects_exact_counts = False

    @pytest.fixture
    async def engine(self) -> AsyncIterator[Engine]:
        async with (
            Upstream(generate=answers) as upstream,
            engine_at(
                upstream.base_url, extended_sampling=True, prefix_continuation=True
            ) as engine,
        ):
            yield engine
