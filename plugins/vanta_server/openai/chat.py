"""`POST /v1/chat/completions`: one or several turns on the client's transcript.

Plain ASGI, so that a client's leaving is noticed at once. Invariant: leaving cancels the turn; an
error before the first byte has its own status, and one after it is an event of the stream, which
ends without `[DONE]`.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any

from vanta import Reply, Runtime
from vanta_server.access import ANONYMOUS, Client, client_of
from vanta_server.answers import AnswerPart, answer_parts, may_replace
from vanta_server.errors import api_error
from vanta_server.http import (
    EventStream,
    Receive,
    Scope,
    Send,
    read_json,
    run_beside,
    run_together,
    send_json,
    until_disconnect,
)
from vanta_server.names import ServedModel, find_model, names_of
from vanta_server.openai.requests import ChatRequest, read_chat
from vanta_server.openai.responses import (
    DONE,
    Heading,
    calls_data,
    event_data,
    finish_reason,
    server_event,
    who_answered,
)

_log = logging.getLogger("vanta.server")


@dataclass(frozen=True, slots=True)
class _Chat:
    """A request with what its names mean."""

    request: ChatRequest
    model: ServedModel
    client: Client
    heading: Heading

    def arguments(self, number: int) -> dict[str, Any]:
        """Return the arguments of `Runtime.stream` for one of several answers."""
        client = self.client
        return {
            "messages": self.request.messages,
            "tools": self.request.offered(),
            "tool_choice": self.request.choice,
            "options": client.limited(self.request.options(self.model.options, number)),
            "user": client.user or ANONYMOUS,
            "session": client.session,
            "memory": bool(client.user),
            "store": bool(client.user and client.session),
        }


class ChatCompletions:
    """The endpoint.

    :param runtime: what answers.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        stream = EventStream(send, {"x-request-id": scope["state"]["request_id"]})
        try:
            body = await read_json(receive)
            chat = self._chat(read_chat(body), scope)

            async def answer() -> None:
                if chat.request.stream:
                    await self._stream(chat, stream)
                else:
                    await send_json(send, await self._whole(chat), headers=_id_header(scope))

            await run_beside(answer, partial(until_disconnect, receive))
        except ConnectionAbortedError:
            return
        except Exception as error:  # noqa: BLE001 - whatever breaks, the client reads an error
            await _report(error, scope, stream, send)

    def _chat(self, request: ChatRequest, scope: Scope) -> _Chat:
        client = client_of(scope, request.user)
        model = find_model(self._runtime, request.model)
        name = request.model or model.id
        heading = Heading(f"chatcmpl-{secrets.token_hex(12)}", int(time.time()), name)
        chat = _Chat(request, model, client, heading)
        client.require_model(names_of(self._runtime, request.options(model.options)))
        return chat

    async def _whole(self, chat: _Chat) -> dict[str, Any]:
        replies: dict[int, Reply] = {}

        async def answer(number: int) -> None:
            replies[number] = await self._runtime.complete(**chat.arguments(number))

        try:
            await run_together(answer, chat.request.answers)
        finally:
            chat.client.count(replies.values())
        ordered = [replies[number] for number in range(chat.request.answers)]
        return chat.heading.completion(ordered, chat.request.ignored)

    async def _stream(self, chat: _Chat, stream: EventStream) -> None:
        replies: dict[int, Reply] = {}

        async def answer(number: int) -> None:
            async with self._runtime.stream(**chat.arguments(number)) as turn:
                writer = _ChunkWriter(chat, stream, number)
                holds = self._holds(chat)
                async with aclosing(answer_parts(turn, holds=holds)) as parts:
                    async for part in parts:
                        await writer.write(part)
                replies[number] = turn.reply

        work = partial(run_together, answer, chat.request.answers)
        try:
            await run_beside(work, stream.keep_alive)
        finally:
            chat.client.count(replies.values())
        options = chat.request.stream_options
        known = [reply.usage for reply in replies.values() if reply.usage is not None]
        if options and options.include_usage and known:
            await stream.write(chat.heading.usage_chunk(sum(known[1:], known[0])))
        await stream.write(DONE)
        await stream.close()

    def _holds(self, chat: _Chat) -> bool:
        """Return whether the policy of this turn may replace what was shown."""
        options = chat.request.options(chat.model.options)
        if options.track is not None:
            return False
        policy = options.policy
        if policy is None:
            policy = self._runtime.usual_policy()
        elif isinstance(policy, str):
            policy = self._runtime.policies[policy]
        return may_replace(policy)


class _ChunkWriter:
    """Writes the parts of one answer as chunks; the first has the role."""

    def __init__(self, chat: _Chat, stream: EventStream, number: int) -> None:
        self._heading = chat.heading
        self._sends_events = chat.request.vanta.events
        self._ignored = chat.request.ignored
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
        elif part.calls:
            await self._chunk({"tool_calls": calls_data(part.calls, numbered=True)})
        elif part.reply is not None:
            who = {**who_answered(part.reply), "ignored": self._ignored}
            await self._chunk({}, reason=finish_reason(part.reply), vanta=who)

    async def _chunk(self, delta: Mapping[str, Any], **rest: Any) -> None:
        whole = {**self._role, **delta}
        self._role = {}
        await self._stream.write(self._heading.chunk(self._number, whole, **rest))


async def _report(error: Exception, scope: Scope, stream: EventStream, send: Send) -> None:
    """Send an error to the client, as a status or, once the stream has begun, as an event."""
    shown = api_error(error)
    if shown.status >= 500:
        _log.warning("request %s: %s", scope["state"]["request_id"], error)
    if stream.begun:
        await stream.write(server_event(shown.body))
        await stream.close()
        return
    await send_json(send, shown.body, shown.status, {**shown.headers, **_id_header(scope)})


def _id_header(scope: Scope) -> dict[str, str]:
    return {"x-request-id": scope["state"]["request_id"]}
