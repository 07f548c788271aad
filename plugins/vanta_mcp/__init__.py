"""The Model Context Protocol: tools of MCP servers for models, and vanta as such a server.

Each server of `[mcp.servers]` is a toolset of its own. Invariant: a server is a stranger. What it
says of its tools is not believed unless the user trusts it, what it sends is bounded, and a server
that is broken is off with its reason while the others work.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from vanta import hookimpl
from vanta.cli import Command

if TYPE_CHECKING:
    from vanta import Check, ToolsetFactory

__all__ = ["vanta_checks", "vanta_commands", "vanta_configured_toolsets"]


@hookimpl
def vanta_configured_toolsets(config: Mapping[str, Any]) -> list[ToolsetFactory]:
    """Return a toolset for each server that is enabled."""
    from vanta_mcp.client.toolset import toolset_factories

    return toolset_factories(config)


@hookimpl
def vanta_checks() -> Iterable[Check]:
    """Return the check of the servers."""
    from vanta_mcp.server_check import server_check

    return (server_check(),)


@hookimpl
def vanta_commands() -> dict[str, Command]:
    """Return the command `mcp`."""
    return {"mcp": Command("Use MCP servers, and be one.", "vanta_mcp.commands.app:app")}
