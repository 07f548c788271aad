"""A client for the scenarios of `@modelcontextprotocol/conformance`: vanta's, or the SDK's own.

Run by the framework: `python -m tests.vanta_mcp.conformance_client vanta|sdk URL`, with the name of
the scenario in MCP_CONFORMANCE_SCENARIO.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx2
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata
from mcp_types import ElicitResult
from pydantic import AnyUrl

from vanta import ToolContext
from vanta.config import McpServerConfig
from vanta_mcp.client.http import WebTransport
from vanta_mcp.client.toolset import McpToolset
from vanta_mcp.login.browser import BrowserReturn
from vanta_mcp.login.provider import provider_of, stored_login, token_file
from vanta_mcp.settings import Server

NUMBERS = {"a": 5, "b": 3}


def visit(url: str) -> str:
    """Open a page as a browser does; return where it ends."""
    with urllib.request.urlopen(url) as page:  # noqa: S310 - of the framework, on loopback
        return str(page.geturl())


async def default(_question: str, _choices: Sequence[str]) -> str | None:
    """Answer as a person who takes what is proposed."""
    return "default"


async def as_vanta(url: str, scenario: str) -> None:
    """List and call everything, as vanta does."""
    folder = Path(tempfile.mkdtemp())
    server = Server("conformance", McpServerConfig(url=url), folder / "conformance", folder)
    back = BrowserReturn(20.0)

    async def show(page: str) -> None:
        visiting.append(asyncio.create_task(asyncio.to_thread(visit, page)))

    visiting: list[asyncio.Task[str]] = []
    logs_in = scenario.startswith("auth/")
    auth = provider_of(server, token_file(server), back.uri, show, back.wait) if logs_in else None
    toolset = McpToolset(server, lambda: WebTransport(server, auth or stored_login(server)))
    try:
        for tool in await toolset.tools():
            context = ToolContext(ends_at=anyio.current_time() + 20, ask=default)
            await toolset.call(tool.name, arguments_of(tool.parameters), context)
    finally:
        await toolset.aclose()
        back.close()


class Memory:
    """Keeps tokens in memory."""

    def __init__(self) -> None:
        self.tokens: Any = None
        self.client: Any = None

    async def get_tokens(self) -> Any:
        return self.tokens

    async def set_tokens(self, tokens: Any) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> Any:
        return self.client

    async def set_client_info(self, client_info: Any) -> None:
        self.client = client_info


async def as_sdk(url: str, scenario: str) -> None:
    """List and call everything, as the SDK's own client does."""
    codes: list[str] = []

    async def show(page: str) -> None:
        def follow() -> str:
            class Stop(urllib.request.HTTPRedirectHandler):
                def redirect_request(self, *_: Any) -> None:
                    return None

            try:
                urllib.request.build_opener(Stop).open(page)
            except urllib.error.HTTPError as answer:
                return str(answer.headers["Location"])
            return ""

        codes.append(await anyio.to_thread.run_sync(follow))

    async def back() -> AuthorizationCodeResult:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(codes[-1]).query)
        given = {name: values[0] for name, values in query.items()}
        return AuthorizationCodeResult(
            code=given["code"], state=given.get("state"), iss=given.get("iss")
        )

    async def accept(context: Any, params: Any) -> ElicitResult:
        del context
        fields = params.requested_schema["properties"]
        content = {name: field["default"] for name, field in fields.items() if "default" in field}
        return ElicitResult(action="accept", content=content)

    auth = None
    if scenario.startswith("auth/"):
        metadata = OAuthClientMetadata(redirect_uris=[AnyUrl("http://127.0.0.1:1/callback")])
        auth = OAuthClientProvider(url, metadata, Memory(), show, back)
    async with (
        httpx2.AsyncClient(auth=auth, timeout=20) as http,
        Client(
            streamable_http_client(url, http_client=http), elicitation_callback=accept
        ) as client,
    ):
        if client.server_capabilities.tools is not None:
            for tool in (await client.list_tools()).tools:
                await client.call_tool(tool.name, arguments_of(tool.input_schema))


def arguments_of(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments for a tool of the framework."""
    return {name: NUMBERS[name] for name in schema.get("properties", {}) if name in NUMBERS}


def main() -> None:
    """Run one scenario."""
    who, url = sys.argv[1:3]
    client = {"vanta": as_vanta, "sdk": as_sdk}[who]
    asyncio.run(client(url, os.environ.get("MCP_CONFORMANCE_SCENARIO", "")))


if __name__ == "__main__":
    main()
