"""Images in OpenAI's protocol: which models can see, what is sent, how many tokens it takes.

Which models can see is data (https://platform.openai.com/docs/models): a model that is not listed
here is blind unless the option `images` says otherwise. Sizes follow
https://platform.openai.com/docs/guides/images-vision#calculating-costs: most models count tiles, as
`vanta.Image.tokens` does; small ones count patches of 32 pixels, at most 1,536, times a factor; and
`gpt-4o-mini` counts tiles, each at 33 times the tokens.

Invariant: pure. An image is sent in a message of the user only, since the protocol has no other
place for it: those of results follow the results.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from vanta import Image, Message, message_data

_SEEING = re.compile(
    r"gpt-4o|chatgpt-4o|gpt-4\.1|gpt-4\.5|gpt-4-turbo|gpt-4-vision|gpt-5"
    r"|o1(?!-mini|-preview)|o3(?!-mini)|o4-mini|gemini-[1-9]"
    r"|claude-(?:3|opus-[4-9]|sonnet-[4-9]|haiku-[4-9])"
    r"|.*(?:llava|pixtral|moondream|minicpm-v|-vision|(?:qwen[0-9.]*|internvl[0-9.]*|deepseek)-?vl)",
)
_BLIND = re.compile(r"gpt-4o.*-(?:audio|realtime|transcribe|tts|search)|gpt-4-turbo-preview")
_PATCHED = (
    ("gpt-4.1-nano", 2.46),
    ("gpt-5-nano", 2.46),
    ("gpt-4.1-mini", 1.62),
    ("gpt-5-mini", 1.62),
    ("o4-mini", 1.72),
)
_PATCH, _MOST_PATCHES = 32, 1536
_DEAR, _DEAR_BASE, _DEAR_TILE = "gpt-4o-mini", 2833, 5667
_LONGEST, _SHORT, _TILE, _MOST_TILES = 2048, 768, 512, 8

OF_RESULTS = "The images of the results above, in their order:"
"""Stands before images that tools returned."""


def can_see(model: str) -> bool:
    """Return whether a model is known to see images.

    :param model: its name; a provider before a slash is ignored.
    """
    bare = _bare(model)
    return _SEEING.match(bare) is not None and _BLIND.match(bare) is None


def images_tokens(model: str, images: Iterable[Image]) -> int:
    """Return about how many tokens images take in a prompt of a model.

    :param model: its name.
    :param images: the images.
    """
    bare = _bare(model)
    if bare.startswith(_DEAR):
        return sum(_DEAR_BASE + _DEAR_TILE * _tiles(image) for image in images)
    factor = next((factor for name, factor in _PATCHED if bare.startswith(name)), None)
    if factor is None:
        return sum(image.tokens for image in images)
    return sum(math.ceil(_patches(image) * factor) for image in images)


def message_parts(message: Message) -> str | list[dict[str, Any]]:
    """Return the content of a message as the protocol writes it; of a result only its text.

    :param message: the message.
    """
    content: str | list[dict[str, Any]] = message.content
    return message_data(message)["content"] if message.role == "user" else content


def with_result_images(messages: Sequence[Message]) -> Iterator[Message]:
    """Yield messages, with the images of results in a message of the user after the results.

    :param messages: the conversation.
    """
    waiting: list[Image] = []
    for message in messages:
        if waiting and message.role != "tool":
            yield _images_message(waiting)
            waiting = []
        yield message
        if message.role == "tool":
            waiting += message.images
    if waiting:
        yield _images_message(waiting)


def _images_message(images: Sequence[Image]) -> Message:
    return Message.of("user", [OF_RESULTS, *images])


def _tiles(image: Image) -> int:
    """Return the tiles of an image, which is scaled down to 2048 and its shorter side to 768."""
    if image.size is None:
        return _MOST_TILES
    scale = min(1.0, _LONGEST / max(image.size))
    scale = min(scale, _SHORT / min(image.size))
    width, height = (math.ceil(side * scale / _TILE) for side in image.size)
    return min(_MOST_TILES, width * height)


def _patches(image: Image) -> int:
    if image.size is None:
        return _MOST_PATCHES
    width, height = image.size
    return min(_MOST_PATCHES, math.ceil(width / _PATCH) * math.ceil(height / _PATCH))


def _bare(model: str) -> str:
    return model.rpartition("/")[2].lower()
