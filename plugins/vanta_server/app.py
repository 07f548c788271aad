"""The application: FastAPI's JSON routes and plain ASGI for what streams, behind `Access`.

Invariant: every route is one of a protocol that clients already speak, or begins with what its name
says; every error has the shape that OpenAI's clients read.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route

from vanta import Runtime
from vanta_server.access import Access, AccessRules
from vanta_server.errors import ApiError, api_error
from vanta_server.http import App
from vanta_server.metrics import Metrics
from vanta_server.names import find_model, models
from vanta_server.openai.chat import ChatCompletions

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
    api.router.routes.append(
        Route("/v1/chat/completions", ChatCompletions(runtime), methods=["POST"])
    )
    api.add_exception_handler(Exception, _failure)
    api.add_exception_handler(HTTPException, _refusal)
    if metrics is None:
        return Access(api, rules)
    api.add_api_route("/metrics", metrics.page, include_in_schema=False)
    return metrics.counted(Access(api, rules), api)


def _add_models(api: FastAPI, runtime: Runtime) -> None:
    @api.get("/v1/models")
    async def list_models() -> dict[str, Any]:
        """Return every name that a request may ask for."""
        return {"object": "list", "data": [model.to_dict() for model in models(runtime)]}

    @api.get("/v1/models/{name:path}")
    async def get_model(name: str) -> Any:
        """Return one of them."""
        try:
            return find_model(runtime, name).to_dict()
        except Exception as error:  # noqa: BLE001 - the client reads it
            return _json(api_error(error))


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


async def _refusal(_request: Request, error: Exception) -> JSONResponse:
    """Return an error of the router, such as an unknown path."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it alone
    status = error.status_code
    problem = {404: "there is no such path", 405: "this path takes another method"}
    code = {404: "not_found", 405: "method_not_allowed"}.get(status)
    return _json(ApiError(status, problem.get(status, str(error.detail)), code=code))


async def _failure(_request: Request, error: Exception) -> JSONResponse:
    return _json(api_error(error))


def _json(error: ApiError) -> JSONResponse:
    return JSONResponse(error.body, error.status, dict(error.headers))
