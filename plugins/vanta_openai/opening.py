"""Everything of a server's client that blocks: finding the server, importing the SDK, building.

Invariant: runs in a worker thread; raises EngineError and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vanta.errors import EngineError, ErrorKind
from vanta_openai.kinds import ADVICE
from vanta_openai.server import KeyProblem, Server, find_server

if TYPE_CHECKING:
    from vanta_openai.options import ServerOptions
    from vanta_openai.transport import Transport

NAME = "openai"


def open_transport(options: ServerOptions, model: str) -> tuple[Transport, Server]:
    """The client for the server of `options`, and that server."""
    try:
        server = find_server(options)
    except KeyProblem as problem:
        raise fault(ErrorKind.AUTH, str(problem), model=model) from None
    except ValueError as problem:
        raise fault(ErrorKind.BAD_REQUEST, str(problem), model=model) from None
    try:
        from vanta_openai.transport import Transport
    except ImportError as error:
        raise fault(
            ErrorKind.MODEL_NOT_LOADED,
            f"the OpenAI library cannot be imported ({error})",
            "Install it: pip install 'vanta[openai]'",
            model=model,
        ) from error
    return Transport(options, model, server), server


def fault(
    kind: ErrorKind, message: str, advice: str = "", *, model: str, server: Server | None = None
) -> EngineError:
    """An error in our own words."""
    return EngineError(
        kind,
        message,
        engine=NAME,
        model=model,
        server=server.label if server else None,
        suggestion=advice or ADVICE[kind],
    )
