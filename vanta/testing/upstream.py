"""A real OpenAI-compatible HTTP server on a loopback port, with faults on demand.

    async with Upstream(Behaviour.cut(after=2)) as upstream:
        ...  # talk to upstream.base_url
        exchange = await upstream.chat(0)
        await exchange.gone.wait()

It answers `POST /v1/chat/completions`, `POST /v1/embeddings`, `GET /v1/models` and `GET /health`.

Invariant: leaving the context resets requests in flight at once and leaves no task and no socket.
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
from vanta.testing._http import ClientGone, Connection, HttpExchange, record, redact
from vanta.testing.steps import Waitable

__all__ = ["Behaviour", "HttpExchange", "Upstream", "Waitable", "nothing_listens"]

_CHAT = ("POST", "/v1/chat/completions")
_EMBEDDINGS = ("POST", "/v1/embeddings")


class Upstream:
    """The server. `exchanges` has every request in order of arrival.

    :param script: behaviours of chat completions, one per request, in order; the last one repeats.
    :param default: behaviour of chat completions without a script.
    :param models: model ids that `GET /v1/models` lists.
    :param listing: behaviour of `GET /v1/models`, for its faults.
    :param embeddings: behaviours of requests for embeddings, like `script`; their text is ignored.
        The vectors are those of `engine`, or of hashed words.
    :param engine: a real engine that answers. Pauses, gates and faults of behaviours still apply.
    :param generate: the same as a function from a request's body to a context of deltas.
    :param port: port to listen on; 0 for a free one.
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
        """Append to the script.

        :param behaviours: behaviours of further chat completions.
        :returns: this server.
        """
        self._script.extend(behaviours)
        return self

    def always(self, behaviour: Behaviour) -> None:
        """Replace the script from the next request on.

        :param behaviour: behaviour of every further chat completion.
        """
        self._script, self._next = [behaviour], 0

    @property
    def base_url(self) -> str:
        """Its URL with `/v1`, as OpenAI clients expect it."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def received(self) -> bytes:
        """All bytes of all connections so far, keys redacted."""
        return b"".join(map(redact, self._raw))

    @property
    def chats(self) -> list[HttpExchange]:
        """The chat completions among `exchanges`."""
        return [e for e in self.exchanges if (e.method, e.path) == _CHAT]

    @property
    def embedded(self) -> list[HttpExchange]:
        """The requests for embeddings among `exchanges`."""
        return [e for e in self.exchanges if (e.method, e.path) == _EMBEDDINGS]

    async def chat(self, index: int = 0) -> HttpExchange:
        """Wait until a chat completion has arrived and return it.

        :param index: number of the chat completion, from 0.
        """
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
        # The body's exception is not passed on: the server must not wrap it in a group.
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
        """Answer one request after another; return True unless the connection must be reset."""
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
    """Open a context with a base URL at which connections are refused."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening, so the port stays reserved
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
