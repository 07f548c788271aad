"""The content of a message as a list of parts: texts and images, in their order.

Invariant: reading raises nothing but UsageError, fetches nothing, and keeps the order of the parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vanta.errors import UsageError
from vanta.messages.content import read_content
from vanta.messages.images import MAX_IMAGES, MAX_IMAGES_BYTES, Image
from vanta.text import well_formed

MessageContent = str | Sequence[str | Image | Mapping[str, Any]]
"""A text, or parts: texts, images, and mappings as OpenAI's chat protocol has them."""

_IMAGE_TYPES = ("image_url", "input_image")


@dataclass(frozen=True, slots=True)
class ReadParts:
    """Content with its images apart.

    :param text: the texts, joined.
    :param images: the images, in their order.
    :param places: for each image, the number of characters of `text` that follow it.
    """

    text: str
    images: tuple[Image, ...] = ()
    places: tuple[int, ...] = ()


def read_parts(content: object) -> ReadParts:
    """Return the texts and the images of a message.

    :param content: a text, None, a part, or a list of parts. Parts that are reasoning are left out.
    :raises UsageError: if a part is neither text nor image, or the images are too many or large.
    """
    parts = list(content) if isinstance(content, list | tuple) else [content]
    texts: list[str] = []
    images: list[Image] = []
    begins: list[int] = []
    for part in parts:
        if (image := _image_of(part)) is not None:
            images.append(image)
            begins.append(sum(map(len, texts)))
        else:
            texts.append(well_formed(_text_of(part)))
    text = "".join(texts)
    return ReadParts(text, tuple(images), tuple(len(text) - begin for begin in begins))


def check_images(images: Sequence[Image]) -> None:
    """Check the images of one message.

    :param images: the images.
    :raises UsageError: if they are too many or too large, or one of them is not an image.
    """
    for image in images:
        if not isinstance(image, Image):
            kind = type(image).__name__
            raise UsageError(f"'images' has a {kind!r}: make it with vanta.Image(bytes).")
    if len(images) > MAX_IMAGES:
        raise UsageError(f"the message has {len(images)} images: at most {MAX_IMAGES} are sent.")
    size = sum(len(image.data) for image in images)
    if size > MAX_IMAGES_BYTES:
        raise UsageError(
            f"the images of the message have {size} bytes, more than {MAX_IMAGES_BYTES}. Scale "
            "them down."
        )


def split_parts(
    text: str, images: Sequence[Image], places: Sequence[int]
) -> tuple[str | Image, ...]:
    """Return texts and images in their order; no text is empty.

    :param text: the text of a message.
    :param images: its images.
    :param places: for each image, the number of characters that follow it.
    """
    parts: list[str | Image] = []
    start = 0
    for image, following in zip(images, places, strict=True):
        end = min(len(text), max(start, len(text) - following))
        if end > start:
            parts.append(text[start:end])
        parts.append(image)
        start = end
    return (*parts, text[start:]) if text[start:] else tuple(parts)


def with_notes(parts: Iterable[str | Image]) -> str:
    """Return the text of parts, with a line in the place of each image.

    :param parts: texts and images.
    """
    return "\n".join(_lines(parts))


def _lines(parts: Iterable[str | Image]) -> Iterator[str]:
    for part in parts:
        yield part.note if isinstance(part, Image) else part.strip("\n")


def _image_of(part: object) -> Image | None:
    """Return the image of a part, None for a part that is not an image."""
    if isinstance(part, Image):
        return part
    if not isinstance(part, Mapping) or part.get("type") not in _IMAGE_TYPES:
        return None
    value = part.get("image_url")
    url = value.get("url") if isinstance(value, Mapping) else value
    if not isinstance(url, str):
        raise UsageError("a part of the type 'image_url' needs a text 'image_url.url'")
    return Image.from_url(url)


def _text_of(part: object) -> str:
    try:
        return read_content(part, strict=True)[0]
    except ValueError as error:
        raise UsageError(f"{error}: pass a text, or a list of texts and images.") from None
