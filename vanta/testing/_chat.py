"""How an `Upstream` answers one chat completion, in OpenAI's format.

https://platform.openai.com/docs/api-reference/chat. A `Responder` follows a `Behaviour`; a
`Format` turns its deltas into chunks, one frame each, or into a whole response.

Invariant: every wait can be cancelled, and only `Connection` touches the socket.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import anyio

from vanta.errors import EngineError, ErrorKind
from vanta.messages import Completion, Delta, FinishReason, Fold, TokenLogprob, ToolCallPart, Usage
from vanta.testing._behaviour import Behaviour, error_body
from vanta.testing._http import Connection, HttpExchange
from vanta.testing.steps import Waitable
from vanta.text import escaped_json

Generate = Callable[[Mapping[str, Any]], AbstractAsyncContextManager[AsyncIterator[Delta]]]
_STREAM = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "transfer-encoding": "chunked",
}
JSON = {"content-type": "application/json"}
_STATUS = {
    ErrorKind.MODEL_NOT_FOUND: 404,
    ErrorKind.CONTEXT_OVERFLOW: 400,
    ErrorKind.BAD_REQUEST: 400,
    ErrorKind.UNSUPPORTED: 400,
    ErrorKind.AUTH: 401,
    ErrorKind.RATE_LIMITED: 429,
    ErrorKind.OVERLOADED: 503,
    ErrorKind.LOADING: 503,
}


class Responder:
    """Answers one request by its behaviour, with the deltas of the behaviour or of an engine."""

    def __init__(
        self, connection: Connection, exchange: HttpExchange, behaviour: Behaviour, source: Generate
    ) -> None:
        self._connection = connection
        self._exchange = exchange
        self._behaviour = behaviour
        self._source = source
        self._fold = Fold()
        self._over = False
        body = exchange.body
        self._format = Format(
            id="chatcmpl-vanta",
            model=behaviour.model or str(body.get("model", "")),
            reasoning_field=behaviour.reasoning_field,
            logprobs=bool(body.get("logprobs")),
        )

    async def run(self) -> bool:
        """Answer the request; return whether the connection must be reset."""
        behaviour = self._behaviour
        await wait(behaviour.headers_after_s, behaviour.headers_gate)
        if behaviour.fault == "refuse":
            return True
        if behaviour.status != 200:
            await self._whole(behaviour.status, behaviour.error)
            return False
        try:
            return await self._answer()
        except EngineError as error:
            await self._fail(error)
            return False

    async def _answer(self) -> bool:
        async with self._source(self._exchange.body) as deltas:
            if self._exchange.body.get("stream"):
                return await self._stream(deltas)
            return await self._collect(deltas)

    async def _stream(self, deltas: AsyncIterator[Delta]) -> bool:
        self._exchange.status = 200
        await self._connection.send_head(200, {**_STREAM, **self._behaviour.headers})
        await self._open()
        while (delta := await self._next(deltas)) is not None:
            match self._due():
                case "cut":
                    await self._connection.send_half(frame(self._format.delta(delta)))
                    return True
                case "error_frame":
                    await self._connection.send_data(frame(self._behaviour.error))
                    await self._close()
                    return False
                case "malformed":
                    await self._connection.send_data(MALFORMED)
                case _:
                    pass
            await self._send(delta)
        await self._finish()
        await self._close()
        return False

    async def _open(self) -> None:
        if self._behaviour.role_delta:
            await self._connection.send_data(frame(self._format.role()))
        for _ in range(self._behaviour.empty_deltas):
            await self._connection.send_data(frame(self._format.empty()))

    async def _next(self, deltas: AsyncIterator[Delta]) -> Delta | None:
        """Return the next delta when it is due.

        A fault after the last delta comes with an additional empty one.
        """
        behaviour, n = self._behaviour, self._exchange.tokens_sent
        await wait(behaviour.gap_s if n else behaviour.ttft_s, behaviour.gates.get(n))
        if self._due() == "stall":
            await anyio.sleep_forever()
        delta = await anext(deltas, None)
        if delta is not None:
            self._fold.add(delta)
        elif self._due() and not self._over:
            self._over = True
            return Delta()
        return delta

    def _due(self) -> str | None:
        behaviour = self._behaviour
        return behaviour.fault if self._exchange.tokens_sent == behaviour.after else None

    async def _send(self, delta: Delta) -> None:
        if not (delta.text or delta.reasoning or delta.tool_calls):
            return
        self._exchange.note_token(delta)
        await self._connection.send_data(frame(self._format.delta(delta)))
        self._exchange.note_sent(delta)

    async def _finish(self) -> None:
        behaviour, answer = self._behaviour, self._fold.completion()
        reason = answer.finish_reason or behaviour.finish_reason
        await self._connection.send_data(frame(self._format.finish(reason)))
        wanted = (self._exchange.body.get("stream_options") or {}).get("include_usage")
        if behaviour.usage and wanted:
            await self._connection.send_data(frame(self._format.usage(self._usage())))
        if behaviour.done:
            await self._connection.send_data(DONE)

    async def _close(self) -> None:
        await self._connection.end()
        self._exchange.complete = True

    async def _collect(self, deltas: AsyncIterator[Delta]) -> bool:
        while (delta := await self._next(deltas)) is not None:
            match self._due():
                case "cut":
                    await self._connection.send_head(200, {**JSON, "content-length": "1000"})
                    await self._connection.send_data(b'{"id": ')
                    return True
                case "error_frame":
                    await self._whole(200, self._behaviour.error)
                    return False
                case "malformed":
                    await self._raw(b'{"id": "chatcmpl-1", "choices": [{"mess')
                    return False
                case _:
                    self._exchange.note_sent(delta)
        answer = self._fold.completion()
        reason = answer.finish_reason or self._behaviour.finish_reason
        usage = self._usage() if self._behaviour.usage else None
        await self._whole(
            200, self._format.whole(replace(answer, finish_reason=reason, usage=usage))
        )
        return False

    async def _fail(self, error: EngineError) -> None:
        status = status_of(error.kind)
        body = error_body(str(error), str(error.kind), "object", "engine_error")
        if self._exchange.status is None:
            await self._whole(status, body)
            return
        await self._connection.send_data(frame(body))
        await self._close()

    async def _whole(self, status: int, body: Mapping[str, Any]) -> None:
        self._exchange.status = status
        await self._raw(encode(body), status)

    async def _raw(self, body: bytes, status: int = 200) -> None:
        self._exchange.status = status
        await self._connection.send_whole(status, {**JSON, **self._behaviour.headers}, body)
        self._exchange.complete = True

    def _usage(self) -> Usage:
        known = self._fold.completion().usage
        return known or Usage(self._behaviour.prompt_tokens, self._exchange.tokens_sent)


class _Deltas:
    """An iterator, not a generator: it can be dropped half-way with nothing to close."""

    def __init__(self, deltas: Sequence[Delta]) -> None:
        self._rest = iter(deltas)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delta:
        for delta in self._rest:
            return delta
        raise StopAsyncIteration


def scripted(behaviour: Behaviour) -> Generate:
    """Return a source of the deltas of `behaviour`."""

    @asynccontextmanager
    async def source(_body: Mapping[str, Any]) -> AsyncIterator[AsyncIterator[Delta]]:
        yield _Deltas(behaviour.deltas)

    return source


def status_of(kind: ErrorKind) -> int:
    """Return the HTTP status of an error of a kind."""
    return _STATUS.get(kind, 500)


async def wait(seconds: float, gate: Waitable | None) -> None:
    """Wait for some seconds, then for a gate."""
    if seconds:
        await anyio.sleep(seconds)
    if gate is not None:
        await gate.wait()


DONE = b"data: [DONE]\n\n"
MALFORMED = b'data: {"id": "chatcmpl-1", "choices": [{"delta": {"conte\n\n'


def frame(data: Mapping[str, Any]) -> bytes:
    """Return a server-sent event with `data`."""
    return b"data: " + encode(data) + b"\n\n"


def encode(data: Mapping[str, Any]) -> bytes:
    """Return `data` as compact JSON."""
    return escaped_json(json.dumps(data, ensure_ascii=False, separators=(",", ":"))).encode()


@dataclass(frozen=True, slots=True)
class Format:
    """What all chunks of one answer have in common."""

    id: str
    model: str
    reasoning_field: str
    logprobs: bool

    def role(self) -> dict[str, Any]:
        """Return the chunk with only the role."""
        return self._chunk({"role": "assistant", "content": ""})

    def empty(self) -> dict[str, Any]:
        """Return a chunk without text."""
        return self._chunk({"content": ""})

    def delta(self, delta: Delta) -> dict[str, Any]:
        """Return the chunk of one delta."""
        body: dict[str, Any] = {"content": delta.text} if delta.text else {}
        if delta.reasoning:
            body[self.reasoning_field] = delta.reasoning
        if delta.tool_calls:
            body["tool_calls"] = [_call_part(part) for part in delta.tool_calls]
        return self._chunk(body, logprobs=self._logprobs(delta.logprobs))

    def finish(self, reason: FinishReason | None) -> dict[str, Any]:
        """Return the chunk that ends the answer."""
        return self._chunk({}, finish_reason=reason)

    def usage(self, usage: Usage) -> dict[str, Any]:
        """Return the chunk with the usage, which has no choices."""
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": usage_body(usage)}

    def whole(self, answer: Completion) -> dict[str, Any]:
        """Return the whole answer, for a client that did not request a stream."""
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
    """Return a usage under OpenAI's names."""
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
