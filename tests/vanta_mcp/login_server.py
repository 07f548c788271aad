"""An MCP server with a login server of its own, both on one loopback port, for tests."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.vanta_mcp.web_servers import WebServer


class LoginServer(WebServer):
    """What the server knows: registrations, codes and tokens.

    refuses: whether it refuses every login. counts: what was requested, how often.
    """

    def __init__(self) -> None:
        super().__init__("normal")
        self.refuses = False
        self.valid: set[str] = set()
        self.challenges: dict[str, str] = {}
        self.counts: dict[str, int] = {}
        self.tokens = 0

    @property
    def base(self) -> str:
        """Its origin."""
        return self.url.removesuffix("/mcp")

    def grant(self) -> dict[str, Any]:
        """Return a new token; all earlier ones count no longer."""
        self.tokens += 1
        self.valid = {f"access-{self.tokens}"}
        return {
            "access_token": f"access-{self.tokens}",
            "token_type": "Bearer",
            "expires_in": 3600,
            "refresh_token": f"refresh-{self.tokens}",
        }

    def document(self, path: str) -> dict[str, Any] | None:
        """Return what a discovery path has."""
        if path.startswith("/.well-known/oauth-protected-resource"):
            return {"resource": self.url, "authorization_servers": [self.base]}
        if path == "/.well-known/oauth-authorization-server":
            return {
                "issuer": self.base,
                "authorization_endpoint": f"{self.base}/authorize",
                "token_endpoint": f"{self.base}/token",
                "registration_endpoint": f"{self.base}/register",
                "response_types_supported": ["code"],
                "grant_types_supported": ["authorization_code", "refresh_token"],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["none"],
            }
        return None

    def redeem(self, form: dict[str, str]) -> dict[str, Any] | None:
        """Return a token for a code or a refresh token, None if it is not valid."""
        if form["grant_type"] == "refresh_token":
            known = form["refresh_token"] == f"refresh-{self.tokens}"
            return self.grant() if known else None
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        known = self.challenges.pop(form["code"], None) == challenge
        return self.grant() if known else None


class LoginHandler(BaseHTTPRequestHandler):
    """Serves both."""

    protocol_version = "HTTP/1.1"
    made: LoginServer

    def log_message(self, *_: Any) -> None:
        """Stay quiet."""

    def do_GET(self) -> None:
        path, query = self._parts()
        document = self.made.document(path)
        if document is not None:
            self._send(200, document)
        elif path == "/authorize":
            self._authorize(query)
        else:
            self._send(404, {})

    def do_DELETE(self) -> None:
        self._send(200, {})

    def do_POST(self) -> None:
        path, _ = self._parts()
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        if path == "/register":
            asked = json.loads(body)
            self._send(201, {**asked, "client_id": "client-1"})
        elif path == "/token":
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            token = self.made.redeem(form)
            self._send(200, token) if token else self._send(400, {"error": "invalid_grant"})
        else:
            self._serve(json.loads(body))

    def _serve(self, message: dict[str, Any]) -> None:
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.made.valid:
            place = f'resource_metadata="{self.made.base}/.well-known/oauth-protected-resource/mcp"'
            self._send(401, {}, {"WWW-Authenticate": f"Bearer {place}"})
        elif "id" not in message:
            self._send(202, {})
        else:
            result = self.made.result(message)
            error = {"code": -32601, "message": "no such method"}
            reply = {"result": result} if result is not None else {"error": error}
            self._send(200, {"jsonrpc": "2.0", "id": message["id"], **reply})

    def _authorize(self, query: dict[str, str]) -> None:
        answer = {"state": query["state"], "iss": self.made.base}
        if self.made.refuses:
            answer |= {"error": "access_denied", "error_description": "not today"}
        else:
            answer["code"] = f"code-{len(self.made.challenges)}"
            self.made.challenges[answer["code"]] = query["code_challenge"]
        self._send(302, {}, {"Location": f"{query['redirect_uri']}?{urlencode(answer)}"})

    def _parts(self) -> tuple[str, dict[str, str]]:
        parts = urlsplit(self.path)
        counts = self.made.counts
        counts[parts.path] = counts.get(parts.path, 0) + 1
        return parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()}

    def _send(
        self, status: int, document: dict[str, Any], headers: dict[str, str] | None = None
    ) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        all_headers = {"Content-Type": "application/json", **(headers or {})}
        for name, value in all_headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving_logins() -> Iterator[LoginServer]:
    """Yield a server that asks for a login."""
    made = LoginServer()
    bound = type("BoundLogin", (LoginHandler,), {"made": made})
    http = ThreadingHTTPServer(("127.0.0.1", 0), bound)
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
