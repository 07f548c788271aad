"""A web server on loopback whose pages a test sets."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class PageRequest:
    """A request that came."""

    path: str
    headers: Message


@dataclass
class _Page:
    status: int
    headers: Mapping[str, str]
    body: bytes
    stream: Callable[[Any], object] | None = None


@dataclass
class PageServer:
    """Serves the pages that were added; everything else is a 404."""

    port: int = 0
    requests: list[PageRequest] = field(default_factory=list)
    pages: dict[str, _Page] = field(default_factory=dict)

    def add(
        self,
        path: str,
        *,
        body: str | bytes = b"",
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        stream: Callable[[Any], object] | None = None,
    ) -> None:
        """Add a page. stream: writes the body itself, to the file that it is given."""
        data = body.encode() if isinstance(body, str) else body
        sent = {"Content-Type": "text/plain; charset=utf-8", **(headers or {})}
        if stream is None:
            sent["Content-Length"] = str(len(data))
        self.pages[path] = _Page(status, sent, data, stream)


@contextmanager
def serve_pages(tls: ssl.SSLContext | None = None) -> Iterator[PageServer]:
    """Run a server for as long as the context lasts. tls: its certificate, None for plain HTTP."""
    server = PageServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.requests.append(PageRequest(self.path, self.headers))
            page = server.pages.get(self.path.partition("?")[0]) or _Page(404, {}, b"not here")
            try:
                self.send_response(page.status)
                for name, value in page.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if page.stream:
                    page.stream(self.wfile)
                else:
                    self.wfile.write(page.body)
            except OSError:
                pass  # the client has left

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    if tls is not None:
        http.socket = tls.wrap_socket(http.socket, server_side=True, do_handshake_on_connect=False)
    server.port = http.server_address[1]
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
