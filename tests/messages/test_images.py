"""Images and parts of messages: read by their bytes, bounded, in their order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pictures import gif_bytes, jpeg_bytes, picture, png_bytes, webp_bytes
from vanta import Image, Message, UsageError, message_data, read_message
from vanta.messages import MAX_IMAGES

HEADERS = {
    "image/png": png_bytes,
    "image/jpeg": jpeg_bytes,
    "image/gif": gif_bytes,
    "image/webp": webp_bytes,
}


@pytest.mark.parametrize("media_type", HEADERS)
def test_type_and_size_of_an_image_are_read_from_its_bytes(media_type: str) -> None:
    image = Image(HEADERS[media_type](640, 48))
    assert (image.media_type, image.size) == (media_type, (640, 48))
    assert image.url.startswith(f"data:{media_type};base64,")
    assert Image.from_url(image.url) == image


def test_the_declared_type_of_a_data_url_does_not_count() -> None:
    url = picture().url.replace("image/png", "image/jpeg")
    assert Image.from_url(url).media_type == "image/png"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1/a.png", "does not fetch"),
        ("file:///etc/passwd", "does not fetch"),
        ("data:image/png,abc", "does not fetch"),
        ("data:image/png;base64,@@@", "not base64"),
        ("data:image/png;base64,", "empty"),
        ("data:image/png;base64,PHN2Zz48L3N2Zz4=", "not one"),
        ("data:image/svg+xml;base64,PHN2Zz48L3N2Zz4=", "not one"),
        ("", "does not fetch"),
    ],
)
def test_what_is_not_an_image_is_refused_and_nothing_is_fetched(url: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        Image.from_url(url)


def test_an_image_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vanta.messages.images.MAX_IMAGE_BYTES", 50)
    with pytest.raises(UsageError, match="more than 50"):
        picture()


def test_a_message_has_a_bounded_number_of_images() -> None:
    assert len(Message.of("user", [picture()] * MAX_IMAGES).images) == MAX_IMAGES
    with pytest.raises(UsageError, match="at most 64"):
        Message.of("user", [picture()] * (MAX_IMAGES + 1))


def test_an_image_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(png_bytes())
    assert Image.read(file) == picture()
    with pytest.raises(UsageError, match="cannot be read"):
        Image.read(tmp_path / "none.png")
    with pytest.raises(UsageError, match="cannot be read"):
        Image.read(tmp_path)


@given(st.binary(max_size=64))
def test_any_bytes_are_an_image_or_refused(data: bytes) -> None:
    for begin in (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF1234WEBP"):
        try:
            image = Image(begin + data)
        except UsageError:
            continue
        assert image.size is None or min(image.size) > 0
        assert 0 < image.tokens <= 1600


@given(st.lists(st.one_of(st.text(max_size=5), st.integers(0, 3)), max_size=8))
def test_parts_keep_their_order(items: list[str | int]) -> None:
    content = [picture(salt=item) if isinstance(item, int) else item for item in items]
    message = Message.of("user", content)
    joined: list[Any] = []
    for part in content:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part != "":
            joined.append(part)
    assert list(message.parts) == joined
    assert message.content == "".join(part for part in content if isinstance(part, str))
    assert Message.of("user", message.parts) == message


def test_an_image_keeps_its_place_if_text_is_put_before_or_after_it() -> None:
    message = Message.of("user", ["one ", picture(), " two"])
    longer = message.followed_by(" three")
    assert longer.parts == ("one ", picture(), " two three")
    assert Message("user", "x", images=(picture(),)).parts == (picture(), "x")


def test_only_messages_of_the_user_and_results_have_images() -> None:
    with pytest.raises(UsageError, match="'assistant' cannot have images"):
        Message.of("assistant", [picture()])
    assert Message("tool", "", tool_call_id="1", images=(picture(),)).images
    wrong: Any = ("picture",)
    with pytest.raises(UsageError, match="make it with"):
        Message("user", "x", images=wrong)


def test_a_mapping_with_image_parts_is_read_and_written_again() -> None:
    url = picture().url
    data = {
        "role": "user",
        "content": [
            {"type": "text", "text": "Before"},
            {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
            {"type": "text", "text": "after"},
        ],
    }
    message = read_message(data)
    assert message.parts == ("Before", picture(), "after")
    assert read_message(message_data(message)) == message
    flat = {"role": "user", "content": [{"type": "input_image", "image_url": url}]}
    assert read_message(flat).images == (picture(),)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url"},
        {"type": "image_url", "image_url": {"url": None}},
        {"type": "image_url", "image_url": {"url": "http://example.com/a.png"}},
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
        b"\x89PNG",
        7,
    ],
)
def test_a_part_that_is_neither_text_nor_image_is_refused(part: Any) -> None:
    with pytest.raises(UsageError):
        Message.of("user", ["x", part])


def test_a_line_of_text_stands_for_an_image_that_is_not_shown() -> None:
    message = Message.of("user", ["Look:", picture(30, 40), "What is it?"])
    assert message.without_images().content == (
        "Look:\n[an image that is not shown here: image/png, 30x40 pixels]\nWhat is it?"
    )
    assert not message.without_images().images


def test_the_tokens_of_an_image_grow_with_its_size_up_to_a_bound() -> None:
    sizes = [(10, 10), (512, 512), (1024, 1024), (8000, 8000)]
    tokens = [picture(*size).tokens if size[0] < 2000 else 0 for size in sizes[:3]]
    assert tokens == sorted(tokens)
    assert tokens[0] == 255
    assert Image(jpeg_bytes(8000, 8000)).tokens == 1600
    assert Image(b"\xff\xd8\xff").tokens == 1600
