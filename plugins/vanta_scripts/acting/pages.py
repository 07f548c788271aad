"""A server in this process with the pages of a script's fixtures.

Invariant: it listens on loopback only, answers nothing but these pages, and is gone when its
context ends.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anyio
import anyio.to_thread

from vanta_scripts.script import Page

PLACEHOLDER = "{pages}"
"""What stands for the server's address in texts of a script."""

_POLL_S = 0.05


@asynccontextmanager
async def serve_pages(pages: Mapping[str, Page], fetched: set[str]) -> AsyncIterator[str]:
    """Serve pages until the context is left.

    :param pages: path -> page.
    :param fetched: receives the path of each request.
    :returns: the address, such as `http://127.0.0.1:40123`.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(pages, fetched))
    thread = threading.Thread(
        target=server.serve_forever, args=(_POLL_S,), name="pages of a script", daemon=True
    )
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(_stop, server, thread)


def filled(value: Any, address: str) -> Any:
    """Return text, or data with text, in which the placeholder is the server's address."""
    if isinstance(value, str):
        return value.replace(PLACEHOLDER, address)
    if isinstance(value, Mapping):
        return {key: filled(item, address) for key, item in value.items()}
    return [filled(item, address) for item in value] if isinstance(value, list | tuple) else value


def _stop(server: ThreadingHTTPServer, thread: threading.Thread) -> None:
    server.shutdown()
    server.server_close()
    thread.join()


def _handler_of(pages: Mapping[str, Page], fetched: set[str]) -> type[BaseHTTPRequestHandler]:
    class PageHandler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            fetched.add(path)
            page = pages.get(path, Page(f"There is no page {path}.", status=404))
            content = page.text.encode()
            self.send_response(page.status)
            self.send_header("Content-Type", page.type)
            self.send_header("Content-Length", str(len(content)))
            if page.location:
                self.send_header("Location", page.location)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Write nothing: stderr is the command line's."""

    return PageHandler
