"""A connection that is opened while memories are looked up, over TCP and over TLS."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from anyio.streams.tls import TLSListener

import vanta
from tests.openai.support import FINISH, answer_of, engine_at, frames, text_frame
from vanta.errors import EngineError
from vanta.events import Event, MemoryRecalled
from vanta.memory import Scope
from vanta.testing import HashEmbedder, Upstream, hash_plugin, nothing_listens

pytestmark = pytest.mark.anyio

CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgNCJsk32ZNPEbk7PB
ISdmtqwx2Z8U27OhExvGnymZP+6hRANCAAQ2h/pa9n/2eLDBrOJ8fQjwo1+3rUiH
Da0QtquaURAXNS1EDlI1VlQ96RauF4kjOjNihu7w/4djI/vzhTbwyqcl
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBZzCCAQ2gAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhv
c3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABDaH+lr2f/Z4sMGs
4nx9CPCjX7etSIcNrRC2q5pREBc1LUQOUjVWVD3pFq4XiSM6M2KG7vD/h2Mj+/OF
NvDKpyWjTjBMMBoGA1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAAATAPBgNVHRMBAf8E
BTADAQH/MB0GA1UdDgQWBBTM5IQ/fQQFh8kNo5191w2sct7CaTAKBggqhkjOPQQD
AgNIADBFAiEA8orOUbesJ8bto1DK/7pvqPgmXejL2JiWrQ3JvrX30NkCIHEO+Azj
g0AyRsT3Cug8W0w46bVTCoNQz44v/J6REzEL
-----END CERTIFICATE-----
"""
"""Key and certificate of localhost, signed by itself, from 2020 to 2120."""


class WatchedServer:
    """Answers "Yes." and records in `steps` when a client connects and when a request comes.

    context: for TLS. closes_first: when to close the first connection: "at once", or "at the
    request" without an answer.
    """

    def __init__(self, context: ssl.SSLContext | None = None, *, closes_first: str = "") -> None:
        self.steps: list[str] = []
        self.connected = anyio.Event()
        self.first_closed = anyio.Event()
        self._context = context
        self._closes_first = closes_first

    async def __aenter__(self) -> Self:
        listener: anyio.abc.Listener[Any] = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - no Django
        scheme = "https" if self._context else "http"
        self.base_url = f"{scheme}://127.0.0.1:{port}/v1"
        if self._context:
            listener = TLSListener(listener, self._context, standard_compatible=False)
        self._listener = listener
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(listener.serve, self._serve)
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)
        await self._listener.aclose()

    async def _serve(self, client: anyio.abc.ByteStream) -> None:
        async with client:
            self.steps.append("connected")
            self.connected.set()
            if self._closes_first and not self.first_closed.is_set():
                if self._closes_first == "at the request":
                    await client.receive()
                await client.aclose()
                self.first_closed.set()
                return
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    await self._answer(client)

    async def _answer(self, client: anyio.abc.ByteStream) -> None:
        request = await client.receive()
        self.steps.append("request")
        head, _, body = request.partition(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            name, _, value = line.partition(b":")
            missing = int(value) - len(body) if name == b"content-length" else 0
            while missing > 0:
                missing -= len(await client.receive())
        answer = frames(text_frame("Yes."), FINISH).encode()
        fields = f"content-type: text/event-stream\r\ncontent-length: {len(answer)}\r\n\r\n"
        await client.send(f"HTTP/1.1 200 OK\r\n{fields}".encode() + answer)


@asynccontextmanager
async def tls_server(
    folder: Path, monkeypatch: pytest.MonkeyPatch, closes_first: str = ""
) -> AsyncIterator[WatchedServer]:
    """Run a server whose certificate this process trusts."""
    file = folder / "localhost.pem"
    file.write_text(CERTIFICATE)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    async with WatchedServer(context, closes_first=closes_first) as server:
        yield server


async def test_the_connection_is_open_before_the_memories_are_found(tmp_path: Path) -> None:
    async with WatchedServer() as server:
        asked = False

        async def before() -> None:
            if asked:  # the question's vector: it comes when the server has been reached
                await server.connected.wait()

        def observe(event: Event) -> None:
            if isinstance(event, MemoryRecalled):
                server.steps.append("recalled")

        options = {"base_url": server.base_url}
        config = {
            "data_dir": str(tmp_path),
            "tracks": {
                "api": {"engine": "openai", "model": "test-model", "options": options},
                "local": {"enabled": False},
            },
            "memory": {"embedder": "hash", "index": "none", "recall_timeout_s": 30.0},
        }
        plugins = [hash_plugin(HashEmbedder(before=before))]
        async with vanta.open(config, plugins=plugins, policy="api") as runtime:
            assert runtime.memory is not None
            await runtime.memory.ready(Scope("default"))
            asked = True
            async with runtime.session("one").stream("Is it?") as turn:
                async for event in turn:
                    observe(event)
        assert turn.reply.text == "Yes."
        assert turn.reply.trace.recall is not None
        assert turn.reply.trace.recall.skipped == ""
    assert server.steps == ["connected", "recalled", "request"]


async def test_the_next_request_uses_the_connection() -> None:
    async with WatchedServer() as server, engine_at(server.base_url) as engine:
        await engine.connect()
        await engine.connect()
        assert (await answer_of(engine)).text == "Yes."
    assert server.steps == ["connected", "request"]


async def test_nothing_is_opened_beside_an_idle_connection() -> None:
    async with WatchedServer() as server, engine_at(server.base_url) as engine:
        await answer_of(engine)
        await engine.connect()
        await answer_of(engine)
    assert server.steps == ["connected", "request", "request"]


async def test_tls_is_open_before_the_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tls_server(tmp_path, monkeypatch) as server, engine_at(server.base_url) as engine:
        await engine.connect()
        await server.connected.wait()  # the server counts a connection once TLS is open
        assert (await answer_of(engine)).text == "Yes."
        assert (await answer_of(engine)).text == "Yes."
    assert server.steps == ["connected", "request", "request"]


async def test_a_connection_that_the_server_closed_is_not_used() -> None:
    async with (
        WatchedServer(closes_first="at once") as server,
        engine_at(server.base_url) as engine,
    ):
        await engine.connect()
        await server.first_closed.wait()
        assert (await answer_of(engine)).text == "Yes."
    assert server.steps == ["connected", "connected", "request"]


@pytest.mark.parametrize("closes_first", ["at once", "at the request"])
async def test_a_request_on_a_stale_early_connection_is_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closes_first: str
) -> None:
    plain, encrypted = (
        WatchedServer(closes_first=closes_first),
        tls_server(tmp_path, monkeypatch, closes_first),
    )
    for context in (plain, encrypted):
        async with context as server, engine_at(server.base_url) as engine:
            await engine.connect()
            assert (await answer_of(engine)).text == "Yes."
        assert server.steps == ["connected", "connected", "request"]


async def test_a_connection_that_is_not_used_is_closed_with_the_engine() -> None:
    async with Upstream() as upstream:
        async with engine_at(upstream.base_url) as engine:
            await engine.connect()
        while upstream.connections:  # ends once the server has seen the end of the connection
            await anyio.lowlevel.checkpoint()
        assert upstream.received == b""


async def test_a_server_that_cannot_be_reached_is_reported_by_the_request() -> None:
    with nothing_listens() as base_url:
        async with engine_at(base_url) as engine:
            await engine.connect()
            with pytest.raises(EngineError, match=r"refused|connect"):
                await answer_of(engine)


async def test_a_cancelled_connect_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tls_server(tmp_path, monkeypatch) as server, engine_at(server.base_url) as engine:
        await engine.load()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await engine.connect()
        assert (await answer_of(engine)).text == "Yes."
    assert server.steps == ["connected", "request"]
