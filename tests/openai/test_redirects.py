"""Redirects of an OpenAI-compatible server: no text and no key reaches the other server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.openai.support import answer_of, engine_at
from tests.redirecting import CODES, Answer, redirect_to, serving
from vanta.errors import EmbedderError, EngineError
from vanta.memory import EmbedderContext
from vanta_openai.embedder import OpenAIEmbedder
from vanta_openai.server import OpenAIEmbedderOptions

pytestmark = pytest.mark.anyio

KEY, SECRET = "sk-users-own-0123456789", "the wedding is on Sunday"
ANYTHING = Answer(200, {"content-type": "application/json"}, b'{"data": []}')


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


async def chat(base_url: str) -> None:
    async with engine_at(base_url, api_key_env="OPENAI_API_KEY") as engine:
        await answer_of(engine)


async def embed(base_url: str) -> None:
    context = EmbedderContext("m", Path("/nowhere"), lambda _: pytest.fail("no file is needed"))
    options = OpenAIEmbedderOptions(base_url=base_url, api_key_env="OPENAI_API_KEY")
    embedder = OpenAIEmbedder(options, context)
    try:
        await embedder.load()
        await embedder.embed([SECRET])
    finally:
        await embedder.aclose()


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("send", [chat, embed])
async def test_a_redirect_carries_neither_text_nor_key_away(
    send: Callable[[str], Awaitable[None]], code: int
) -> None:
    with serving(lambda _: ANYTHING) as other, serving(redirect_to(other, code)) as server:
        with pytest.raises((EngineError, EmbedderError)):
            await send(f"{server.url}/v1")
        assert KEY.encode() in server.received
        assert other.received == b""


@pytest.mark.parametrize("code", CODES)
async def test_a_redirected_list_of_models_carries_no_key_away(code: int) -> None:
    with serving(lambda _: ANYTHING) as other, serving(redirect_to(other, code)) as server:
        async with engine_at(f"{server.url}/v1", api_key_env="OPENAI_API_KEY") as engine:
            health = await engine.health(force=True)
        assert not health.ok
        assert "redirects" in health.detail
        assert KEY.encode() in server.received
        assert other.received == b""
