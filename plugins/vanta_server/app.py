"""The application: FastAPI's JSON routes and plain ASGI for what streams, behind `Access`.

Invariant: every route is one of a protocol that clients already speak, or begins with what its name
says; every error has the shape that the clients of that protocol read.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route

from vanta import Runtime
from vanta_server.access import Access, AccessRules
from vanta_server.anthropic.messages import AnthropicMessages, CountTokens
from vanta_server.anthropic.models import model_info, models_page
from vanta_server.error_shapes import error_answer, protocol_of
from vanta_server.errors import ApiError, api_error
from vanta_server.http import App
from vanta_server.metrics import Metrics
from vanta_server.names import find_model, models
from vanta_server.ollama.chat import OllamaChat, OllamaGenerate
from vanta_server.ollama.routes import (
    OllamaEmbed,
    OllamaEmbeddings,
    ShowModel,
    add_ollama_routes,
)
from vanta_server.openai.chat import ChatCompletions
from vanta_server.openai.completions import Completions
from vanta_server.openai.embeddings import Embeddings

VERSION_TITLE = "vanta"


def create_app(runtime: Runtime, rules: AccessRules, metrics: Metrics | None = None) -> App:
    """Return the application that serves a runtime.

    :param runtime: what answers; it must stay open while the application runs.
    :param rules: who may ask.
    :param metrics: what it counts; None for no `/metrics`.
    """
    api = FastAPI(title=VERSION_TITLE, docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    _add_models(api, runtime)
    _add_state(api, runtime)
    add_ollama_routes(api, runtime)
    streams = {
        "/v1/chat/completions": ChatCompletions(runtime),
        "/v1/completions": Completions(runtime),
        "/v1/embeddings": Embeddings(runtime),
        "/v1/messages": AnthropicMessages(runtime),
        "/v1/messages/count_tokens": CountTokens(runtime),
        "/api/chat": OllamaChat(runtime),
        "/api/generate": OllamaGenerate(runtime),
        "/api/show": ShowModel(runtime),
        "/api/embed": OllamaEmbed(runtime),
        "/api/embeddings": OllamaEmbeddings(runtime),
    }
    for path, endpoint in streams.items():
        api.router.routes.append(Route(path, endpoint, methods=["POST"]))
    api.add_exception_handler(Exception, _failure)
    api.add_exception_handler(HTTPException, _refusal)
    if metrics is None:
        return Access(api, rules)
    api.add_api_route("/metrics", metrics.page, include_in_schema=False)
    return metrics.counted(Access(api, rules), api)


def _add_models(api: FastAPI, runtime: Runtime) -> None:
    @api.get("/v1/models")
    async def list_models(request: Request) -> dict[str, Any]:
        """Return every name that a request may ask for."""
        served = models(runtime)
        if protocol_of(request.scope) == "anthropic":
            return models_page(served)
        return {"object": "list", "data": [model.to_dict() for model in served]}

    @api.get("/v1/models/{name:path}")
    async def get_model(name: str, request: Request) -> Any:
        """Return one of them."""
        try:
            model = find_model(runtime, name)
        except Exception as error:  # noqa: BLE001 - the client reads it
            return _json(api_error(error), request)
        if protocol_of(request.scope) == "anthropic":
            return model_info(model)
        return model.to_dict()


def _add_state(api: FastAPI, runtime: Runtime) -> None:
    @api.get("/health")
    async def health() -> dict[str, str]:
        """Return that the process answers."""
        return {"status": "ok"}

    @api.get("/ready")
    async def ready() -> Any:
        """Return whether a track could answer now."""
        able = 0
        for track in runtime.tracks.values():
            able += (await track.engine.health()).ok
        if able:
            return {"status": "ready", "tracks": able}
        return JSONResponse({"status": "no track can answer", "tracks": 0}, status_code=503)

    @api.get("/version")
    async def version() -> dict[str, str]:
        """Return vanta's version."""
        import vanta

        return {"version": vanta.__version__}


async def _refusal(request: Request, error: Exception) -> JSONResponse:
    """Return an error of the router, such as an unknown path."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it alone
    status = error.status_code
    problem = {404: "there is no such path", 405: "this path takes another method"}
    code = {404: "not_found", 405: "method_not_allowed"}.get(status)
    return _json(ApiError(status, problem.get(status, str(error.detail)), code=code), request)


async def _failure(request: Request, error: Exception) -> JSONResponse:
    return _json(api_error(error), request)


def _json(error: ApiError, request: Request) -> JSONResponse:
    answer = error_answer(error, request.scope)
    return JSONResponse(answer.body, answer.status, dict(answer.headers))
