"""The Model Context Protocol: tools of MCP servers for models, and vanta as such a server.

Each server of `[mcp.servers]` is a toolset of its own. Invariant: a server is a stranger. What it
says of its tools is not believed unless the user trusts it, what it sends is bounded, and a server
that is broken is off with its reason while the others work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from vanta import Toolset, ToolsetContext, ToolsetFactory, hookimpl
from vanta.cli import Command
from vanta.config import McpServerConfig
from vanta_mcp.settings import Server, why_off

__all__ = ["vanta_commands", "vanta_configured_toolsets"]


class NoOptions(BaseModel):
    """A server has no options here: its settings stand in `[mcp.servers.NAME]`."""

    model_config = ConfigDict(extra="forbid")


@hookimpl
def vanta_configured_toolsets(config: Mapping[str, Any]) -> list[ToolsetFactory]:
    """Return a toolset for each server that is enabled."""
    servers = config.get("mcp", {}).get("servers", {})
    settings = {name: McpServerConfig.model_validate(table) for name, table in servers.items()}
    return [_factory(name, server) for name, server in settings.items() if server.enabled]


@hookimpl
def vanta_commands() -> dict[str, Command]:
    """Return the command `mcp`."""
    return {"mcp": Command("Use MCP servers, and be one.", "vanta_mcp.commands.app:app")}


def _factory(name: str, config: McpServerConfig) -> ToolsetFactory:
    def create(_options: NoOptions, context: ToolsetContext) -> Toolset:
        from vanta_mcp.client.toolset import McpToolset

        return McpToolset(Server(name, config, context.data_dir, context.project))

    return ToolsetFactory(
        name,
        f"MCP server at {config.url or config.command}",
        NoOptions,
        create,
        lambda _options: why_off(name, config),
        requires="mcp",
        extra="mcp",
    )
