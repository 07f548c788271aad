"""The MCP plugin, with real servers: programs, HTTP servers on loopback, and those of npm."""
