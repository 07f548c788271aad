"""`vanta mcp`: the servers of the configuration, what they offer, and logging in to them.

Invariant: a command starts the servers that it is about and no others. With `--json` stdout carries
one document and nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from vanta.cli import (
    ConfigOption,
    ExitCode,
    JsonOption,
    Setup,
    load_setup,
    print_json,
    print_line,
    print_status,
    print_table,
    printable,
    status_cell,
)
from vanta_mcp.commands.serve import serve

if TYPE_CHECKING:
    from vanta_mcp.client.toolset import McpToolset
    from vanta_mcp.settings import Server

T = TypeVar("T")

app = typer.Typer(help="Use MCP servers, and be one.", no_args_is_help=True)
app.command()(serve)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The server.")]
_LOGIN_S = 300.0


@app.callback()
def group() -> None:
    """Use MCP servers, and be one."""


@app.command("list")
def list_servers(json: JsonOption = False, config: ConfigOption = None) -> None:
    """List the servers of the configuration. Starts none; `vanta mcp check` does.

    --json: a list of objects with name, enabled, kind (program or http), where, private, trust and
    logged_in (null if the server is not logged in to).
    """
    listed = [_row(server) for server in _servers(load_setup(config))]
    if json:
        print_json(listed)
        return
    if not listed:
        print_status("No server is configured: name one under [mcp.servers.NAME].")
        return
    rows = [
        (
            item["name"],
            status_cell(True if item["enabled"] else None, ("on", "", "off")),
            item["where"],
            ", ".join(mark for mark in ("private", "trust", "logged_in") if item[mark]),
        )
        for item in listed
    ]
    print_table(("server", "", "where", "marks"), rows)


@app.command()
def check(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="The servers; none: all.")
    ] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Start servers, and say of each whether it works.

    The exit code is 1 if one does not. --json: a list of objects with name, ok, reason (why it is
    off, "" if it is not), server (its own name and version), protocol, capabilities and tools (how
    many).
    """
    setup = load_setup(config)
    servers = [_server(setup, name) for name in names] if names else _enabled(setup)

    async def checked(toolset: McpToolset) -> dict[str, Any]:
        from vanta import ToolError

        try:
            about = await toolset.describe()
            about["tools"] = len(await toolset.tools())
        except ToolError as error:
            return {"name": toolset.name, "ok": False, "reason": str(error)}
        return {"name": toolset.name, "ok": True, "reason": "", **about}

    reports = _each(servers, checked)
    if json:
        print_json(reports)
    for report in () if json else reports:
        good = f"{report.get('tools')} tools, {report.get('server')}, {report.get('protocol')}"
        print_line(f"{report['name']}: {good if report['ok'] else report['reason']}")
    if not reports:
        print_status("No server is configured: name one under [mcp.servers.NAME].")
    if not all(report["ok"] for report in reports):
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def tools(name: NameArgument, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Start a server and list its tools, as rules and models name them.

    --json: a list of objects with name, effect, private, untrusted, description and parameters.
    """

    async def listed(toolset: McpToolset) -> list[dict[str, Any]]:
        return [dataclasses.asdict(tool) for tool in await toolset.tools()]

    keys = ("name", "effect", "private", "untrusted", "description", "parameters")
    found = _one(load_setup(config), name, listed)
    if json:
        print_json([{key: item[key] for key in keys} for item in found])
        return
    rows = [
        (f"{name}.{item['name']}", item["effect"], _first_line(item["description"]))
        for item in found
    ]
    print_table(("tool", "effect", "what it does"), rows)


@app.command()
def resources(
    name: NameArgument,
    uri: Annotated[str, typer.Argument(metavar="[URI]", help="The resource to read.")] = "",
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """List the resources of a server, or print one.

    --json: a list of objects with uri, name, description and type; with URI an object with uri and
    text.
    """
    setup = load_setup(config)
    if uri:
        text = _one(setup, name, lambda toolset: toolset.reading.read(uri))
        print_json({"uri": uri, "text": text}) if json else print_line(text)
        return
    found = _one(setup, name, lambda toolset: toolset.reading.resources())
    if json:
        print_json(found)
        return
    rows = [(item["uri"], item["name"], _first_line(item["description"])) for item in found]
    print_table(("resource", "name", "what it is"), rows)


@app.command()
def prompts(
    name: NameArgument,
    prompt: Annotated[str, typer.Argument(metavar="[PROMPT]", help="The prompt to fill in.")] = "",
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Its arguments.")
    ] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """List the prompts of a server, or print one, filled in.

    --json: a list of objects with name, description and arguments (their names); with PROMPT an
    object with name and text.
    """
    setup = load_setup(config)
    if prompt:
        given = _pairs(arguments or [])
        text = _one(setup, name, lambda toolset: toolset.reading.prompt(prompt, given))
        print_json({"name": prompt, "text": text}) if json else print_line(text)
        return
    found = _one(setup, name, lambda toolset: toolset.reading.prompts())
    if json:
        print_json(found)
        return
    rows = [
        (item["name"], " ".join(item["arguments"]), _first_line(item["description"]))
        for item in found
    ]
    print_table(("prompt", "arguments", "what it is"), rows)


@app.command()
def auth(
    name: NameArgument,
    forget: Annotated[bool, typer.Option("--forget", help="Remove the stored login.")] = False,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page, or only print its URL.")
    ] = True,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Log in to a server that asks for it, in the browser; the login is stored for you alone.

    --json: an object with name, url, logged_in and tools (how many; null after --forget).
    """
    from vanta_mcp.commands.log_in import log_in
    from vanta_mcp.login.provider import token_file

    server = _server(load_setup(config), name)
    if server.config.url is None:
        raise typer.BadParameter(f"{name!r} is a program: it is not logged in to.")
    report: dict[str, Any] = {"name": name, "url": server.config.url}
    if forget:
        token_file(server).forget()
        report |= {"logged_in": False, "tools": None}
    else:
        count = log_in(server, open_browser=browser, timeout_s=_LOGIN_S, say=print_status)
        report |= {"logged_in": token_file(server).has_tokens, "tools": count}
    if json:
        print_json(report)
    elif forget:
        print_line(f"The login of {name!r} is forgotten.")
    elif report["logged_in"]:
        print_line(f"Logged in to {name!r}: {report['tools']} tools.")
    else:
        print_line(f"{name!r} works without a login: {report['tools']} tools.")


def _servers(setup: Setup) -> list[Server]:
    from vanta_mcp.settings import Server

    return [
        Server(name, server, setup.config.data_dir / "tools" / name, Path.cwd())
        for name, server in setup.config.mcp.servers.items()
    ]


def _enabled(setup: Setup) -> list[Server]:
    return [server for server in _servers(setup) if server.config.enabled]


def _server(setup: Setup, name: str) -> Server:
    from vanta import UnknownName

    servers = {server.name: server for server in _servers(setup)}
    if name not in servers:
        raise UnknownName("MCP server", name, servers)
    return servers[name]


def _row(server: Server) -> dict[str, Any]:
    from vanta import ToolError
    from vanta_mcp.login.token_file import TokenFile

    config = server.config
    logged_in = None
    if config.url is not None and config.oauth:
        try:
            url = server.expanded(config.url)
            logged_in = TokenFile(server.data_dir / "login.json", url).has_tokens
        except ToolError:
            logged_in = False
    return {
        "name": server.name,
        "enabled": config.enabled,
        "kind": "program" if config.url is None else "http",
        "where": server.where,
        "private": config.private,
        "trust": config.trust,
        "logged_in": logged_in,
    }


def _one(setup: Setup, name: str, work: Callable[[McpToolset], Awaitable[T]]) -> T:
    return _each([_server(setup, name)], work)[0]


def _each(servers: Sequence[Server], work: Callable[[McpToolset], Awaitable[T]]) -> list[T]:
    """Do some work with each of several servers at once, and close them."""
    import anyio

    from vanta_mcp.client.toolset import McpToolset

    results: dict[str, T] = {}

    async def run(server: Server) -> None:
        toolset = McpToolset(server)
        try:
            results[server.name] = await work(toolset)
        finally:
            with anyio.CancelScope(shield=True):
                await toolset.aclose()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for server in servers:
                tasks.start_soon(run, server)

    try:
        anyio.run(main)
    except BaseExceptionGroup as group:
        raise _first(group) from None
    return [results[server.name] for server in servers]


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _pairs(arguments: Sequence[str]) -> dict[str, str]:
    pairs = dict(item.partition("=")[::2] for item in arguments)
    if wrong := [item for item in arguments if "=" not in item]:
        raise typer.BadParameter(f"arguments are KEY=VALUE, not {wrong[0]!r}.")
    return pairs


def _first_line(text: str | None) -> str:
    return printable((text or "").strip().partition("\n")[0])[:200]
