"""Images through the official clients: as bytes only, bounded, refused in each protocol's shape."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import anthropic
import ollama
import openai
import pytest

from tests.pictures import picture
from tests.vanta_server.served import served
from vanta.testing import ScriptedEngine
from vanta.testing.scripted import ALL

pytestmark = pytest.mark.anyio
CAT = picture(30, 30)
CODED = base64.b64encode(CAT.data).decode()


def content(url: str, count: int = 1) -> Any:
    image = {"type": "image_url", "image_url": {"url": url}}
    return [{"role": "user", "content": [{"type": "text", "text": "What?"}, *[image] * count]}]


async def test_an_image_in_a_data_url_reaches_a_track_that_sees(tmp_path: Path) -> None:
    api = ScriptedEngine("A cat.", capabilities=replace(ALL, images=True))
    blind = ScriptedEngine("blind")
    async with (
        served(tmp_path, local=blind, api=api, policy="race") as server,
        server.client() as client,
    ):
        whole = await client.chat.completions.create(model="vanta", messages=content(CAT.url))
        stream = await client.chat.completions.create(
            model="vanta", messages=content(CAT.url), stream=True
        )
        text = "".join([item.choices[0].delta.content or "" async for item in stream])
    assert whole.choices[0].message.content == text == "A cat."
    assert [request.messages[-1].parts for request in api.requests] == [("What?", CAT)] * 2
    assert not blind.requests


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        (content("http://127.0.0.1:1/a.png"), "does not fetch"),
        (content("https://example.com/a.png"), "does not fetch"),
        (content("data:image/png;base64,PHN2Zz4="), "not one"),
        (content(CAT.url, 65), "at most 64"),
    ],
)
async def test_other_images_are_refused_in_openais_shape(
    tmp_path: Path, messages: Any, why: str
) -> None:
    api = ScriptedEngine("leaked", capabilities=replace(ALL, images=True))
    async with served(tmp_path, api=api, policy="api") as server, server.client() as client:
        with pytest.raises(openai.BadRequestError, match=why) as caught:
            await client.chat.completions.create(model="vanta", messages=messages)
    assert caught.value.type == "invalid_request_error"
    assert "messages[0]" in caught.value.message
    assert not api.requests


async def test_a_model_that_cannot_see_is_a_bad_request_not_one_to_repeat(tmp_path: Path) -> None:
    async with (
        served(tmp_path, local=ScriptedEngine("blind"), policy="local") as server,
        server.client() as client,
    ):
        with pytest.raises(openai.BadRequestError, match="cannot see") as caught:
            await client.chat.completions.create(model="vanta", messages=content(CAT.url))
    assert caught.value.code == "unsupported"


async def test_an_image_reaches_a_track_that_sees_in_anthropics_protocol(tmp_path: Path) -> None:
    api = ScriptedEngine("A cat.", capabilities=replace(ALL, images=True))
    source: Any = {"type": "base64", "media_type": "image/png", "data": CODED}
    linked: Any = {"type": "url", "url": "https://example.com/a.png"}
    async with (
        served(tmp_path, local=ScriptedEngine("blind"), api=api, policy="race") as server,
        anthropic.AsyncAnthropic(base_url=server.url, api_key="none", max_retries=0) as client,
    ):

        async def ask(image: Any) -> anthropic.types.Message:
            parts: Any = [{"type": "text", "text": "What?"}, {"type": "image", "source": image}]
            answer: anthropic.types.Message = await client.messages.create(
                model="vanta", max_tokens=20, messages=[{"role": "user", "content": parts}]
            )
            return answer

        assert (await ask(source)).model_dump()["content"][0]["text"] == "A cat."
        with pytest.raises(anthropic.BadRequestError, match="bytes of an image"):
            await ask(linked)
    assert [request.messages[-1].parts for request in api.requests] == [("What?", CAT)]


async def test_an_image_reaches_a_track_that_sees_in_ollamas_protocol(tmp_path: Path) -> None:
    api = ScriptedEngine("A cat.", capabilities=replace(ALL, images=True))
    async with served(tmp_path, local=ScriptedEngine("blind"), api=api, policy="race") as server:
        client = ollama.AsyncClient(host=server.url, trust_env=False)
        message = {"role": "user", "content": "What?", "images": [CODED]}
        chat = await client.chat(model="vanta", messages=[message])
        generated = await client.generate(model="vanta", prompt="What?", images=[CODED])
        await client.close()  # type: ignore[no-untyped-call]
    assert chat.message.content == generated.response == "A cat."
    assert [request.messages[-1].parts for request in api.requests] == [("What?", CAT)] * 2
