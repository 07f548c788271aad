"""The toolset of one MCP server.

Invariant: each turn sees the server's tools as they are now: the list is kept only while the server
promises to announce its changes, or for as long as it says. A call is sent once.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from pydantic import BaseModel, ConfigDict

from vanta import (
    Tool,
    ToolContext,
    ToolError,
    ToolResult,
    Toolset,
    ToolsetContext,
    ToolsetFactory,
    did_you_mean,
)
from vanta.config import McpServerConfig
from vanta_mcp.client import results
from vanta_mcp.client.connection import LostCallError, ServerConnection
from vanta_mcp.client.elicitation import Elicitation, PersonLine
from vanta_mcp.client.reading import Reading
from vanta_mcp.loop_thread import LoopThread
from vanta_mcp.settings import Server, why_off

if TYPE_CHECKING:
    import mcp_types as types
    from mcp.client.client import Client

T = TypeVar("T")

MOST_PAGES = 50
SILENT_LIST_S = 60.0
"""Seconds that a list is kept if the server neither announces changes nor limits its life."""

NO_LIMIT_S = 86_400.0
"""The SDK's own limit of a call, out of the way: the toolset's counts, which can stand still."""

KEY_OF_CALL = "vanta/idempotency-key"
"""The entry of `_meta` with the idempotency key of a call, for servers that know it."""


class McpToolset(Toolset):
    """The tools of one server, and its resources and prompts.

    :param server: the server.
    :param connect: makes what carries the messages; None connects as the server's settings say.
    """

    def __init__(self, server: Server, connect: Callable[[], Any] | None = None) -> None:
        self.name = server.name
        self.list_timeout_s = server.config.start_timeout_s + 1.0
        self._server = server
        self._thread = LoopThread(f"mcp-{server.name}")
        self._elicitation = Elicitation(server, self._thread)
        self._connection = ServerConnection(
            server,
            connect or (lambda: transport_of(server)),
            self._thread,
            self._elicitation,
        )
        self._listed: dict[str, tuple[types.Tool | None, Tool]] = {}
        self._listed_at = (-1, -math.inf)

    async def tools(self) -> Sequence[Tool]:
        """Return the server's tools as they are now. See `Toolset.tools`."""
        return await self._thread.run(self._tools)

    async def call(
        self, name: str, arguments: Mapping[str, Any], context: ToolContext
    ) -> ToolResult:
        """Send one call to the server. See `Toolset.call`."""
        known = self._listed.get(name) or await self._listed_now(name)
        tool = known[0]
        if tool is None:
            return await self.reading.call(name, arguments)
        left_s = context.ends_at - anyio.current_time()
        seconds = max(0.1, min(self._server.config.timeout_s, left_s))
        outcome: list[ToolResult | Exception] = []
        with anyio.CancelScope(deadline=anyio.current_time() + seconds) as scope:
            async with self._elicitation.asking(_patient(context, scope)) as line:
                try:
                    outcome.append(
                        await self._thread.run(
                            lambda: self._call(tool.name, dict(arguments), context, line)
                        )
                    )
                except Exception as error:  # noqa: BLE001 - raised below, outside of the task group
                    outcome.append(error)
        if not outcome:
            raise ToolError(f"the server {self.name!r} did not answer within {seconds:.3g} s.")
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return outcome[0]

    @property
    def reading(self) -> Reading:
        """The resources and prompts of the server."""
        return Reading(self._server, self._use)

    async def describe(self) -> dict[str, Any]:
        """Connect and return what the server says of itself, as JSON-ready data.

        :raises ToolError: if it cannot be reached.
        """

        async def described(client: Client) -> dict[str, Any]:
            info, capabilities = client.server_info, client.server_capabilities
            return {
                "server": info and f"{info.name} {info.version}",
                "protocol": client.protocol_version,
                "capabilities": sorted(capabilities.model_dump(exclude_none=True)),
                "instructions": client.instructions,
            }

        return await self._use(described)

    async def aclose(self) -> None:
        """Close the connection; a program that was started for it ends. Idempotent."""
        await self._thread.aclose()

    async def _use(self, work: Callable[[Client], Awaitable[T]]) -> T:
        return await self._thread.run(lambda: self._connection.use(work))

    async def _listed_now(self, name: str) -> tuple[types.Tool | None, Tool]:
        await self.tools()
        known = self._listed.get(name)
        if known is None:
            hint = did_you_mean(name, self._listed)
            raise ToolError(f"the server {self.name!r} has no tool {name!r}. {hint}")
        return known

    async def _tools(self) -> list[Tool]:
        await self._connection.use(_nothing)  # a new connection counts as a change
        changes, until = self._listed_at
        if changes != self._connection.changes or until <= anyio.current_time():
            changes = self._connection.changes
            listed, ttl_s = await self._connection.use(self._walk)
            self._keep(listed, await self._connection.use(self.reading.tools))
            ttl_s = math.inf if self._connection.hears_changes else ttl_s
            self._listed_at = (changes, anyio.current_time() + ttl_s)
        return [tool for _, tool in self._listed.values()]

    async def _walk(self, client: Client) -> tuple[list[types.Tool], float]:
        """Return all pages of the list, and for how many seconds they hold."""
        tools: list[types.Tool] = []
        cursor, ttl_s = None, SILENT_LIST_S
        if client.server_capabilities.tools is None:
            return tools, ttl_s
        for _page in range(MOST_PAGES):
            page = await client.list_tools(cursor=cursor)
            tools += page.tools
            if page.ttl_ms is not None:
                ttl_s = min(ttl_s, page.ttl_ms / 1000)
            cursor = page.next_cursor
            if not cursor:
                return tools, ttl_s
        raise ToolError(f"the list of tools of server {self.name!r} does not come to an end.")

    def _keep(self, listed: Sequence[types.Tool], readers: Sequence[Tool]) -> None:
        """Replace the list; a tool that has not changed stays the same object."""
        before, kept = self._listed, {}
        for name, tool in results.tool_names(listed).items():
            if self._server.offers(tool.name):
                made = (tool, results.vanta_tool(name, tool, self._server))
                kept[name] = before[name] if before.get(name, (None,))[1:] == made[1:] else made
        for reader in readers:
            if reader.name not in kept and self._server.offers(reader.name):
                kept[reader.name] = (None, reader)
        self._listed = kept

    async def _call(
        self, name: str, arguments: dict[str, Any], context: ToolContext, line: PersonLine
    ) -> ToolResult:
        async def send(client: Client) -> types.CallToolResult:
            with self._elicitation.during(line):
                return await client.call_tool(
                    name,
                    arguments,
                    read_timeout_seconds=NO_LIMIT_S,
                    meta={KEY_OF_CALL: context.idempotency_key},  # type: ignore[arg-type]
                )

        try:
            return results.result_of_call(await self._connection.use(send), self._server)
        except LostCallError as error:
            return ToolResult(str(error), is_error=True, is_unknown=True)


def _patient(context: ToolContext, scope: anyio.CancelScope) -> ToolContext:
    """Return the context of a call whose time stands still while its person is asked."""
    ask = context.ask
    if ask is None:
        return context

    async def asking(question: str, choices: Sequence[str]) -> str | None:
        began_at, deadline, scope.deadline = anyio.current_time(), scope.deadline, math.inf
        try:
            return await ask(question, choices)
        finally:
            scope.deadline = deadline + anyio.current_time() - began_at

    return dataclasses.replace(context, ask=asking)


async def _nothing(_client: Client) -> None:
    """Connect, and no more."""


def transport_of(server: Server) -> Any:
    """Return what carries the messages to a server.

    :param server: the server.
    """
    if server.config.url is None:
        from vanta_mcp.client.stdio import ProgramTransport

        return ProgramTransport(server)
    from vanta_mcp.client.http import WebTransport
    from vanta_mcp.login.provider import stored_login

    return WebTransport(server, stored_login(server))


class NoOptions(BaseModel):
    """A server has no options here: its settings stand in `[mcp.servers.NAME]`."""

    model_config = ConfigDict(extra="forbid")


def toolset_factories(config: Mapping[str, Any]) -> list[ToolsetFactory]:
    """Return a factory for each server that is enabled.

    :param config: the effective configuration as data.
    """
    servers = config.get("mcp", {}).get("servers", {})
    settings = {name: McpServerConfig.model_validate(table) for name, table in servers.items()}
    return [_factory(name, server) for name, server in settings.items() if server.enabled]


def _factory(name: str, config: McpServerConfig) -> ToolsetFactory:
    def create(_options: NoOptions, context: ToolsetContext) -> Toolset:
        return McpToolset(Server(name, config, context.data_dir, context.project))

    def off(_options: NoOptions) -> str | None:
        return why_off(name, config)

    # The library is checked before a server is used, so that its lack is a reason, not an error.
    return ToolsetFactory(
        name,
        f"MCP server at {config.url or config.command}",
        NoOptions,
        create,
        off,
        requires="mcp",
        extra="mcp",
    )
