"""An MCP server of the newer era, over stdio, whose list of tools grows when it is called."""

from __future__ import annotations

from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("modern")


@server.tool()
async def grow(context: Context) -> str:
    """Add a tool."""
    server.add_tool(lambda: "new", name="new", description="Be new.")
    await context.notify_tools_changed()
    return "grown"


@server.resource("note://one")
def one() -> str:
    """Return the note."""
    return "the note"


@server.prompt()
def greet(name: str) -> str:
    """Greet someone."""
    return f"Greet {name}."


if __name__ == "__main__":
    server.run("stdio")
