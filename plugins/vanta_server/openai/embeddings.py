"""`POST /v1/embeddings`: vectors as numbers, or as the base64 of 32-bit floats.

Invariant: both forms have the same numbers, little-endian, in the order of the texts.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from vanta_server.access import client_of
from vanta_server.embedding import embed_texts
from vanta_server.endpoint import Call, Endpoint
from vanta_server.fields import RequestBody, read_request
from vanta_server.openai.responses import server_event


class EmbeddingsRequest(RequestBody):
    """The body of `POST /v1/embeddings`. Texts as token ids are not read."""

    input: str | list[str]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = None

    @property
    def texts(self) -> list[str]:
        """The texts to embed."""
        return [self.input] if isinstance(self.input, str) else self.input


class Embeddings(Endpoint):
    """The endpoint.

    :param runtime: its memory has the embedder.
    """

    async def answer(self, body: object, call: Call) -> None:
        """Answer one request."""
        request = read_request(EmbeddingsRequest, body)
        embedded = await embed_texts(
            self.runtime,
            client_of(call.scope, request.user),
            request.model,
            request.texts,
            dimensions=request.dimensions,
        )
        write = _base64 if request.encoding_format == "base64" else list
        data = [
            {"object": "embedding", "index": place, "embedding": write(row)}
            for place, row in enumerate(embedded.vectors.tolist())
        ]
        await call.send_json(
            {
                "object": "list",
                "data": data,
                "model": request.model or embedded.model,
                "usage": {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens},
                "vanta": {"embedder": embedded.model, "ignored": request.ignored},
            }
        )

    def error_piece(self, body: Mapping[str, Any]) -> bytes:
        """Return an error as an event; this endpoint has no streams."""
        return server_event(body)


def _base64(numbers: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode("ascii")
