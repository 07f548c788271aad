"""The way back from a login in a browser: one request to a port of this machine.

Invariant: the port is bound to the loopback address, and one request with a code, or with the
reason why there is none, ends the wait. What is not that request is answered and forgotten.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.to_thread

from vanta import ToolError
from vanta.text import printable

if TYPE_CHECKING:
    from mcp.client.auth import AuthorizationCodeResult

PATH = "/callback"
_MOST_BYTES = 16_384
_REQUEST_S = 5.0
_PAGE = b"<!doctype html><title>vanta</title><p>%s You can close this page."


class BrowserReturn:
    """Waits for the browser of a login.

    :param timeout_s: seconds to wait for.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._socket = socket.create_server(("127.0.0.1", 0))

    @property
    def uri(self) -> str:
        """Where the login server has to send the browser."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}{PATH}"

    async def wait(self) -> AuthorizationCodeResult:
        """Return the code that the browser brings.

        :raises ToolError: if the person refuses, or no one comes in time.
        """
        from mcp.client.auth import AuthorizationCodeResult

        found = await anyio.to_thread.run_sync(self._accept, abandon_on_cancel=True)
        if "error" in found:
            reason = printable(found.get("error_description") or found["error"])[:300]
            raise ToolError(f"the login was refused: {reason}.")
        return AuthorizationCodeResult(
            code=found.get("code", ""), state=found.get("state"), iss=found.get("iss")
        )

    def close(self) -> None:
        """Close the port. Idempotent."""
        self._socket.close()

    def _accept(self) -> dict[str, str]:
        """Answer requests until the one with the code. Blocking."""
        ends_at = time.monotonic() + self._timeout_s
        while (left := ends_at - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                break
            with connection:
                connection.settimeout(_REQUEST_S)
                found = _serve(connection)
            if found is not None:
                return found
        raise ToolError(f"no one logged in within {self._timeout_s:g} s.")


def _serve(connection: socket.socket) -> dict[str, str] | None:
    """Answer one request; return its parameters if it is the one that is waited for."""
    data = b""
    try:
        while b"\r\n\r\n" not in data and len(data) < _MOST_BYTES:
            piece = connection.recv(4096)
            if not piece:
                return None
            data += piece
        target = data.split(b" ", 2)[1].decode("ascii", "replace")
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        is_it = parts.path == PATH and bool(query.keys() & {"code", "error"})
        words = b"You are logged in." if is_it and "code" in query else b"Not logged in."
        status = b"200 OK" if is_it else b"404 Not Found"
        body = _PAGE % words
        head = b"HTTP/1.1 %s\r\nContent-Type: text/html\r\nContent-Length: %d\r\n" % (
            status,
            len(body),
        )
        connection.sendall(head + b"Connection: close\r\n\r\n" + body)
    except (OSError, IndexError, ValueError):
        return None
    return query if is_it else None
