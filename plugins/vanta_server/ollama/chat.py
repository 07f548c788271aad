"""`POST /api/chat` and `POST /api/generate`.

Invariant: a stream has a line with `done` if, and only if, it has the whole answer; an error after
its beginning is a line of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import anyio

from vanta import TurnOptions
from vanta_server.endpoint import Call, ClientTurn, Endpoint
from vanta_server.errors import ApiError
from vanta_server.fields import read_request
from vanta_server.http import JSON_LINES
from vanta_server.names import names_of
from vanta_server.ollama.names import find_served
from vanta_server.ollama.requests import ChatBody, GenerateBody
from vanta_server.ollama.responses import LineWriter, OllamaHeading, json_line


class OllamaChat(Endpoint):
    """The endpoint of conversations.

    :param runtime: what answers.
    """

    stream_format = JSON_LINES
    body_type: ClassVar[type[ChatBody] | type[GenerateBody]] = ChatBody
    form: ClassVar[Literal["chat", "generate"]] = "chat"

    async def answer(self, body: object, call: Call) -> None:
        """Answer one request."""
        request: ChatBody | GenerateBody = read_request(self.body_type, body)
        name = request.model
        request.model = find_served(self.runtime, name).id
        model, client = self.find(request, call)
        heading = OllamaHeading(name, self.form, request.thinks, request.ignored)
        if request.is_load:
            client.require_model(names_of(self.runtime, model.options))
            await call.send_json(await self._load(model.options, heading, unloads=request.unloads))
            return
        turn = ClientTurn(
            model=model,
            client=client,
            messages=request.transcript(),
            options=request.turn_options(model.options),
            tools=request.offered,
        )
        if not request.streams:
            await call.send_json(heading.last(await self.whole(turn), whole=True))
            return
        writer = LineWriter(heading, call.stream, sends_events=request.vanta.events)
        await self.write_parts(turn, writer.write)
        await call.stream.close()

    def error_piece(self, body: Mapping[str, Any]) -> bytes:
        """Return an error as a line."""
        return json_line(body)

    async def _load(
        self, options: TurnOptions, heading: OllamaHeading, *, unloads: bool
    ) -> dict[str, Any]:
        """Load the tracks of a model; a client cannot unload what others use."""
        if unloads:
            problem = "models stay loaded while this server runs: 'keep_alive' 0 has no effect"
            raise ApiError(400, problem, param="keep_alive")
        began_at = anyio.current_time()
        names = self.tracks_of(options)
        await self.runtime.warm_up(*names)
        return heading.loaded(anyio.current_time() - began_at)


class OllamaGenerate(OllamaChat):
    """The endpoint of single prompts.

    :param runtime: what answers.
    """

    body_type = GenerateBody
    form = "generate"
