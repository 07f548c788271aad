"""Shared by the tests of this room: an engine at a URL, and a server that sends given bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

import anyio
import anyio.abc

from vanta.engine import EngineContext, GenerationRequest, ModelFile, Sampling
from vanta.messages import Completion, Delta, Fold, Message
from vanta_openai.engine import OpenAIEngine
from vanta_openai.server import OpenAIOptions


def context(model: str = "test-model") -> EngineContext:
    return EngineContext(
        track="api", model=model, window=None, find_model=lambda ref: ModelFile(ref, Path(ref))
    )


@asynccontextmanager
async def engine_at(
    base_url: str | None, *, model: str = "test-model", **options: Any
) -> AsyncIterator[OpenAIEngine]:
    engine = OpenAIEngine(OpenAIOptions(base_url=base_url, **options), context(model))
    try:
        yield engine
    finally:
        await engine.aclose()


def request(text: str = "Hello?", **rest: Any) -> GenerationRequest:
    sampling = rest.pop("sampling", Sampling())
    return GenerationRequest((Message("user", text),), sampling=sampling, **rest)


async def deltas_of(
    engine: OpenAIEngine, generation: GenerationRequest | None = None
) -> list[Delta]:
    async with engine.stream(generation or request()) as stream:
        return [delta async for delta in stream]


async def answer_of(
    engine: OpenAIEngine, generation: GenerationRequest | None = None
) -> Completion:
    fold = Fold()
    for delta in await deltas_of(engine, generation):
        fold.add(delta)
    return fold.completion()


class RawServer:
    """Answers every request with the same bytes and then closes the connection.

    For answers that a proper server, and so `Upstream`, never sends. holds: wait for the client to
    close the connection, then set `gone`. repeats: what to send every
    0.1 s until the client closes it.
    """

    def __init__(
        self,
        body: bytes | str,
        *,
        status: int = 200,
        content_type: str = "text/event-stream",
        holds: bool = False,
        coding: str = "",
        repeats: str = "",
    ) -> None:
        self._body = body.encode() if isinstance(body, str) else body
        fields = {"content-type": content_type, "connection": "close"}
        fields |= {"content-encoding": coding} if coding else {}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._head = f"HTTP/1.1 {status} Answer\r\n{lines}\r\n".encode()
        self._holds = holds
        self._repeats = repeats.encode()
        self.gone = anyio.Event()

    async def __aenter__(self) -> Self:
        self._listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = self._listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - no Django
        self.base_url = f"http://127.0.0.1:{port}/v1"
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._listener.serve, self._answer)
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)
        await self._listener.aclose()

    async def _answer(self, client: anyio.abc.SocketStream) -> None:
        async with client:
            await _read_request(client)
            await client.send(self._head + self._body)
            with suppress(anyio.BrokenResourceError):
                while self._repeats:
                    await anyio.sleep(0.1)
                    await client.send(self._repeats)
            if self._holds:
                with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                    await client.receive()
                self.gone.set()


async def _read_request(client: anyio.abc.SocketStream) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        head += await client.receive()
    head, _, body = head.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        missing = int(value) - len(body) if name == b"content-length" else 0
        while missing > 0:
            missing -= len(await client.receive())


def frames(*chunks: str, done: bool = True) -> str:
    """Return an event stream of `chunks`, each the JSON of one chunk."""
    events = "".join(f"data: {chunk}\n\n" for chunk in chunks)
    return events + ("data: [DONE]\n\n" if done else "")


def text_frame(text: str) -> str:
    return f'{{"choices": [{{"index": 0, "delta": {{"content": "{text}"}}}}]}}'


FINISH = '{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}'
