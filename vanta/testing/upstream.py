"""A real OpenAI-compatible HTTP server on a loopback port, with faults on demand.

    async with Upstream(Behaviour.cut(after=2)) as upstream:
        ...  # talk to upstream.base_url
        exchange = await upstream.chat(0)
        await exchange.gone.wait()

It answers `POST /v1/chat/completions`, `POST /v1/embeddings`, `GET /v1/models` and `GET /health`.
Invariant: when the context is left no task and no socket remains; requests in flight are reset at
once.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Sequence
from typing import Self

import anyio
import anyio.abc

from vanta.engine import Engine
from vanta.testing._behaviour import Behaviour, error_body
from vanta.testing._chat import JSON, Generate, Responder, encode, scripted
from vanta.testing._engine_backend import EmbeddingResponder, behind
from vanta.testing._http import ClientGone, Connection, HttpExchange, blot, record
from vanta.testing.steps import Waitable

__all__ = ["Behaviour", "HttpExchange", "Upstream", "Waitable", "nothing_listens"]

_CHAT = ("POST", "/v1/chat/completions")
_EMBEDDINGS = ("POST", "/v1/embeddings")


class Upstream:
    """The server. Behaviours are used one a request, in order; the last one repeats.

    script: what to do with the chat completions. default: what to do where nothing is scripted.
    models: what `GET /v1/models` lists; listing: a behaviour with a fault for that page.
    embeddings: what to do with the requests for embeddings, one each in order, the last one repeats
    (its text does not count); their vectors are the engine's, or those of hashed words.
    engine: a real engine that answers; generate: the same, as a function from the request's body to
    a context with deltas. A behaviour's pauses, gates and faults still apply to what they say.
    `exchanges` has every request in order of arrival, `chats` the chat completions among them,
    `embedded` the requests for embeddings.
    """

    def __init__(
        self,
        *script: Behaviour,
        default: Behaviour | None = None,
        models: Sequence[str] = ("test-model",),
        listing: Behaviour | None = None,
        embeddings: Sequence[Behaviour] = (),
        generate: Generate | None = None,
        engine: Engine | None = None,
        port: int = 0,
    ) -> None:
        self._script = list(script)
        self._next = 0
        self._default = default or Behaviour.answer()
        self._models = tuple(models)
        self._listing = listing
        self._embeddings = list(embeddings)
        self._engine = engine
        self._generate = behind(engine) if engine else generate
        self._port = port
        self._raw: list[bytearray] = []
        self._arrived = anyio.Event()
        self._stack = contextlib.AsyncExitStack()
        self.exchanges: list[HttpExchange] = []
        self.connections = 0

    def then(self, *behaviours: Behaviour) -> Self:
        """Add to the script."""
        self._script.extend(behaviours)
        return self

    def always(self, behaviour: Behaviour) -> None:
        """Forget the script: from the next request on, this for every one."""
        self._script, self._next = [behaviour], 0

    @property
    def base_url(self) -> str:
        """Where it listens, with `/v1`: what an OpenAI client wants."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def received(self) -> bytes:
        """All bytes that ever came in, over all connections, keys blotted out."""
        return b"".join(map(blot, self._raw))

    @property
    def chats(self) -> list[HttpExchange]:
        """The chat completions among the exchanges."""
        return [e for e in self.exchanges if (e.method, e.path) == _CHAT]

    @property
    def embedded(self) -> list[HttpExchange]:
        """The requests for embeddings among the exchanges."""
        return [e for e in self.exchanges if (e.method, e.path) == _EMBEDDINGS]

    async def chat(self, index: int = 0) -> HttpExchange:
        """The chat completion number `index`, as soon as it has arrived."""
        while len(self.chats) <= index:
            await self._arrived.wait()
        return self.chats[index]

    async def __aenter__(self) -> Self:
        listener = socket.create_server(("127.0.0.1", self._port), backlog=512)
        listener.setblocking(False)
        self._port = listener.getsockname()[1]
        self._stack.callback(listener.close)
        tasks = await self._stack.enter_async_context(anyio.create_task_group())
        self._stack.callback(tasks.cancel_scope.cancel)
        tasks.start_soon(self._accept, listener, tasks)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        # Not told of the body's exception: it is not the server's to wrap in a group.
        await self._stack.aclose()

    async def _accept(self, listener: socket.socket, tasks: anyio.abc.TaskGroup) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except BlockingIOError:
                await anyio.wait_readable(listener)
            except ConnectionError:
                continue
            else:
                tasks.start_soon(self._serve, Connection(client))

    async def _serve(self, connection: Connection) -> None:
        self.connections += 1
        self._raw.append(connection.received)
        orderly = False
        try:
            orderly = await self._converse(connection)
        finally:
            self.connections -= 1
            connection.close() if orderly else connection.reset()

    async def _converse(self, connection: Connection) -> bool:
        """Answer request after request; True if the connection ended in good order."""
        exchange: HttpExchange | None = None
        while request := await connection.next_request():
            exchange = record(request, connection)
            self.exchanges.append(exchange)
            self._arrived.set()
            self._arrived = anyio.Event()
            reset = await self._exchange(connection, exchange)
            if reset or exchange.gone.is_set() or not connection.reusable:
                return not reset
        if exchange is not None:
            exchange.note_gone()
        return True

    async def _exchange(self, connection: Connection, exchange: HttpExchange) -> bool:
        reset = False

        async def watch() -> None:
            await connection.until_gone()
            exchange.note_gone()
            tasks.cancel_scope.cancel()

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch)
                try:
                    reset = await self._answer(connection, exchange)
                except ClientGone:
                    exchange.note_gone()
                tasks.cancel_scope.cancel()
        finally:
            exchange.note_finished()
        return reset

    async def _answer(self, connection: Connection, exchange: HttpExchange) -> bool:
        match (exchange.method, exchange.path.partition("?")[0]):
            case ("POST", "/v1/chat/completions"):
                exchange.behaviour = self._next_behaviour()
            case ("POST", "/v1/embeddings"):
                exchange.behaviour = self._next_embeddings()
                behaviour, engine = exchange.behaviour, self._engine
                return await EmbeddingResponder(connection, exchange, behaviour, engine).run()
            case ("GET", "/v1/models") if self._listing is not None:
                exchange.behaviour = self._listing
            case _:
                await _page(connection, exchange, self._models)
                return False
        source = self._generate or scripted(exchange.behaviour)
        return await Responder(connection, exchange, exchange.behaviour, source).run()

    def _next_embeddings(self) -> Behaviour:
        if len(self._embeddings) > 1:
            return self._embeddings.pop(0)
        return self._embeddings[0] if self._embeddings else Behaviour.answer()

    def _next_behaviour(self) -> Behaviour:
        if not self._script:
            return self._default
        behaviour = self._script[min(self._next, len(self._script) - 1)]
        self._next += 1
        return behaviour


async def _page(connection: Connection, exchange: HttpExchange, models: Sequence[str]) -> None:
    match (exchange.method, exchange.path.partition("?")[0]):
        case ("GET", "/v1/models"):
            listed = [{"id": model, "object": "model", "owned_by": "vanta"} for model in models]
            status, body = 200, {"object": "list", "data": listed}
        case ("GET", "/health"):
            status, body = 200, {"status": "ok"}
        case _:
            message = f"no such page: {exchange.method} {exchange.path}"
            status, body = 404, error_body(message, None, "object", "invalid_request_error")
    exchange.status = status
    await connection.send_whole(status, JSON, encode(body))
    exchange.complete = True


@contextlib.contextmanager
def nothing_listens() -> Iterator[str]:
    """A base URL at which connections are refused for as long as the context is open."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: nobody else can take the port
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
