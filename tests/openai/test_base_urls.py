"""Base URLs as people write them: with a query, repeated slashes, or a whole endpoint."""

from __future__ import annotations

import pytest

from tests.openai.support import answer_of, engine_at
from tests.openai.test_embedder import embedder_at
from vanta.testing import Upstream
from vanta_openai.server import ApiServer

AZURE = "https://r.openai.azure.com/openai/deployments/gpt-4o"


def joined(url: str) -> tuple[str, list[tuple[str, str]]]:
    server = ApiServer("x", url, None)
    return server.base_url, list(server.query)


@pytest.mark.parametrize(
    ("url", "base", "query"),
    [
        ("https://a/v1", "https://a/v1", []),
        ("https://a/v1/", "https://a/v1", []),
        ("https://a//v1//", "https://a/v1", []),
        ("https://a", "https://a", []),
        ("https://a/", "https://a", []),
        ("https://a:8443/v1?k=1", "https://a:8443/v1", [("k", "1")]),
        ("https://a/v1/?k=1&k=2&e=", "https://a/v1", [("k", "1"), ("k", "2"), ("e", "")]),
        ("https://a/v1?sig=a%2Fb%3D//", "https://a/v1", [("sig", "a/b=//")]),
        ("https://a?k=1", "https://a", [("k", "1")]),
        ("https://a/v1#start", "https://a/v1", []),
        ("https://u:p%40w@a/v1/?k=1", "https://u:p%40w@a/v1", [("k", "1")]),
        ("http://[::1]:80//v1", "http://[::1]:80/v1", []),
        ("https://a/b%2Fc%20d/v1/", "https://a/b%2Fc%20d/v1", []),
        ("https://proxy/https://a/v1/", "https://proxy/https://a/v1", []),
        (f"{AZURE}?api-version=2024-10-21", AZURE, [("api-version", "2024-10-21")]),
        (f"{AZURE}/chat/completions?api-version=1", AZURE, [("api-version", "1")]),
        ("https://a/v1/chat/completions/", "https://a/v1", []),
        ("https://a/v1/embeddings", "https://a/v1", []),
    ],
)
def test_a_base_url_has_a_path_to_append_to_and_a_query_of_its_own(
    url: str, base: str, query: list[tuple[str, str]]
) -> None:
    assert joined(url) == (base, query)


@pytest.mark.parametrize(
    ("suffix", "query"),
    [
        ("", ""),
        ("/", ""),
        ("//", ""),
        ("?api-version=2024-10-21", "?api-version=2024-10-21"),
        ("/?api-version=2024-10-21", "?api-version=2024-10-21"),
        ("//?a=1&a=2", "?a=1&a=2"),
        ("/chat/completions?a=1", "?a=1"),
        ("#part", ""),
    ],
)
@pytest.mark.anyio
async def test_every_request_goes_to_its_endpoint_with_the_query(suffix: str, query: str) -> None:
    async with (
        Upstream(models=("test-model",)) as upstream,
        engine_at(upstream.base_url + suffix) as engine,
    ):
        await answer_of(engine)
        assert (await engine.health(force=True)).ok
        paths = [exchange.path for exchange in upstream.exchanges]
        assert paths == [f"/v1/chat/completions{query}", f"/v1/models{query}"]


@pytest.mark.anyio
async def test_embeddings_are_requested_with_the_query() -> None:
    async with Upstream() as upstream:
        embedder = embedder_at(upstream.base_url + "/?api-version=1")
        await embedder.load()
        await embedder.aclose()
        assert [item.path for item in upstream.exchanges] == ["/v1/embeddings?api-version=1"]
