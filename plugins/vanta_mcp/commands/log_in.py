"""Log in to one server, with a person at a browser.

Invariant: the URL that is opened is one of http or https, and is shown before it is opened.
"""

from __future__ import annotations

import dataclasses
import webbrowser
from collections.abc import Callable
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from vanta import ToolError
from vanta_mcp.client.http import WebTransport
from vanta_mcp.client.toolset import McpToolset
from vanta_mcp.login.browser import BrowserReturn
from vanta_mcp.login.provider import provider_of, token_file
from vanta_mcp.settings import Server


def log_in(
    server: Server, *, open_browser: bool, timeout_s: float, say: Callable[[str], None]
) -> int:
    """Log in to a server, and return how many tools it has.

    :param server: the server.
    :param open_browser: whether to open the page, or only to show its URL.
    :param timeout_s: seconds that the person has.
    :param say: shows a line to the person.
    :raises ToolError: if the server cannot be reached, or the login fails.
    """
    patient = dataclasses.replace(
        server, config=server.config.model_copy(update={"start_timeout_s": timeout_s + 60})
    )
    file, back = token_file(server), BrowserReturn(timeout_s)
    file.use_client(None)  # it names the port of an earlier login

    async def show(url: str) -> None:
        if urlsplit(url).scheme not in {"http", "https"}:
            raise ToolError(f"the login has the URL {url[:100]!r}, which is not opened.")
        say(f"Log in here: {url}")
        if open_browser:
            await anyio.to_thread.run_sync(webbrowser.open, url)

    async def main() -> int:
        provider = provider_of(server, file, back.uri, show, back.wait)
        toolset = McpToolset(patient, lambda: WebTransport(patient, provider))
        try:
            return len(await toolset.tools())
        finally:
            with anyio.CancelScope(shield=True):
                await toolset.aclose()

    try:
        return anyio.run(main)
    finally:
        back.close()
