"""Embeddings over HTTP: what is sent, what is taken from an answer, what is said of a fault."""

from __future__ import annotations

import json
import os
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
from vanta.memory.embedder import Embedder, EmbedderContext
from vanta.testing import (
    Behaviour,
    EmbedderConformance,
    HashEmbedder,
    ScriptedEngine,
    Upstream,
    nothing_listens,
)
from vanta_openai.factory import EMBEDDER
from vanta_openai.options import EmbedderOptions
from vanta_openai.vectors import vectors_of

KEY = "sk-test-0123456789"


@pytest.fixture(autouse=True)
def _no_ambient_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OPENAI_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def embedder_at(base_url: str, model: str = "", **options: Any) -> Embedder:
    context = EmbedderContext(
        model, Path("/nowhere"), lambda _ref: pytest.fail("no file is needed")
    )
    return EMBEDDER.create(EmbedderOptions(base_url=base_url, **options), context)


@asynccontextmanager
async def embedding(
    *embeddings: Behaviour, **options: Any
) -> AsyncIterator[tuple[Embedder, Upstream]]:
    """An embedder and the server that it talks to."""
    async with Upstream(embeddings=embeddings) as upstream:
        embedder = embedder_at(upstream.base_url, **options)
        try:
            yield embedder, upstream
        finally:
            await embedder.aclose()


class TestConformance(EmbedderConformance):
    """Against a real server on loopback whose vectors are hashed words."""

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
    async with embedding() as (one, _), embedding() as (other, _):
        await one.load()
        await other.load()
        assert one.revision.startswith("text-embedding-3-small-")
        assert one.revision != other.revision


@pytest.mark.anyio
async def test_many_texts_are_many_requests_and_texts_without_a_word_are_none() -> None:
    async with embedding(batch=2) as (embedder, upstream):
        vectors = await embedder.embed(["one", " ", "two", "", "three"])
        assert [exchange.body["input"] for exchange in upstream.embedded[1:]] == [
            ["one", "two"],
            ["three"],
        ]
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 0, 1, 0, 1])


@pytest.mark.anyio
async def test_a_long_text_is_cut_between_two_characters() -> None:
    async with embedding(most_bytes=6) as (embedder, upstream):
        await embedder.embed(["日本語", "abcdefgh"])
        assert upstream.embedded[-1].body["input"] == ["日本", "abcdef"]


@pytest.mark.anyio
async def test_the_key_goes_with_the_request_and_into_no_error(
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
    ("behaviour", "said"),
    [
        (Behaviour.not_found("nomic"), "model_not_found: HTTP 404"),
        (Behaviour.rate_limited(), "rate_limited: HTTP 429"),
        (Behaviour.server_error(503), "overloaded: HTTP 503"),
        (Behaviour.context_overflow(), "context_overflow: .*Lower the option 'most_bytes'"),
        (Behaviour.refused(), "network: the connection broke"),
        (Behaviour.cut(0), "network: the connection broke"),
        (Behaviour.malformed(0), "server: what came as embeddings is none"),
        (Behaviour.error_frame(), "server: HTTP 500"),
    ],
)
async def test_a_fault_is_one_error_and_is_not_tried_again(behaviour: Behaviour, said: str) -> None:
    async with embedding(Behaviour.answer(), behaviour) as (embedder, upstream):
        await embedder.load()
        with pytest.raises(EmbedderError, match=f"embedder 'openai': {said}"):
            await embedder.embed(["x"])
        assert len(upstream.embedded) == 2


@pytest.mark.anyio
async def test_a_server_that_is_silent_is_left_at_the_timeout() -> None:
    async with embedding(Behaviour.stall(0), timeout_s=1.5) as (embedder, upstream):
        with pytest.raises(EmbedderError, match=r"timeout: no answer within 1.5 s.*'timeout_s'"):
            await embedder.load()
        with anyio.fail_after(30):
            await upstream.embedded[0].gone.wait()


@pytest.mark.anyio
async def test_a_load_that_failed_can_be_tried_again() -> None:
    async with embedding(Behaviour.server_error(), Behaviour.answer()) as (embedder, _):
        with pytest.raises(EmbedderError):
            await embedder.load()
        with pytest.raises(EmbedderError, match="not loaded yet"):
            _ = embedder.dimension
        await embedder.load()
        assert embedder.dimension == 64


@pytest.mark.anyio
async def test_a_cancelled_request_is_given_up() -> None:
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
async def test_where_nothing_listens_the_error_says_so() -> None:
    with nothing_listens() as url:
        embedder = embedder_at(url)
        with pytest.raises(EmbedderError, match=r"network: no connection.*Check that the server"):
            await embedder.load()
        await embedder.aclose()


class Growing(ScriptedEngine):
    """An engine whose vectors get longer from one request to the next."""

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
        with pytest.raises(EmbedderError, match="vectors of 2 components came where the first had"):
            await embedder.embed(["x"])
        await embedder.aclose()


@pytest.mark.anyio
async def test_an_engine_behind_the_server_that_cannot_embed_says_so() -> None:
    async with Upstream(engine=ScriptedEngine("no vectors")) as upstream:
        embedder = embedder_at(upstream.base_url)
        with pytest.raises(EmbedderError, match=r"HTTP 400: .*cannot be embedded by this engine"):
            await embedder.load()
        await embedder.aclose()


@pytest.mark.anyio
async def test_fewer_vectors_than_texts_are_refused() -> None:
    answer = json.dumps({"data": [{"embedding": [1.0, 0.0]}]})
    async with RawServer(answer, content_type="application/json") as server:
        embedder = embedder_at(server.base_url)
        with pytest.raises(EmbedderError, match="1 vectors came for 2 texts"):
            await embedder.embed(["x", "y"])
        await embedder.aclose()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("[]", "no list of vectors"),
        ('{"data": 3}', "no list of vectors"),
        ('{"data": [{"index": 0}]}', "no list of vectors"),
        ('{"data": []}', "0 vectors came for 1 texts"),
        ('{"data": [{"index": 1, "embedding": [1]}]}', "index 1, of 1"),
        ('{"data": [{"embedding": []}]}', "no rows"),
        ('{"data": [{"embedding": [NaN]}]}', "no rows of finite numbers"),
        ('{"data": [{"embedding": ["a"]}]}', "no numbers"),
        ('{"data": [{"embedding": 1}]}', "no rows"),
    ],
)
def test_an_answer_that_is_none_says_why(answer: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        vectors_of(answer.encode(), 1)


def test_rows_follow_the_servers_index() -> None:
    answer = b'{"data": [{"index": 1, "embedding": [0, 2]}, {"index": 0, "embedding": [3, 0]}]}'
    assert vectors_of(answer, 2).tolist() == [[1, 0], [0, 1]]
    with pytest.raises(ValueError, match="two vectors have one index"):
        vectors_of(answer.replace(b"1,", b"0,"), 2)


def test_it_is_off_without_key_and_server_and_never_chosen_by_itself() -> None:
    context = EmbedderContext("", Path("/nowhere"), lambda _ref: pytest.fail("no file is needed"))
    assert "no OPENAI_API_KEY and no base_url" in (EMBEDDER.off(EmbedderOptions(), context) or "")
    assert EMBEDDER.off(EmbedderOptions(base_url="http://127.0.0.1:9/v1"), context) is None
    assert EMBEDDER.rank == 0


def test_a_key_in_its_options_is_refused() -> None:
    with pytest.raises(ValidationError, match="no place in a configuration"):
        EmbedderOptions.model_validate({"api_key": KEY})


def test_the_built_in_plugins_bring_the_embedders() -> None:
    found = plugins.load(strict=True).embedders
    assert {"minilm", "openai", "static"} <= set(found)
    assert found.origin("openai") == "openai"
    ranked = sorted(found, key=lambda name: -found[name].rank)
    assert ranked[0] == "minilm"
    assert ranked[-1] == "openai"
