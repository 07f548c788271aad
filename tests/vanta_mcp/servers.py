"""Toolsets of servers for tests."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from vanta import ToolContext, ToolResult
from vanta.config import McpServerConfig
from vanta_mcp.client.toolset import McpToolset
from vanta_mcp.settings import Server

FAKE = str(Path(__file__).with_name("fake_server.py"))


def fake(mode: str = "normal", **settings: Any) -> McpServerConfig:
    """Return the settings of the fake server."""
    return McpServerConfig(command=sys.executable, args=["-S", FAKE, mode], **settings)


@asynccontextmanager
async def opened(config: McpServerConfig, folder: Path | None = None) -> AsyncIterator[McpToolset]:
    """Yield the toolset of a server; close it at the end."""
    folder = folder or Path.cwd()
    toolset = McpToolset(Server("made", config, folder / "data", folder))
    try:
        yield toolset
    finally:
        with anyio.CancelScope(shield=True):
            await toolset.aclose()


async def call(
    toolset: McpToolset, name: str, seconds: float = 30.0, **arguments: Any
) -> ToolResult:
    """Call a tool as a turn does."""
    context = ToolContext(
        user="ada", call_id="1", idempotency_key="k1", ends_at=anyio.current_time() + seconds
    )
    return await toolset.call(name, arguments, context)
