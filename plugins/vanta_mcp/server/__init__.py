"""vanta as an MCP server: ask, memory, and the user's tools, under the user's rules."""
