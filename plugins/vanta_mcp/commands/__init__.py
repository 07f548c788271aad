"""The commands of `vanta mcp`."""
