"""The resources and prompts of a server, for models as tools and for people as lists.

Invariant: reading has the effect that the user believes of the server, like its tools.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vanta import Tool, ToolError, ToolResult
from vanta_mcp.client import results
from vanta_mcp.settings import Server

if TYPE_CHECKING:
    from mcp.client.client import Client

MOST_LISTED = 500

_RESOURCE = {"uri": "uri", "name": "name", "description": "description", "type": "mime_type"}
_TEMPLATE = {"uri": "uri_template", "name": "name", "description": "description"}
_PROMPT = {"name": "name", "description": "description"}

_TOOLS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "list_resources": ("List the resources (documents, data) of this server.", {}),
    "read_resource": (
        "Read one resource of this server.",
        {"uri": {"type": "string", "description": "Its URI, as the list shows it."}},
    ),
}


class Reading:
    """Lists and reads the resources and prompts of one server.

    :param server: the server.
    :param use: does something with the connected client.
    """

    def __init__(self, server: Server, use: Callable[..., Awaitable[Any]]) -> None:
        self._server = server
        self._use = use

    async def tools(self, client: Client) -> list[Tool]:
        """Return the tools that read resources, if the server has any.

        :param client: the connected client.
        """
        config = self._server.config
        if client.server_capabilities.resources is None or not await _has_resources(client):
            return []
        return [
            Tool(
                name,
                description,
                {
                    "type": "object",
                    "properties": dict(properties),
                    "required": list(properties),
                    "additionalProperties": False,
                },
                effect=config.effects.get(name) or ("read" if config.trust else "write"),
                private=config.private,
                untrusted=True,
                timeout_s=config.timeout_s,
            )
            for name, (description, properties) in _TOOLS.items()
        ]

    async def call(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        """Run one of these tools.

        :param name: its name.
        :param arguments: its arguments.
        :raises ToolError: if the server fails or has no such thing.
        """
        config = self._server.config
        if name == "read_resource":
            text = await self.read(str(arguments["uri"]))
            return ToolResult(text, source=str(arguments["uri"]), private=config.private)
        listed = await self.resources()
        lines = [" ".join(str(value) for value in item.values() if value) for item in listed]
        return ToolResult(
            "\n".join(lines) or "(nothing)",
            listed,
            source=f"MCP server {self._server.name}",
            private=config.private,
        )

    async def resources(self) -> list[dict[str, Any]]:
        """Return the resources and the templates of resources.

        :raises ToolError: if the server fails.
        """

        async def listed(client: Client) -> list[dict[str, Any]]:
            found = await _pages(client.list_resources, "resources")
            templates = await _pages(client.list_resource_templates, "resource_templates")
            return results.described(found, _RESOURCE) + results.described(templates, _TEMPLATE)

        return list(await self._use(listed))

    async def read(self, uri: str) -> str:
        """Return what a resource holds, as text.

        :param uri: its URI.
        :raises ToolError: if the server fails or has no such resource.
        """

        async def read(client: Client) -> str:
            return results.contents_text((await client.read_resource(uri)).contents)

        return str(await self._use(read))

    async def prompts(self) -> list[dict[str, Any]]:
        """Return the prompts, each with the names of its arguments.

        :raises ToolError: if the server fails.
        """

        async def listed(client: Client) -> list[dict[str, Any]]:
            found = await _pages(client.list_prompts, "prompts")
            names = [[item.name for item in prompt.arguments or ()] for prompt in found]
            return [
                {**item, "arguments": arguments}
                for item, arguments in zip(results.described(found, _PROMPT), names, strict=True)
            ]

        return list(await self._use(listed))

    async def prompt(self, name: str, arguments: Mapping[str, str]) -> str:
        """Return a prompt, filled in.

        :param name: its name.
        :param arguments: its arguments.
        :raises ToolError: if the server fails or has no such prompt.
        """

        async def filled(client: Client) -> str:
            found = await client.get_prompt(name, dict(arguments))
            return results.prompt_text(found.messages)

        return str(await self._use(filled))


async def _has_resources(client: Client) -> bool:
    from mcp.shared.exceptions import MCPError

    try:
        if (await client.list_resources()).resources:
            return True
        return bool((await client.list_resource_templates()).resource_templates)
    except MCPError:  # it declares what it does not have
        return False


async def _pages(fetch: Callable[..., Awaitable[Any]], key: str) -> Sequence[Any]:
    """Return the items of all pages of a list; () if the server does not have such a list."""
    from mcp.shared.exceptions import MCPError
    from mcp_types import METHOD_NOT_FOUND

    items: list[Any] = []
    cursor = None
    while len(items) < MOST_LISTED:
        try:
            page = await fetch(cursor=cursor)
        except MCPError as error:
            if error.code == METHOD_NOT_FOUND and not items:
                return ()
            raise
        new = getattr(page, key)
        items += new
        cursor = page.next_cursor
        if not cursor or not new:
            return items[:MOST_LISTED]
    raise ToolError(f"the list of {key} has more than {MOST_LISTED} entries")
