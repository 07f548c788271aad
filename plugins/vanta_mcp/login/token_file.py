"""The file with the tokens of one server.

Invariants: only its owner can read it, and it is replaced whole. It counts for the URL that it was
written for: a server of the same name at another URL gets nothing of it.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from vanta import ToolError
from vanta.files import parse_json, private_folder, read_text, restrict, write_private

if TYPE_CHECKING:
    from mcp.client.auth import OAuthClientProvider
    from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

_MOST_BYTES = 1 << 20


class TokenFile:
    """Keeps the tokens of one server; the SDK's `TokenStorage`.

    :param path: the file.
    :param url: the URL of the server.
    """

    def __init__(self, path: Path, url: str) -> None:
        self._path = path
        self._url = url
        self._data = self._read()
        self._provider: OAuthClientProvider | None = None

    @property
    def has_tokens(self) -> bool:
        """Whether there are tokens for this URL."""
        return "tokens" in self._data

    @property
    def expires_at(self) -> float | None:
        """When the access token expires, in seconds since the epoch; None if that is not known."""
        found = self._data.get("expires_at")
        return float(found) if isinstance(found, int | float) else None

    def prepare(self, provider: OAuthClientProvider) -> None:
        """Give a provider what it needs to refresh a token without a new login.

        The SDK keeps the end of a token and the place of its server in memory only.

        :param provider: the provider, not used yet.
        """
        from mcp.shared.auth import OAuthMetadata, ProtectedResourceMetadata

        context = provider.context
        context.token_expiry_time = self.expires_at
        if "server" in self._data:
            context.oauth_metadata = OAuthMetadata.model_validate(self._data["server"])
        if "resource" in self._data:
            resource = ProtectedResourceMetadata.model_validate(self._data["resource"])
            context.protected_resource_metadata = resource
            context.auth_server_url = str(resource.authorization_servers[0])
        self._provider = provider

    async def get_tokens(self) -> OAuthToken | None:
        """Return the tokens. See `TokenStorage`."""
        from mcp.shared.auth import OAuthToken

        found = self._data.get("tokens")
        return OAuthToken.model_validate(found) if found else None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """Store tokens. See `TokenStorage`."""
        assert self._provider is not None  # noqa: S101 - prepared before it is used
        context = self._provider.context
        self._data["tokens"] = tokens.model_dump(mode="json", exclude_none=True)
        self._data["expires_at"] = time.time() + tokens.expires_in if tokens.expires_in else None
        for key, value in (
            ("server", context.oauth_metadata),
            ("resource", context.protected_resource_metadata),
        ):
            if value is not None:
                self._data[key] = value.model_dump(mode="json", exclude_none=True)
        await self._write()

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        """Return how vanta is registered at the login server. See `TokenStorage`."""
        from mcp.shared.auth import OAuthClientInformationFull

        found = self._data.get("client")
        return OAuthClientInformationFull.model_validate(found) if found else None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """Store the registration. See `TokenStorage`."""
        self._data["client"] = client_info.model_dump(mode="json", exclude_none=True)
        await self._write()

    def use_client(self, client: OAuthClientInformationFull | None) -> None:
        """Use a registration, or none, so that a new one is made.

        :param client: the registration.
        """
        self._data.pop("client", None)
        if client is not None:
            self._data["client"] = client.model_dump(mode="json", exclude_none=True)

    def forget(self) -> bool:
        """Remove the file. Blocking. Return whether there was one."""
        existed = self._path.exists()
        self._path.unlink(missing_ok=True)
        self._data = {}
        return existed

    def _read(self) -> dict[str, Any]:
        restrict(self._path)
        try:
            data = parse_json(read_text(self._path, _MOST_BYTES))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise ToolError(
                f"the tokens in {str(self._path)!r} cannot be read: {error}. Remove the file and "
                "log in again."
            ) from error
        fits = isinstance(data, dict) and data.get("url") == self._url
        return data if fits else {}

    async def _write(self) -> None:
        text = json.dumps({**self._data, "url": self._url})

        def write() -> None:
            private_folder(self._path.parent)
            write_private(self._path, text)

        await anyio.to_thread.run_sync(write)
