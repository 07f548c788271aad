"""How an `Upstream` answers one request for embeddings: a `Behaviour`, acted out.

https://platform.openai.com/docs/api-reference/embeddings. The vectors are an engine's or those of
`HashEmbedder`. Invariant: as of `_respond`: every wait can be cancelled, and `run` returns whether
the connection is to be reset.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import anyio

from vanta.engine import Engine
from vanta.errors import EngineError
from vanta.testing._behaviour import Behaviour, error_body
from vanta.testing._exchange import Exchange
from vanta.testing._frames import encode
from vanta.testing._http import Connection
from vanta.testing._respond import JSON, status_of, wait
from vanta.testing.hashing import HashEmbedder
from vanta.testing.tokens import count_tokens

MOST = 2048
"""Texts of one request."""

DIMENSION = 64
"""Where the client asked for none."""


class EmbeddingResponder:
    """Answers one request; engine: whose vectors they are, None for those of hashed words."""

    def __init__(
        self,
        connection: Connection,
        exchange: Exchange,
        behaviour: Behaviour,
        engine: Engine | None,
    ) -> None:
        self._connection = connection
        self._exchange = exchange
        self._behaviour = behaviour
        self._engine = engine

    async def run(self) -> bool:
        """Answer; True if the connection is to be reset now."""
        behaviour = self._behaviour
        await wait(behaviour.headers_after_s, behaviour.headers_gate)
        if behaviour.status != 200:
            await self._whole(behaviour.status, encode(behaviour.error))
            return False
        match behaviour.fault:
            case "refuse":
                return True
            case "stall":
                await anyio.sleep_forever()
            case "error_frame":
                await self._whole(200, encode(behaviour.error))
                return False
            case _:
                pass
        status, body = await self._answer()
        return await self._send(status, encode(body))

    async def _send(self, status: int, body: bytes) -> bool:
        half = body[: len(body) // 2]
        if self._behaviour.fault == "cut":
            length = {"content-length": str(len(body))}
            await self._connection.send_head(status, {**JSON, **length})
            await self._connection.send_data(half)
            return True
        await self._whole(status, half if self._behaviour.fault == "malformed" else body)
        return False

    async def _answer(self) -> tuple[int, Mapping[str, Any]]:
        texts = self._texts()
        if not texts or len(texts) > MOST or not all(texts):
            message = f"'input' must be 1 to {MOST} texts, none of them empty."
            return 400, error_body(message, None, "object", "invalid_request_error")
        try:
            vectors = await self._vectors(texts)
        except EngineError as error:
            body = error_body(str(error), str(error.kind), "object", "engine_error")
            return status_of(error.kind), body
        data = [
            {"object": "embedding", "index": index, "embedding": self._encoded(vector)}
            for index, vector in enumerate(vectors)
        ]
        tokens = sum(map(count_tokens, texts))
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        model = self._behaviour.model or str(self._exchange.body.get("model", ""))
        return 200, {"object": "list", "data": data, "model": model, "usage": usage}

    def _texts(self) -> Sequence[str]:
        given = self._exchange.body.get("input")
        texts = [given] if isinstance(given, str) else given
        sound = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
        return texts if sound and texts else ()

    async def _vectors(self, texts: Sequence[str]) -> list[list[float]]:
        if self._engine is not None:
            return await self._engine.embed(texts)
        dimension = int(self._exchange.body.get("dimensions") or DIMENSION)
        vectors: list[list[float]] = (await HashEmbedder(dimension).embed(texts)).tolist()
        return vectors

    def _encoded(self, vector: Sequence[float]) -> Sequence[float] | str:
        if self._exchange.body.get("encoding_format") != "base64":
            return vector
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()

    async def _whole(self, status: int, body: bytes) -> None:
        self._exchange.status = status
        await self._connection.send_whole(status, {**JSON, **self._behaviour.headers}, body)
        self._exchange.complete = True
