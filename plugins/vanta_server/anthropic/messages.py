"""`POST /v1/messages`, and `POST /v1/messages/count_tokens`.

Invariant: a stream has `message_stop` if, and only if, it has the whole answer; counting generates
nothing and sends nothing to a model.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from functools import partial
from typing import Any

from vanta import read_message
from vanta_server.anthropic.requests import MessagesRequest
from vanta_server.anthropic.responses import MessageHeading, MessageWriter, message_event
from vanta_server.endpoint import Call, ClientTurn, Endpoint
from vanta_server.fields import read_request
from vanta_server.http import StreamFormat, run_beside

PING = message_event("ping", {})


class AnthropicMessages(Endpoint):
    """The endpoint of messages.

    :param runtime: what answers.
    """

    stream_format = StreamFormat("text/event-stream; charset=utf-8", PING)

    async def answer(self, body: object, call: Call) -> None:
        """Answer one request."""
        request = read_request(MessagesRequest, body)
        turn = self.turn(request, call)
        heading = MessageHeading(
            f"msg_{secrets.token_hex(12)}",
            request.model or turn.model.id,
            request.thinks,
            request.ignored,
        )
        if not request.stream:
            await call.send_json(heading.message(await self.whole(turn)))
            return
        writer = MessageWriter(heading, call.stream, sends_events=request.vanta.events)
        await run_beside(partial(self.write_parts, turn, writer.write), call.stream.keep_alive)
        await call.stream.close()

    def turn(self, request: MessagesRequest, call: Call) -> ClientTurn:
        """Return the turn that a request asks for.

        :param request: the request.
        :param call: the same.
        """
        model, client = self.find(request, call, request.user)
        return ClientTurn(
            model=model,
            client=client,
            messages=request.transcript(),
            options=request.options(model.options),
            tools=[*request.vanta.tools, *request.own_tools],
            tool_choice=request.choice,
        )

    def error_piece(self, body: Mapping[str, Any]) -> bytes:
        """Return an error as an event."""
        return message_event("error", body)


class CountTokens(AnthropicMessages):
    """The endpoint that counts the tokens of a prompt.

    Tracks count in tokens of their own; the largest count is returned, so that a prompt that fits
    by it fits each of them.

    :param runtime: its tracks count.
    """

    async def answer(self, body: object, call: Call) -> None:
        """Answer one request."""
        request = read_request(MessagesRequest, body)
        turn = self.turn(request, call)
        self.allow(turn)
        messages = [read_message(message) for message in turn.messages]
        counts = [0]
        for name in self.tracks_of(turn.options):
            engine = self.runtime.tracks[name].engine
            count = (await engine.count_tokens(messages)).value
            if request.own_tools:
                tools = await engine.count_tools(request.own_tools)
                count += tools.opening + sum(tools.tools)
            counts.append(count)
        await call.send_json({"input_tokens": max(counts)})
