"""Servers on loopback that redirect, and servers that record every byte which reaches them."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CODES = (301, 302, 303, 307, 308)
"""Every redirect; 307 and 308 repeat the request with its body."""


@dataclass(frozen=True)
class Request:
    """A request as it arrived.

    line: method and target. headers: as they came. body: its bytes.
    """

    line: str
    headers: str
    body: bytes

    @property
    def content(self) -> bytes:
        """Everything that was received."""
        return f"{self.line}\n{self.headers}\n".encode() + self.body


@dataclass(frozen=True)
class Answer:
    """The answer to a request."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Server:
    """A server that runs; url has no path."""

    url: str
    requests: list[Request] = field(default_factory=list)

    @property
    def received(self) -> bytes:
        """All bytes of all requests."""
        return b"\n".join(request.content for request in self.requests)


@contextmanager
def serving(answer: Callable[[Request], Answer]) -> Iterator[Server]:
    """Run a server that answers each request with `answer`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            request = Request(self.requestline, str(self.headers), body)
            server.requests.append(request)
            result = answer(request)
            self.send_response_only(result.status)
            for name, value in result.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(result.body)))
            self.end_headers()
            self.wfile.write(result.body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    for method in ("GET", "POST", "PUT", "DELETE", "HEAD"):
        setattr(Handler, f"do_{method}", Handler.respond)
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server = Server(f"http://127.0.0.1:{http.server_port}")
    thread = threading.Thread(target=http.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def redirect_to(server: Server, code: int) -> Callable[[Request], Answer]:
    """Return an answer that sends each request on to the same path of another server."""

    def answer(request: Request) -> Answer:
        path = request.line.split()[1]
        return Answer(code, {"location": server.url + path})

    return answer


def forward_to(url: str, request: Request) -> Answer:
    """Send a request on to a server, as a relay does, and return its answer."""
    method, path, _ = request.line.split()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    forwarded = urllib.request.Request(  # noqa: S310 - a server on loopback
        url + path,
        data=request.body or None,
        method=method,
        headers={"content-type": "application/json"},
    )
    with opener.open(forwarded, timeout=30) as response:
        content_type = response.headers.get("content-type", "")
        return Answer(response.status, {"content-type": content_type}, response.read())
