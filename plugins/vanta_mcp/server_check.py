"""The check of MCP servers for `vanta doctor`: which of them answer, and why the others do not.

Invariant: it starts the servers that every turn would start and no others, all at once, and leaves
none of them running. What a server says of itself is not repeated; only its tools are counted.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from vanta import Check, DiagnosisContext, Finding, ToolError, install_hint

if TYPE_CHECKING:
    from vanta.config import McpServerConfig

NAME = "MCP servers"
MOST_S = 20.0
"""Seconds that a server has to list its tools, unless its own `start_timeout_s` is shorter."""

_CLOSING_S = 10.0


def server_check() -> Check:
    """Return the check."""
    return Check(NAME, _check, timeout_s=MOST_S + _CLOSING_S)


async def _check(context: DiagnosisContext) -> Finding:
    servers = context.config.mcp.servers
    enabled = {name: server for name, server in servers.items() if server.enabled}
    untrusted = _untrusted(context)
    if enabled and importlib.util.find_spec("mcp") is None:
        return Finding(NAME, False, "the library 'mcp' is not installed", install_hint("mcp"))
    reports = await _ask_all(enabled, context.config.data_dir)
    broken = [name for name in enabled if not reports[name].startswith("works")]
    lines = [f"{name!r} {reports[name]}" for name in enabled]
    lines += [f"{name!r} is off: enabled is false" for name in servers if name not in enabled]
    if untrusted:
        lines.append(f"not used, since the project is not trusted: {', '.join(untrusted)}")
    detail = "; ".join(line.rstrip(".") for line in lines) or "none is configured"
    if broken:
        return Finding(NAME, False, detail, f"vanta mcp check {' '.join(broken)}")
    if untrusted and context.project is not None:
        return Finding(NAME, None, detail, context.project.command)
    return Finding(NAME, True, detail)


def _untrusted(context: DiagnosisContext) -> list[str]:
    """Return the servers that the project of the working directory names, and that do not count."""
    keys = [item.setting.key for item in context.project.ignored] if context.project else []
    return sorted({repr(key[2]) for key in keys if key[:2] == ("mcp", "servers") and len(key) > 2})


async def _ask_all(servers: Mapping[str, McpServerConfig], data_dir: Path) -> dict[str, str]:
    """Start servers at once; return a half sentence for each: "works ..." or why it does not."""
    reports = dict.fromkeys(servers, f"did not list its tools within {MOST_S:g} s")

    async def ask(name: str) -> None:
        with anyio.move_on_after(MOST_S):
            reports[name] = await _ask(name, servers[name], data_dir)

    async with anyio.create_task_group() as tasks:
        for name in servers:
            tasks.start_soon(ask, name)
    return reports


async def _ask(name: str, config: McpServerConfig, data_dir: Path) -> str:
    from vanta_mcp.client.toolset import McpToolset
    from vanta_mcp.settings import Server, why_off

    reason = why_off(name, config)
    if reason is not None:
        return f"is off: {reason}"
    toolset = McpToolset(Server(name, config, data_dir / "tools" / name, Path.cwd()))
    try:
        count = len(await toolset.tools())
    except ToolError as error:
        return f"does not answer: {error}"
    finally:
        with anyio.CancelScope(shield=True):
            await toolset.aclose()
    return f"works ({count} {'tool' if count == 1 else 'tools'})"
