"""A real engine behind an `Upstream`: chat completions and embeddings.

https://platform.openai.com/docs/api-reference/embeddings. Without an engine, embeddings are those
of `HashEmbedder`.

Invariant: what the client requests reaches the engine or is an error, leaving a request stops the
engine, and every wait can be cancelled.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio

from vanta.engine import Engine, GenerationRequest, Sampling, Tool
from vanta.errors import EngineError, ErrorKind, UsageError
from vanta.messages import Delta, Message, ToolCall
from vanta.testing._behaviour import Behaviour, error_body
from vanta.testing._chat import JSON, Generate, encode, status_of, wait
from vanta.testing._http import Connection, HttpExchange
from vanta.testing.hashing import HashEmbedder
from vanta.testing.steps import count_tokens

MOST = 2048
"""Most texts of one request."""

DIMENSION = 64
"""Components of a vector, unless the client requests a number."""


class EmbeddingResponder:
    """Answers one request for embeddings, with an engine's vectors or those of hashed words."""

    def __init__(
        self,
        connection: Connection,
        exchange: HttpExchange,
        behaviour: Behaviour,
        engine: Engine | None,
    ) -> None:
        self._connection = connection
        self._exchange = exchange
        self._behaviour = behaviour
        self._engine = engine

    async def run(self) -> bool:
        """Answer the request; return whether the connection must be reset."""
        behaviour = self._behaviour
        await wait(behaviour.headers_after_s, behaviour.headers_gate)
        if behaviour.status != 200:
            await self._whole(behaviour.status, encode(behaviour.error))
            return False
        match behaviour.fault:
            case "refuse":
                return True
            case "stall":
                await anyio.sleep_forever()
            case "error_frame":
                await self._whole(200, encode(behaviour.error))
                return False
            case _:
                pass
        status, body = await self._answer()
        return await self._send(status, encode(body))

    async def _send(self, status: int, body: bytes) -> bool:
        half = body[: len(body) // 2]
        if self._behaviour.fault == "cut":
            length = {"content-length": str(len(body))}
            await self._connection.send_head(status, {**JSON, **length})
            await self._connection.send_data(half)
            return True
        await self._whole(status, half if self._behaviour.fault == "malformed" else body)
        return False

    async def _answer(self) -> tuple[int, Mapping[str, Any]]:
        texts = self._texts()
        if not texts or len(texts) > MOST or not all(texts):
            message = f"'input' must be 1 to {MOST} texts, none of them empty."
            return 400, error_body(message, None, "object", "invalid_request_error")
        try:
            vectors = await self._vectors(texts)
        except EngineError as error:
            body = error_body(str(error), str(error.kind), "object", "engine_error")
            return status_of(error.kind), body
        data = [
            {"object": "embedding", "index": index, "embedding": self._encoded(vector)}
            for index, vector in enumerate(vectors)
        ]
        tokens = sum(map(count_tokens, texts))
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        model = self._behaviour.model or str(self._exchange.body.get("model", ""))
        return 200, {"object": "list", "data": data, "model": model, "usage": usage}

    def _texts(self) -> Sequence[str]:
        value = self._exchange.body.get("input")
        texts = [value] if isinstance(value, str) else value
        valid = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
        return texts if valid and texts else ()

    async def _vectors(self, texts: Sequence[str]) -> list[list[float]]:
        if self._engine is not None:
            return await self._engine.embed(texts)
        dimension = int(self._exchange.body.get("dimensions") or DIMENSION)
        vectors: list[list[float]] = (await HashEmbedder(dimension).embed(texts)).tolist()
        return vectors

    def _encoded(self, vector: Sequence[float]) -> Sequence[float] | str:
        if self._exchange.body.get("encoding_format") != "base64":
            return vector
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()

    async def _whole(self, status: int, body: bytes) -> None:
        self._exchange.status = status
        await self._connection.send_whole(status, {**JSON, **self._behaviour.headers}, body)
        self._exchange.complete = True


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
    """Return a source of deltas, for `Upstream(generate=...)`, that `engine` generates."""

    @asynccontextmanager
    async def generate(body: Mapping[str, Any]) -> AsyncIterator[AsyncIterator[Delta]]:
        try:
            request = parse_request(body)
        except UsageError as error:
            raise EngineError(
                ErrorKind.BAD_REQUEST, str(error), engine=engine.name, model=engine.model
            ) from None
        async with engine.stream(request) as stream:
            yield stream

    return generate


def parse_request(body: Mapping[str, Any]) -> GenerationRequest:
    """Return the generation that the body of a chat completion requests.

    An assistant message at the end is a prefix to continue, as in llama-server.
    """
    messages = [_message(message) for message in body.get("messages", ())]
    continues = messages and messages[-1].role == "assistant" and not messages[-1].tool_calls
    prefix = messages.pop().content if continues else ""
    tools = tuple(_tool(tool["function"]) for tool in body.get("tools") or ())
    return GenerationRequest(
        tuple(messages),
        _sampling(body),
        tools,
        tool_choice=_tool_choice(body.get("tool_choice")),
        parallel_tool_calls=body.get("parallel_tool_calls") is not False,
        prefix=prefix,
    )


def _tool_choice(choice: Any) -> str:
    return str(choice["function"]["name"] if isinstance(choice, dict) else choice or "auto")


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
