"""The tables of MCP servers.

Invariant: a server has a command or a URL; what has both or neither is off. Values refer to secrets
by the name of an environment variable (`${NAME}`), which is read when the server is started.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vanta.config.tables import Name, Table, Text


class McpServerConfig(Table):
    """One MCP server, whose tools models may call."""

    enabled: bool = Field(default=True, description="Whether the server is used.")
    command: Text | None = Field(
        default=None, description="The program to start; it speaks MCP on stdin and stdout."
    )
    args: list[str] = Field(default_factory=list, description="The arguments of the program.")
    cwd: Text | None = Field(
        default=None, description="The folder it runs in; unset: the working directory."
    )
    env: dict[str, str] = Field(
        default_factory=dict,
        description="Variables for the program; it gets few others. `${NAME}` refers to your own.",
    )
    url: Text | None = Field(default=None, description="The URL of a server over HTTP.")
    headers: dict[str, str] = Field(
        default_factory=dict,
        description='HTTP headers; `"Bearer ${NAME}"` refers to an environment variable.',
    )
    oauth: bool = Field(
        default=True,
        description="Whether a server that asks for it is logged in to, by `vanta mcp auth NAME`.",
    )
    oauth_client_id: Text | None = Field(
        default=None, description="The client id at its login server; unset: one is registered."
    )
    private: bool = Field(
        default=False, description="True promises that it sends nothing off this machine."
    )
    trust: bool = Field(
        default=False,
        description="True believes its tools that declare that they only read, or can be repeated.",
    )
    effects: dict[Text, Literal["read", "idempotent", "write"]] = Field(
        default_factory=dict,
        description="What running a tool twice does, by tool; it beats what the server declares.",
    )
    allow_tools: list[Text] = Field(
        default_factory=lambda: ["*"], description="The tools that are offered; `*` is a wildcard."
    )
    deny_tools: list[Text] = Field(
        default_factory=list, description="Tools that are never offered; `*` is a wildcard."
    )
    timeout_s: Annotated[float, Field(gt=0, le=86_400)] = Field(
        default=60.0, description="Seconds that one call may take."
    )
    start_timeout_s: Annotated[float, Field(gt=0, le=600)] = Field(
        default=20.0, description="Seconds that the server may take to start and list its tools."
    )


class McpConfig(Table):
    """MCP servers, whose tools models may call."""

    servers: dict[Name, McpServerConfig] = Field(
        default_factory=dict, description="The servers, each a toolset of the same name."
    )
