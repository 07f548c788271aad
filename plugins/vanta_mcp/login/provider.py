"""How a server over HTTP is logged in to.

Invariant: only `vanta mcp auth` opens a browser and waits for a person. A runtime uses the tokens
that are stored, refreshes them, and otherwise reports that a login is needed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2

from vanta import ToolError
from vanta_mcp.login.token_file import TokenFile
from vanta_mcp.settings import Server

if TYPE_CHECKING:
    from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider

_ANY_REDIRECT = "http://127.0.0.1:1/callback"


def stored_login(server: Server) -> httpx2.Auth | None:
    """Return what logs a runtime in to a server; None if its settings say that nothing does.

    :param server: the server.
    :raises ToolError: if the stored tokens cannot be read.
    """
    config = server.config
    if not config.oauth or any(name.lower() == "authorization" for name in config.headers):
        return None
    file = token_file(server)
    if not file.has_tokens:
        return LoginHint(server.name)

    async def needs_person(_url: str) -> None:
        raise _login_needed(server.name, "The stored login counts no longer.")

    async def never() -> AuthorizationCodeResult:
        raise _login_needed(server.name, "")

    return provider_of(server, file, _ANY_REDIRECT, needs_person, never)


def token_file(server: Server) -> TokenFile:
    """Return the file of a server's tokens, which need not exist.

    :param server: the server.
    :raises ToolError: if it cannot be read.
    """
    return TokenFile(Path(server.data_dir) / "login.json", server.expanded(server.config.url or ""))


def provider_of(
    server: Server,
    file: TokenFile,
    redirect_uri: str,
    show: Callable[[str], Awaitable[None]],
    wait: Callable[[], Awaitable[AuthorizationCodeResult]],
) -> OAuthClientProvider:
    """Return the SDK's provider for a server.

    :param server: the server.
    :param file: keeps the tokens.
    :param redirect_uri: where the login server sends the browser.
    :param show: shows a person the URL of the login.
    :param wait: waits for the browser to come back.
    """
    from mcp.client.auth import OAuthClientProvider
    from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata
    from pydantic import AnyUrl

    provider = OAuthClientProvider(
        server.expanded(server.config.url or ""),
        OAuthClientMetadata(
            client_name="vanta",
            redirect_uris=[AnyUrl(redirect_uri)],
            token_endpoint_auth_method="none",  # noqa: S106 - no password: a public client
        ),
        file,
        show,
        wait,
    )
    file.prepare(provider)
    if server.config.oauth_client_id is not None:
        file.use_client(
            OAuthClientInformationFull(
                client_id=server.config.oauth_client_id, redirect_uris=[AnyUrl(redirect_uri)]
            )
        )
    return provider


class LoginHint(httpx2.Auth):
    """Turns a request for a login into an error that says how to log in.

    :param name: the name of the server.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def auth_flow(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response, None]:
        """See `httpx2.Auth`."""
        response = yield request
        if response.status_code == 401:
            raise _login_needed(self._name, "")


def _login_needed(name: str, why: str) -> ToolError:
    return ToolError(
        f"{why} The server {name!r} asks for a login. Run: vanta mcp auth {name}".strip()
    )
