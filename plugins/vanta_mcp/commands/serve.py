"""`vanta mcp serve`: be an MCP server for an editor or another agent.

Invariant: over stdio nothing but the protocol is written to stdout.
"""

from __future__ import annotations

import os
from typing import Annotated

import typer

from vanta.cli import ConfigOption, load_setup, open_runtime, print_status

PORT = 8377


def serve(
    http: Annotated[
        bool, typer.Option("--http", help="Serve HTTP on this machine instead of stdio.")
    ] = False,
    host: Annotated[str, typer.Option("--host", help="A loopback address.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, help="0: a free one.")] = PORT,
    token_env: Annotated[
        str,
        typer.Option("--token-env", metavar="NAME", help="The variable with a token for HTTP."),
    ] = "",
    private: Annotated[
        bool,
        typer.Option("--private", help="The client keeps everything on this machine."),
    ] = False,
    user: Annotated[
        str, typer.Option("--user", "-u", metavar="NAME", help="Whose memory and sessions.")
    ] = "default",
    config: ConfigOption = None,
) -> None:
    """Offer ask, the memory and your tools to an MCP client, under your rules.

    What a rule would ask you is asked by the client, if it can; otherwise it is denied.
    """
    import anyio

    token = os.environ.get(token_env, "")
    if token_env and not token:
        raise typer.BadParameter(f"the environment variable {token_env!r} is not set.")
    anyio.run(_serve, config, user, private, (host, port) if http else None, token)


async def _serve(
    source: str | None, user: str, private: bool, address: tuple[str, int] | None, token: str
) -> None:
    from vanta import Approval, ApprovalRequest
    from vanta_mcp.server.desk import MEMORY, ServerDesk
    from vanta_mcp.server.protocol import serve_http, serve_stdio

    setup = load_setup(source)
    use = list(setup.config.tools.use)
    if MEMORY not in use and setup.config.memory.enabled:
        use.append(MEMORY)
    desks: list[ServerDesk] = []

    async def approve(request: ApprovalRequest) -> Approval | bool:
        return await desks[0].approve(request)

    async with open_runtime(source, approve=approve, tools={"use": use}) as runtime:
        desk = ServerDesk(runtime, user, private=private, model_tools=setup.toolsets_in_use)
        desks.append(desk)
        if address is None:
            await serve_stdio(desk)
        else:
            await serve_http(
                desk,
                *address,
                token=token,
                started=lambda url: print_status(f"serving MCP at {url}"),
            )
