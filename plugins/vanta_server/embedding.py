"""Vectors for clients, from the embedder of the runtime's memory.

Invariant: a request has at most as many texts, and as many characters, as one request of OpenAI's
may have, so that no client can hold the embedder for itself; its work is cancelled with the
request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import anyio.to_thread

from vanta import EmbedderError, Runtime, UnknownName, UsageError
from vanta.context import estimate_text
from vanta.memory import Embedder, Vectors
from vanta_server.access import Client
from vanta_server.errors import ApiError
from vanta_server.names import OURS

MOST_TEXTS = 2048
MOST_CHARACTERS = 1_200_000
"""OpenAI's limit of 300,000 tokens, with four characters to a token."""


@dataclass(frozen=True, slots=True)
class EmbeddedTexts:
    """Texts as vectors.

    :param model: the name of the embedder.
    :param vectors: a row for each text.
    :param tokens: an estimate of the tokens of all texts.
    """

    model: str
    vectors: Vectors
    tokens: int


async def embed_texts(
    runtime: Runtime,
    client: Client,
    name: str,
    texts: Sequence[str],
    *,
    dimensions: int | None = None,
) -> EmbeddedTexts:
    """Embed the texts of a client.

    :param runtime: its memory has the embedder.
    :param client: the client of the request.
    :param name: the embedder's name or model, or `vanta` for the one there is.
    :param texts: the texts.
    :param dimensions: how many components the client wants; None for as many as there are.
    :raises ApiError: if the texts are too many, the embedder has another number of components, or
        it cannot be used.
    :raises UnknownName: if the embedder has another name.
    """
    embedder = find_embedder(runtime, name)
    client.require_model([embedder.name, OURS])
    _check(texts)
    tokens = await anyio.to_thread.run_sync(lambda: sum(map(estimate_text, texts)))
    try:
        await embedder.load()
        if dimensions is not None and dimensions != embedder.dimension:
            raise _wrong_dimension(embedder, dimensions)
        vectors = await embedder.embed(texts)
    except EmbedderError as error:
        raise ApiError(503, str(error), "server_error", "embedder_failed") from error
    client.spend(tokens)
    return EmbeddedTexts(embedder.name, vectors, tokens)


def find_embedder(runtime: Runtime, name: str) -> Embedder:
    """Return the embedder that a client names.

    :param runtime: its memory has the embedder.
    :param name: the embedder's name or model, or `vanta` for the one there is.
    :raises UsageError: if there is no embedder.
    :raises UnknownName: if it has another name.
    """
    embedder = runtime.memory.embedder if runtime.memory else None
    if embedder is None:
        why = runtime.memory_off or "memory compares words alone"
        raise UsageError(f"this server has no embedder: {why}. Set 'memory.embedder'.")
    names = [name for name in (OURS, embedder.name, runtime.config.memory.embedder_model) if name]
    if name and name not in names:
        raise UnknownName("embedding model", name, names)
    return embedder


def _check(texts: Sequence[str]) -> None:
    if not texts or not all(texts):
        raise ApiError(400, "'input' has no text, or an empty one", param="input")
    if len(texts) > MOST_TEXTS:
        problem = f"'input' has {len(texts)} texts; it may have at most {MOST_TEXTS}"
        raise ApiError(400, problem, param="input", code="too_many_inputs")
    length = sum(map(len, texts))
    if length > MOST_CHARACTERS:
        problem = f"'input' has {length} characters; it may have at most {MOST_CHARACTERS}"
        raise ApiError(400, problem, param="input", code="too_large")


def _wrong_dimension(embedder: Embedder, dimensions: int) -> ApiError:
    return ApiError(
        400,
        f"the embedder {embedder.name!r} has vectors of {embedder.dimension} components, which "
        f"cannot be made {dimensions}. Leave 'dimensions' out.",
        param="dimensions",
    )
