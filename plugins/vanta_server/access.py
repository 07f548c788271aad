"""Who may ask: every request passes here before it reaches a route.

Checked are the host that the request names (a page of another site may resolve its own name to this
machine: DNS rebinding), the page that sent it (`Origin`), its key, and the length of its body.
Invariant: a route sees no request that was not allowed; only `/health` and `/ready` need no key,
and they reveal nothing else.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import anyio.to_thread

from vanta import Caps, Reply, TurnOptions
from vanta_server.error_shapes import error_answer
from vanta_server.errors import ApiError, api_error
from vanta_server.http import MOST_BODY_BYTES, App, Message, Receive, Scope, Send, send_json
from vanta_server.keys import KeyStore, ServerKey
from vanta_server.keys.rates import Rates

LOOPBACK = ("localhost", "127.0.0.1", "::1")
OPEN_PATHS = ("/health", "/ready")
ANONYMOUS = "anonymous"
"""The user of requests without a key and without a name."""


@dataclass(frozen=True, slots=True)
class AccessRules:
    """What is allowed.

    :param keys: the server's keys. If it has none since it started, every request of an allowed
        host may ask; once the last key is revoked, none may.
    :param hosts: names of this server beside those of the loopback interface.
    :param origins: pages of other sites that may ask, such as `https://chat.example`.
    :param most_body_bytes: the longest body of a request.
    """

    keys: KeyStore
    hosts: Collection[str] = ()
    origins: Collection[str] = ()
    most_body_bytes: int = MOST_BODY_BYTES


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks, and in which conversation.

    :param user: whose memory and caps count; "" for an anonymous client, who has no memory.
    :param session: the name of the conversation; "" for none.
    :param models: the names of models that the client may ask for; empty for all.
    :param cap_usd: US dollars that its user may cost; None for the configured cap alone.
    :param spend: called with the tokens of each answer, prompts included.
    """

    user: str = ""
    session: str = ""
    models: Collection[str] = field(default=())
    cap_usd: float | None = None
    spend: Callable[[int], None] = field(default=lambda _tokens: None, repr=False)

    def limited(self, options: TurnOptions) -> TurnOptions:
        """Return the options of a turn with the caps of the client's key."""
        if self.cap_usd is None:
            return options
        return dataclasses.replace(options, caps=Caps(user_usd=self.cap_usd))

    def count(self, replies: Iterable[Reply]) -> None:
        """Count the tokens of answers for the client's rate."""
        usages = [reply.usage for reply in replies if reply.usage is not None]
        self.spend(sum(usage.input_tokens + usage.output_tokens for usage in usages))

    def require_model(self, names: Sequence[str]) -> None:
        """Refuse a model that the client's key does not allow.

        :param names: every name under which clients may ask for it; one of them must be allowed.
        :raises ApiError: if none is allowed.
        """
        if self.models and not set(names) & set(self.models):
            name, allowed = names[0], ", ".join(map(repr, self.models))
            raise ApiError(
                403,
                f"this key may not use the model {name!r}. It may use: {allowed}",
                "permission_error",
                "model_not_allowed",
                "model",
            )


class Access:
    """Checks requests before the application.

    :param app: the application behind.
    :param rules: what is allowed.
    """

    def __init__(self, app: App, rules: AccessRules) -> None:
        self._app = app
        self._rules = rules
        self._rates = Rates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an allowed request on, and answer any other with an error."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # a WebSocket: it is closed without having been accepted
        scope.setdefault("state", {})["request_id"] = f"req_{secrets.token_hex(8)}"
        try:
            await self._check(scope)
        except Exception as error:  # noqa: BLE001 - whatever breaks, nothing gets through
            refusal = error_answer(api_error(error), scope)
            await send_json(send, refusal.body, refusal.status, refusal.headers)
            return
        await self._app(scope, receive, self._telling(scope["state"]["key"], send))

    def _telling(self, key: ServerKey | None, send: Send) -> Send:
        """Return `send` with headers that tell what is left of the key's rates."""
        if key is None or not self._rates.headers(key):
            return send

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                left = self._rates.headers(key).items()
                pairs = [(name.encode(), value.encode()) for name, value in left]
                message = {**message, "headers": [*message["headers"], *pairs]}
            await send(message)

        return tell

    async def _check(self, scope: Scope) -> None:
        headers = _headers(scope)
        self._check_host(headers.get("host", ""))
        self._check_origin(headers)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._rules.most_body_bytes:
            most = self._rules.most_body_bytes
            raise ApiError(413, f"the body may have at most {most} bytes", code="too_large")
        scope["state"]["key"] = None
        scope["state"]["rates"] = self._rates
        if scope["path"] not in OPEN_PATHS:
            key = scope["state"]["key"] = await self._key(headers)
            if key is not None and scope["method"] == "POST":
                self._rates.admit(key)

    def _check_host(self, host: str) -> None:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            raise ApiError(400, f"{host!r} is not the name of a host") from None
        if name not in LOOPBACK and name not in self._rules.hosts:
            raise ApiError(
                403,
                f"this server does not answer for the host {name!r}. Start it with "
                f"--allow-host {name or 'NAME'} if it should.",
                "permission_error",
                "host_not_allowed",
            )

    def _check_origin(self, headers: dict[str, str]) -> None:
        origin = headers.get("origin")
        if origin is None or origin in self._rules.origins:
            return
        if origin.partition("://")[2] == headers.get("host"):
            return  # a page of this server
        raise ApiError(
            403,
            f"pages of {origin!r} may not ask this server. Start it with --allow-origin if they "
            "should.",
            "permission_error",
            "origin_not_allowed",
        )

    async def _key(self, headers: dict[str, str]) -> ServerKey | None:
        keys = self._rules.keys
        known = await anyio.to_thread.run_sync(keys.list)
        if not known and not keys.had_keys:
            return None
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        secret = bearer.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        key = keys.find(secret) if secret else None
        if key is None:
            problem = "the key is not known or was revoked" if secret else "the request has no key"
            raise ApiError(
                401,
                f"{problem}. Send one as 'Authorization: Bearer KEY'; 'vanta keys create' makes "
                "one.",
                "authentication_error",
                "invalid_api_key",
            )
        return key


def client_of(scope: Scope, named: str | None = None) -> Client:
    """Return the client of a request. A key has its user; without keys, a request may name one.

    :param scope: the request, as `Access` passes it on.
    :param named: the user that the body names.
    """
    headers, key = _headers(scope), scope["state"]["key"]
    session = headers.get("x-vanta-session", "")
    if key is not None:
        spend = partial(scope["state"]["rates"].spend, key)
        return Client(key.user, session, key.models, key.cap_usd, spend)
    return Client(headers.get("x-vanta-user", "") or named or "", session)


def _headers(scope: Scope) -> dict[str, str]:
    pairs: Any = scope["headers"]
    return {name.decode("latin-1").lower(): _decoded(value) for name, value in pairs}


def _decoded(value: bytes) -> str:
    """Return a header's value; names of users and sessions are UTF-8, as in a body."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
