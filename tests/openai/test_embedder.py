"""Embeddings over HTTP: requests, answers and errors."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from pydantic import ValidationError

from tests.openai.support import RawServer
from vanta import plugin_loading as plugins
from vanta.errors import EmbedderError
from vanta.memory import Embedder, EmbedderContext
from vanta.testing import (
    Behaviour,
    EmbedderConformance,
    HashEmbedder,
    ScriptedEngine,
    Upstream,
    nothing_listens,
)
from vanta_openai import vanta_embedders
from vanta_openai.protocol import parse_embeddings
from vanta_openai.server import OpenAIEmbedderOptions

(FACTORY,) = vanta_embedders()
KEY = "sk-test-0123456789"


def embedder_at(base_url: str, model: str = "", **options: Any) -> Embedder:
    context = EmbedderContext(
        model, Path("/nowhere"), lambda _ref: pytest.fail("no file is needed")
    )
    return FACTORY.create(OpenAIEmbedderOptions(base_url=base_url, **options), context)


@asynccontextmanager
async def embedding(
    *embeddings: Behaviour, **options: Any
) -> AsyncIterator[tuple[Embedder, Upstream]]:
    """Yield an embedder and its server."""
    async with Upstream(embeddings=embeddings) as upstream:
        embedder = embedder_at(upstream.base_url, **options)
        try:
            yield embedder, upstream
        finally:
            await embedder.aclose()


class TestConformance(EmbedderConformance):
    """Against a real server on loopback whose vectors are hashes of words."""

    @pytest.fixture
    async def embedder(self) -> AsyncIterator[Embedder]:
        """A fresh one."""
        async with embedding() as (embedder, _):
            yield embedder


@pytest.mark.anyio
async def test_vectors_are_the_servers_and_the_request_is_openais() -> None:
    async with embedding(model="BAAI/bge-m3", dimensions=32) as (embedder, upstream):
        await embedder.load()
        vectors = await embedder.embed(["a red fox", "a stone"])
        assert np.allclose(vectors, await HashEmbedder(32).embed(["a red fox", "a stone"]))
        assert upstream.embedded[-1].body == {
            "model": "BAAI/bge-m3",
            "input": ["a red fox", "a stone"],
            "encoding_format": "float",
            "dimensions": 32,
        }
        assert embedder.dimension == 32
        assert embedder.revision.startswith("bge-m3-")
        assert "/" not in embedder.revision
    assert not embedder.private


@pytest.mark.anyio
async def test_the_same_model_elsewhere_is_another_revision() -> None:
    async with embedding() as (first, _), embedding() as (second, _):
        await first.load()
        await second.load()
        assert first.revision.startswith("text-embedding-3-small-")
        assert first.revision != second.revision


@pytest.mark.anyio
async def test_texts_are_sent_in_batches_and_blank_texts_not_at_all() -> None:
    async with embedding(batch=2) as (embedder, upstream):
        vectors = await embedder.embed(["one", " ", "two", "", "three"])
        assert [exchange.body["input"] for exchange in upstream.embedded[1:]] == [
            ["one", "two"],
            ["three"],
        ]
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 0, 1, 0, 1])


@pytest.mark.anyio
async def test_a_long_text_is_truncated_between_two_characters() -> None:
    async with embedding(most_bytes=6) as (embedder, upstream):
        await embedder.embed(["日本語", "abcdefgh"])
        assert upstream.embedded[-1].body["input"] == ["日本", "abcdef"]


@pytest.mark.anyio
async def test_the_key_is_sent_and_appears_in_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    wrong = Behaviour.failure(401, f"Incorrect API key provided: {KEY}", code="invalid_api_key")
    async with embedding(Behaviour.answer(), wrong) as (embedder, upstream):
        await embedder.load()
        assert upstream.embedded[0].authorized_with(KEY)
        with pytest.raises(EmbedderError, match=r"auth: HTTP 401.*set OPENAI_API_KEY") as raised:
            await embedder.embed(["x"])
    error: BaseException | None = raised.value
    while error is not None:
        assert KEY not in f"{error!r} {error}"
        error = error.__cause__ or error.__context__


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (Behaviour.not_found("nomic"), "model_not_found: HTTP 404"),
        (Behaviour.rate_limited(), "rate_limited: HTTP 429"),
        (Behaviour.server_error(503), "overloaded: HTTP 503"),
        (Behaviour.context_overflow(), "context_overflow: .*Lower the option 'most_bytes'"),
        (Behaviour.cut(0), "network: the connection broke"),
        (Behaviour.malformed(0), "server: the answer is not a list of embeddings"),
        (Behaviour.error_frame(), "server: HTTP 500"),
    ],
)
async def test_a_failure_is_one_error_without_a_retry(behaviour: Behaviour, message: str) -> None:
    async with embedding(Behaviour.answer(), behaviour) as (embedder, upstream):
        await embedder.load()
        with pytest.raises(EmbedderError, match=f"embedder 'openai': {message}"):
            await embedder.embed(["x"])
        assert len(upstream.embedded) == 2


@pytest.mark.anyio
async def test_a_reused_connection_that_closes_without_an_answer_is_replaced_once() -> None:
    async with embedding(Behaviour.answer(), Behaviour.refused()) as (embedder, upstream):
        await embedder.load()
        with pytest.raises(EmbedderError, match="network: the connection broke"):
            await embedder.embed(["x"])
        assert len(upstream.embedded) == 3


@pytest.mark.anyio
async def test_a_silent_server_is_abandoned_at_the_timeout() -> None:
    async with embedding(Behaviour.stall(0), timeout_s=1.5) as (embedder, upstream):
        with pytest.raises(EmbedderError, match=r"timeout: no answer within 1.5 s.*'timeout_s'"):
            await embedder.load()
        with anyio.fail_after(30):
            await upstream.embedded[0].gone.wait()


@pytest.mark.anyio
async def test_a_failed_load_can_be_repeated() -> None:
    async with embedding(Behaviour.server_error(), Behaviour.answer()) as (embedder, _):
        with pytest.raises(EmbedderError):
            await embedder.load()
        with pytest.raises(EmbedderError, match="not loaded yet"):
            _ = embedder.dimension
        await embedder.load()
        assert embedder.dimension == 64


@pytest.mark.anyio
async def test_a_cancelled_request_closes_its_connection() -> None:
    gate = anyio.Event()
    held = Behaviour.answer(headers_gate=gate)
    async with embedding(Behaviour.answer(), held) as (embedder, upstream):
        await embedder.load()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(embedder.embed, ["x"])
            while len(upstream.embedded) < 2:
                await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(30):
            await upstream.embedded[1].gone.wait()


@pytest.mark.anyio
async def test_a_refused_connection_is_an_error_that_says_so() -> None:
    with nothing_listens() as url:
        embedder = embedder_at(url)
        with pytest.raises(EmbedderError, match=r"network: no connection.*Check that the server"):
            await embedder.load()
        await embedder.aclose()


class Growing(ScriptedEngine):
    """An engine whose vectors grow with each request."""

    length = 0

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.length += 1
        return [[1.0] * self.length for _ in texts]


@pytest.mark.anyio
async def test_vectors_that_change_their_length_are_refused() -> None:
    async with Upstream(engine=Growing()) as upstream:
        embedder = embedder_at(upstream.base_url)
        await embedder.load()
        assert embedder.dimension == 1
        with pytest.raises(EmbedderError, match="vectors of 2 components where its first one had"):
            await embedder.embed(["x"])
        await embedder.aclose()


@pytest.mark.anyio
async def test_an_engine_behind_the_server_that_cannot_embed_says_so() -> None:
    async with Upstream(engine=ScriptedEngine("no vectors")) as upstream:
        embedder = embedder_at(upstream.base_url)
        with pytest.raises(EmbedderError, match=r"HTTP 400: .*this engine does not embed texts"):
            await embedder.load()
        await embedder.aclose()


@pytest.mark.anyio
async def test_fewer_vectors_than_texts_are_refused() -> None:
    answer = json.dumps({"data": [{"embedding": [1.0, 0.0]}]})
    async with RawServer(answer, content_type="application/json") as server:
        embedder = embedder_at(server.base_url)
        with pytest.raises(EmbedderError, match="1 vectors were returned for 2 texts"):
            await embedder.embed(["x", "y"])
        await embedder.aclose()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("[]", "contains no list of vectors"),
        ('{"data": 3}', "contains no list of vectors"),
        ('{"data": [{"index": 0}]}', "contains no list of vectors"),
        ('{"data": []}', "0 vectors were returned for 1 texts"),
        ('{"data": [{"index": 1, "embedding": [1]}]}', "index 1, which is not one of 1"),
        ('{"data": [{"embedding": []}]}', "not rows"),
        ('{"data": [{"embedding": [NaN]}]}', "not rows of finite numbers"),
        ('{"data": [{"embedding": ["a"]}]}', "not numbers"),
        ('{"data": [{"embedding": 1}]}', "not rows"),
    ],
)
def test_a_wrong_answer_is_refused_with_the_reason(answer: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_embeddings(answer.encode(), 1)


def test_rows_follow_the_servers_index() -> None:
    answer = b'{"data": [{"index": 1, "embedding": [0, 2]}, {"index": 0, "embedding": [3, 0]}]}'
    assert parse_embeddings(answer, 2).tolist() == [[1, 0], [0, 1]]
    with pytest.raises(ValueError, match="two vectors have the same index"):
        parse_embeddings(answer.replace(b"1,", b"0,"), 2)


def test_it_is_off_without_key_and_server_and_never_chosen_automatically() -> None:
    context = EmbedderContext("", Path("/nowhere"), lambda _ref: pytest.fail("no file is needed"))
    assert "no OPENAI_API_KEY and no base_url" in (
        FACTORY.off(OpenAIEmbedderOptions(), context) or ""
    )
    assert FACTORY.off(OpenAIEmbedderOptions(base_url="http://127.0.0.1:9/v1"), context) is None
    assert FACTORY.rank == 0


def test_a_key_in_its_options_is_refused() -> None:
    with pytest.raises(ValidationError, match="does not belong in a configuration"):
        OpenAIEmbedderOptions.model_validate({"api_key": KEY})


def test_the_built_in_plugins_bring_the_embedders() -> None:
    embedders = plugins.load(strict=True).embedders
    assert {"minilm", "openai", "static"} <= set(embedders)
    assert embedders.origin("openai") == "openai"
    ranked = sorted(embedders, key=lambda name: -embedders[name].rank)
    assert ranked[0] == "minilm"
    assert ranked[-1] == "openai"
