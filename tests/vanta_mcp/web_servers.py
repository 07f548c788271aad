"""HTTP servers on loopback that speak MCP of the older era, and misbehave on request."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOOLS = [{"name": "echo", "description": "Return the text.", "inputSchema": {"type": "object"}}]


class WebServer:
    """What a server does, and what it got.

    mode: normal, or how it misbehaves. requests: method, path and headers of each request.
    """

    def __init__(self, mode: str, target: str = "") -> None:
        self.mode = mode
        self.target = target
        self.url = ""
        self.requests: list[tuple[str, str, dict[str, str]]] = []

    def result(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """Return the result of a request, None for an unknown method."""
        method, params = message["method"], message.get("params") or {}
        if method == "initialize":
            return {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "web", "version": "1"},
            }
        if method == "tools/list":
            return {"tools": TOOLS}
        if method == "tools/call":
            text = params["arguments"].get("text", "")
            text = "x" * 20_000_000 if self.mode == "huge" else text
            return {"content": [{"type": "text", "text": text}]}
        return None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    made: WebServer

    def log_message(self, *_: Any) -> None:
        """Stay quiet."""

    def do_GET(self) -> None:
        self._note()
        self._send(405, b"", {})

    def do_DELETE(self) -> None:
        self._note()
        self._send(204, b"", {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        self._note()
        message = json.loads(body)
        if self.made.mode == "hang" and message["method"] == "tools/call":
            time.sleep(5)
        if special := SPECIAL.get(self.made.mode):
            self._send(*special(self.made))
        elif "id" not in message:
            self._send(202, b"", {})
        else:
            self._answer(message)

    def _answer(self, message: dict[str, Any]) -> None:
        result = self.made.result(message)
        known = {"result": result} if result is not None else {}
        error = {"error": {"code": -32601, "message": "no such method"}}
        reply = {"jsonrpc": "2.0", "id": message["id"], **(known or error)}
        data, headers = json.dumps(reply).encode(), {"Content-Type": "application/json"}
        if self.made.mode == "gzip":
            data, headers["Content-Encoding"] = gzip.compress(data), "gzip"
        if self.made.mode == "events":
            data, headers["Content-Type"] = b"data: " + data + b"\n\n", "text/event-stream"
        if self.made.mode == "headers":
            headers |= {f"X-{number}": "1" for number in range(300)}
        self._send(200, data, headers)

    def _note(self) -> None:
        self.made.requests.append((self.command, self.path, dict(self.headers)))

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


SPECIAL: dict[str, Callable[[WebServer], tuple[int, bytes, dict[str, str]]]] = {
    "redirect": lambda server: (307, b"", {"Location": server.target}),
    "broken": lambda _server: (503, b"out of order", {"Content-Type": "text/plain"}),
    "login": lambda _server: (401, b"", {"WWW-Authenticate": "Bearer"}),
    "page": lambda _server: (200, b"<html>hello</html>", {"Content-Type": "text/html"}),
    "garbage": lambda _server: (200, b"{not json", {"Content-Type": "application/json"}),
}


@contextmanager
def serving(mode: str = "normal", target: str = "") -> Iterator[WebServer]:
    """Yield a server that is up."""
    made = WebServer(mode, target)
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"made": made}))
    http.daemon_threads = True
    made.url = f"http://127.0.0.1:{http.server_address[1]}/mcp"
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
