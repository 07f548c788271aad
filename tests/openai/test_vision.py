"""Images in requests: their parts, where those of results go, which models see, their tokens."""

from __future__ import annotations

from typing import Any

import pytest

from tests.openai.support import answer_of, engine_at
from tests.pictures import jpeg_bytes, picture
from vanta import EngineError, ErrorKind, GenerationRequest, Image, Message, ToolCall, scrub_error
from vanta.testing import Upstream
from vanta_openai.vision import OF_RESULTS, can_see

pytestmark = pytest.mark.anyio
CAT = picture()


async def messages_sent(*messages: Message, **options: Any) -> list[dict[str, Any]]:
    """Return the messages that the server received."""
    async with (
        Upstream() as upstream,
        engine_at(upstream.base_url, images=True, **options) as engine,
    ):
        await answer_of(engine, GenerationRequest(messages))
        return list((await upstream.chat()).body["messages"])


async def test_texts_and_images_are_sent_as_parts_in_their_order() -> None:
    message = Message.of("user", ["This", CAT, "and that"])
    assert await messages_sent(message) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "This"},
                {"type": "image_url", "image_url": {"url": CAT.url}},
                {"type": "text", "text": "and that"},
            ],
        }
    ]


async def test_images_of_results_follow_the_results_in_a_message_of_the_user() -> None:
    calls = (ToolCall("a", "shot", "{}"), ToolCall("b", "shot", "{}"))
    sent = await messages_sent(
        Message("user", "Look"),
        Message("assistant", "", calls),
        Message("tool", "one", tool_call_id="a", images=(CAT,)),
        Message("tool", "two", tool_call_id="b"),
    )
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "tool", "user"]
    assert sent[2]["content"] == "one"
    assert sent[4]["content"] == [
        {"type": "text", "text": OF_RESULTS},
        {"type": "image_url", "image_url": {"url": CAT.url}},
    ]


async def test_messages_that_are_joined_keep_their_images_in_place() -> None:
    first, second = Message.of("user", [CAT, "one"]), Message.of("user", ["two", CAT])
    (sent,) = await messages_sent(first, second, roles="alternating")
    kinds = [part.get("text", "image") for part in sent["content"]]
    assert kinds == ["image", "one\n\ntwo", "image"]


@pytest.mark.parametrize(
    ("model", "sees"),
    [
        ("gpt-4o", True),
        ("gpt-4o-mini-2024-07-18", True),
        ("openai/gpt-4.1-nano", True),
        ("gpt-5-mini", True),
        ("o3", True),
        ("claude-sonnet-4-5", True),
        ("qwen/Qwen2.5-VL-7B-Instruct", True),
        ("meta-llama/Llama-3.2-11B-Vision-Instruct", True),
        ("o3-mini", False),
        ("o1-preview", False),
        ("gpt-3.5-turbo", False),
        ("gpt-4", False),
        ("gpt-4o-audio-preview", False),
        ("qwen2.5-7b-instruct", False),
        ("test-model", False),
    ],
)
async def test_a_name_says_which_models_see_and_the_option_images_decides(
    model: str, sees: bool
) -> None:
    assert can_see(model) is sees
    async with engine_at("http://127.0.0.1:1", model=model) as engine:
        assert engine.capabilities.images is sees
    async with engine_at("http://127.0.0.1:1", model=model, images=not sees) as engine:
        assert engine.capabilities.images is not sees


@pytest.mark.parametrize(
    ("model", "least", "most"),
    [("gpt-4o", 765, 1600), ("gpt-4o-mini", 25_501, 25_501), ("gpt-4.1-nano", 2500, 3800)],
)
async def test_images_count_by_the_rule_of_the_model(model: str, least: int, most: int) -> None:
    image = Image(jpeg_bytes(1024, 1024))
    async with engine_at("http://127.0.0.1:1", model=model) as engine:
        plain = await engine.count_tokens([Message("user", "Look")])
        count = await engine.count_tokens([Message.of("user", ["Look", image])])
    assert least <= count.value - plain.value <= most
    assert not count.exact


async def test_a_server_that_quotes_an_image_is_not_repeated() -> None:
    request = GenerationRequest((Message.of("user", [CAT]),))
    error = EngineError(
        ErrorKind.BAD_REQUEST, f"invalid image_url: {CAT.url[:70]}... ", engine="openai"
    )
    scrub_error(error, request, private=False)
    assert "iVBOR" not in str(error)
    assert "invalid image_url" in str(error)
