"""The routes of Ollama that answer at once: what there is, and vectors.

Invariant: the version is that of the protocol, since clients refuse servers that are too old.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

import vanta
from vanta import Runtime
from vanta_server.access import client_of
from vanta_server.embedding import EmbeddedTexts, embed_texts
from vanta_server.endpoint import Call, Endpoint
from vanta_server.fields import RequestBody, read_request
from vanta_server.ollama.names import LATEST, find_served, running, shown, tags
from vanta_server.ollama.requests import EmbedBody, EmbeddingsBody, ShowBody
from vanta_server.ollama.responses import json_line

VERSION = "0.33.0"
"""The version of Ollama whose protocol this is."""

GREETING = "Ollama is running"
"""What programs look for at `/`."""


def add_ollama_routes(api: FastAPI, runtime: Runtime) -> None:
    """Add the routes that take no body.

    :param api: the application.
    :param runtime: what answers.
    """

    @api.get("/api/version")
    async def version() -> dict[str, str]:
        """Return the version of the protocol."""
        return {"version": VERSION, "vanta": vanta.__version__}

    @api.get("/api/tags")
    async def list_tags() -> dict[str, Any]:
        """Return every model."""
        return tags(runtime)

    @api.get("/api/ps")
    async def list_running() -> dict[str, Any]:
        """Return the models that are loaded."""
        return running(runtime)

    @api.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def greet() -> PlainTextResponse:
        """Return what programs that look for Ollama expect."""
        return PlainTextResponse(GREETING)


class _LineErrors(Endpoint):
    def error_piece(self, body: Mapping[str, Any]) -> bytes:
        """Return an error as a line."""
        return json_line(body)


class ShowModel(_LineErrors):
    """The endpoint that describes a model.

    :param runtime: what answers.
    """

    async def answer(self, body: object, call: Call) -> None:
        """Answer one request."""
        request = read_request(ShowBody, body)
        model = find_served(self.runtime, request.model or request.name)
        await call.send_json(shown(self.runtime, model))


class OllamaEmbed(_LineErrors):
    """The endpoint of vectors.

    :param runtime: its memory has the embedder.
    """

    async def answer(self, body: object, call: Call) -> None:
        """Answer one request."""
        request = read_request(EmbedBody, body)
        began_at = anyio.current_time()
        embedded = await self.embedded(request, call, request.texts, dimensions=request.dimensions)
        await call.send_json(
            {
                "model": request.model,
                "embeddings": embedded.vectors.tolist(),
                "total_duration": round((anyio.current_time() - began_at) * 1e9),
                "load_duration": 0,
                "prompt_eval_count": embedded.tokens,
            }
        )

    async def embedded(
        self, request: RequestBody, call: Call, texts: list[str], *, dimensions: int | None = None
    ) -> EmbeddedTexts:
        """Return the vectors of texts.

        :param request: the request.
        :param call: the same.
        :param texts: the texts.
        :param dimensions: how many components the client wants; None for as many as there are.
        """
        client = client_of(call.scope)
        name = request.model.removesuffix(LATEST)
        return await embed_texts(self.runtime, client, name, texts, dimensions=dimensions)


class OllamaEmbeddings(OllamaEmbed):
    """The endpoint of one vector, the older form.

    :param runtime: its memory has the embedder.
    """

    async def answer(self, body: object, call: Call) -> None:
        """Answer one request."""
        request = read_request(EmbeddingsBody, body)
        embedded = await self.embedded(request, call, [request.prompt])
        await call.send_json({"embedding": embedded.vectors[0].tolist()})
