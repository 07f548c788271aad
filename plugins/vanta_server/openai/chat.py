"""`POST /v1/chat/completions`: one or several turns on the client's transcript.

Invariant: a stream ends with `[DONE]` if, and only if, it has the whole answer.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from vanta import Reply
from vanta_server.access import Client
from vanta_server.answers import AnswerPart, event_data, who_answered
from vanta_server.endpoint import Call, ClientTurn, Endpoint
from vanta_server.fields import read_request
from vanta_server.http import ResponseStream, run_beside, run_together
from vanta_server.names import ServedModel
from vanta_server.openai.logprobs import chat_logprobs
from vanta_server.openai.requests import ChatRequest
from vanta_server.openai.responses import (
    DONE,
    Heading,
    calls_data,
    finish_reason,
    server_event,
    total_usage,
)


@dataclass(frozen=True, slots=True)
class _Chat:
    """A request with what its names mean."""

    request: ChatRequest
    model: ServedModel
    client: Client
    heading: Heading

    def turn(self, number: int) -> ClientTurn:
        """Return the turn of one of several answers."""
        return ClientTurn(
            model=self.model,
            client=self.client,
            messages=self.request.messages,
            options=self.request.options(self.model.options, number),
            tools=self.request.offered,
            tool_choice=self.request.choice,
        )


class ChatCompletions(Endpoint):
    """The endpoint.

    :param runtime: what answers.
    """

    async def answer(self, body: object, call: Call) -> None:
        """Answer one request."""
        request = read_request(ChatRequest, body)
        model, client = self.find(request, call, request.user)
        name = request.model or model.id
        heading = Heading(f"chatcmpl-{secrets.token_hex(12)}", int(time.time()), name)
        chat = _Chat(request, model, client, heading)
        if request.stream:
            await self._stream(chat, call.stream)
        else:
            await call.send_json(await self._whole(chat))

    def error_piece(self, body: Mapping[str, Any]) -> bytes:
        """Return an error as an event."""
        return server_event(body)

    async def _whole(self, chat: _Chat) -> dict[str, Any]:
        replies: dict[int, Reply] = {}

        async def answer(number: int) -> None:
            replies[number] = await self.whole(chat.turn(number))

        await run_together(answer, chat.request.answers)
        ordered = [replies[number] for number in range(chat.request.answers)]
        return chat.heading.completion(ordered, chat.request.ignored, chat.request.rivals)

    async def _stream(self, chat: _Chat, stream: ResponseStream) -> None:
        replies: dict[int, Reply] = {}

        async def answer(number: int) -> None:
            writer = _ChunkWriter(chat, stream, number)
            replies[number] = await self.write_parts(chat.turn(number), writer.write)

        work = partial(run_together, answer, chat.request.answers)
        await run_beside(work, stream.keep_alive)
        options = chat.request.stream_options
        usage = total_usage(list(replies.values()))
        if options and options.include_usage and usage:
            await stream.write(chat.heading.usage_chunk(usage))
        await stream.write(DONE)
        await stream.close()


class _ChunkWriter:
    """Writes the parts of one answer as chunks; the first has the role."""

    def __init__(self, chat: _Chat, stream: ResponseStream, number: int) -> None:
        self._heading = chat.heading
        self._sends_events = chat.request.vanta.events
        self._ignored = chat.request.ignored
        self._rivals = chat.request.rivals
        self._stream = stream
        self._number = number
        self._role: dict[str, Any] = {"role": "assistant", "content": ""}

    async def write(self, part: AnswerPart) -> None:
        """Write one part."""
        if part.event is not None:
            if self._sends_events:
                await self._chunk({}, vanta=event_data(part.event))
        elif part.text:
            await self._chunk({"content": part.text})
        elif part.reasoning:
            await self._chunk({"reasoning_content": part.reasoning})
        elif part.calls:
            await self._chunk({"tool_calls": calls_data(part.calls, numbered=True)})
        elif part.reply is not None:
            who = {**who_answered(part.reply), "ignored": self._ignored}
            tokens = chat_logprobs(part.reply, self._rivals)
            reason = finish_reason(part.reply)
            await self._chunk({}, reason=reason, logprobs=tokens, vanta=who)

    async def _chunk(self, delta: Mapping[str, Any], **rest: Any) -> None:
        whole = {**self._role, **delta}
        self._role = {}
        await self._stream.write(self._heading.chunk(self._number, whole, **rest))
