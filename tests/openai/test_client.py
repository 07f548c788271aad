"""Proxies and certificates of the environment, redirects, and connections that went stale."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import anyio.abc
import pytest

from tests.openai.support import (
    FINISH,
    RawServer,
    answer_of,
    context,
    engine_at,
    frames,
    text_frame,
)
from vanta import EngineContext, EngineError, ErrorKind
from vanta.memory import EmbedderContext
from vanta.testing import Behaviour, Upstream, nothing_listens
from vanta_openai.embedder import OpenAIEmbedder
from vanta_openai.engine import OpenAIEngine
from vanta_openai.server import OpenAIEmbedderOptions, OpenAIOptions

pytestmark = pytest.mark.anyio

ELSEWHERE = "http://server.example/v1"
DIRECT = frames(text_frame("direct"), FINISH)
PROXIED = frames(text_frame("via the proxy"), FINISH)


def private_engine(url: str) -> OpenAIEngine:
    known = context()
    private = EngineContext("local", known.model, None, known.find_model, private=True)
    return OpenAIEngine(OpenAIOptions(base_url=url, connect_timeout_s=0.05), private)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_a_server_on_this_machine_is_reached_directly(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    async with RawServer(PROXIED) as proxy, RawServer(DIRECT) as server:
        monkeypatch.setenv(variable, proxy.base_url)
        async with engine_at(server.base_url) as engine:
            assert (await answer_of(engine)).text == "direct"


async def test_another_server_is_reached_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RawServer(PROXIED) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url)
        async with engine_at(ELSEWHERE) as engine:
            assert (await answer_of(engine)).text == "via the proxy"


async def test_a_private_track_never_uses_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RawServer(PROXIED) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url)
        engine = private_engine("http://192.0.2.1/v1")  # an address that no machine has
        with pytest.raises(EngineError) as caught:
            await answer_of(engine)
        await engine.aclose()
    assert caught.value.kind in (ErrorKind.NETWORK, ErrorKind.TIMEOUT)
    assert "proxy" not in str(caught.value)


async def test_an_embedder_on_this_machine_is_reached_directly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    vectors = '{"data": [{"index": 0, "embedding": [1.0, 0.0]}]}'
    async with RawServer("") as proxy, RawServer(vectors, content_type="text/plain") as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url)
        given = EmbedderContext("m", tmp_path, pytest.fail)
        embedder = OpenAIEmbedder(OpenAIEmbedderOptions(base_url=server.base_url), given)
        await embedder.load()
        assert embedder.dimension == 2
        await embedder.aclose()


@pytest.mark.parametrize(
    ("proxy", "advice"),
    [("socks5://127.0.0.1:9", "socksio"), ("ftp://127.0.0.1:9", "scheme"), ("http://", "host")],
)
async def test_a_proxy_that_cannot_work_is_named(
    monkeypatch: pytest.MonkeyPatch, proxy: str, advice: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    async with engine_at(ELSEWHERE) as engine:
        with pytest.raises(EngineError, match="HTTP_PROXY") as caught:
            await answer_of(engine)
        assert advice in str(caught.value)
        health = await engine.health()
    assert not health.ok
    assert "HTTP_PROXY" in health.detail


async def test_a_proxy_that_does_not_answer_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with nothing_listens() as url:
        monkeypatch.setenv("HTTP_PROXY", url.replace("://", "://me:hunter22@"))
        async with engine_at(ELSEWHERE) as engine:
            with pytest.raises(EngineError, match="HTTP_PROXY") as caught:
                await answer_of(engine)
    assert "NO_PROXY" in caught.value.suggestion
    assert "hunter22" not in f"{caught.value} {caught.value.__cause__!r}"


async def test_certificates_that_cannot_be_read_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    for path in ("/nowhere/ca.pem", str(broken)):
        monkeypatch.setenv("SSL_CERT_FILE", path)
        async with engine_at("https://127.0.0.1:9/v1") as engine:
            with pytest.raises(EngineError, match="SSL_CERT_FILE"):
                await answer_of(engine)


async def test_without_tls_no_certificate_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    async with RawServer(DIRECT) as server, engine_at(server.base_url) as engine:
        assert (await answer_of(engine)).text == "direct"


async def test_empty_variables_count_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "OPENAI_ORG_ID", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "")
    async with RawServer(DIRECT) as server, engine_at(server.base_url) as engine:
        assert (await answer_of(engine)).text == "direct"


async def test_the_account_of_the_environment_is_not_sent_to_other_servers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-mine")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-mine")
    async with Upstream() as upstream:
        async with engine_at(upstream.base_url) as engine:
            await answer_of(engine)
        async with engine_at(upstream.base_url, organization="org-configured") as engine:
            await answer_of(engine)
        received = [chat.received for chat in upstream.chats]
    assert b"of-mine" not in b"".join(received)
    assert b"org-configured" in received[1]


async def test_a_redirect_is_not_followed() -> None:
    async with Upstream() as other:
        redirect = Behaviour.failure(307, "moved").but(headers={"location": other.base_url})
        async with Upstream(redirect) as upstream, engine_at(upstream.base_url) as engine:
            with pytest.raises(EngineError, match="redirects") as caught:
                await answer_of(engine)
        assert other.chats == []
    assert caught.value.kind is ErrorKind.BAD_REQUEST


Serve = Callable[[anyio.abc.SocketStream, int], Awaitable[None]]


class StaleServer:
    """Keeps its first connection open, and closes it when the second request has arrived on it.

    Later connections are answered, or closed too if `always`.
    """

    def __init__(self, *, always: bool = False, partial: bytes = b"") -> None:
        self._always = always
        self._partial = partial
        self.requests: list[int] = []
        self._connections = 0

    async def __aenter__(self) -> StaleServer:
        self._listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = self._listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - no Django
        self.base_url = f"http://127.0.0.1:{port}/v1"
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._listener.serve, self._serve)
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)
        await self._listener.aclose()

    async def _serve(self, client: anyio.abc.SocketStream) -> None:
        number = self._connections
        self._connections += 1
        async with client:
            for served in range(2):
                await _read_request(client)
                self.requests.append(number)
                if served or (number and self._always):
                    if self._partial:
                        await client.send(self._partial)
                    return
                await client.send(_whole(DIRECT))


async def _read_request(client: anyio.abc.SocketStream) -> None:
    received = b""
    while b"\r\n\r\n" not in received:
        received += await client.receive()
    head, _, body = received.partition(b"\r\n\r\n")
    lines = [line.partition(b":") for line in head.lower().split(b"\r\n")]
    length = next(int(value) for name, _, value in lines if name == b"content-length")
    while len(body) < length:
        body += await client.receive()


def _whole(body: str) -> bytes:
    content = body.encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {len(content)}"
    return head.encode() + b"\r\n\r\n" + content


async def test_a_request_on_a_connection_that_was_closed_is_sent_once_more_on_a_new_one() -> None:
    async with StaleServer() as server, engine_at(server.base_url) as engine:
        assert (await answer_of(engine)).text == "direct"
        assert (await answer_of(engine)).text == "direct"
        assert server.requests == [0, 0, 1]


async def test_a_request_is_sent_again_only_once() -> None:
    async with StaleServer(always=True) as server, engine_at(server.base_url) as engine:
        await answer_of(engine)
        with pytest.raises(EngineError) as caught:
            await answer_of(engine)
        assert server.requests == [0, 0, 1]
    assert caught.value.kind is ErrorKind.NETWORK


async def test_a_failure_on_a_new_connection_is_a_failure() -> None:
    async with Upstream(Behaviour.refused()) as upstream, engine_at(upstream.base_url) as engine:
        with pytest.raises(EngineError):
            await answer_of(engine)
        assert len(upstream.chats) == 1


async def test_an_answer_that_broke_after_it_began_is_not_requested_again() -> None:
    begun = b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\ndata: "
    async with StaleServer(partial=begun) as server, engine_at(server.base_url) as engine:
        await answer_of(engine)
        with pytest.raises(EngineError):
            await answer_of(engine)
        assert server.requests == [0, 0]
