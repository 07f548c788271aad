"""What a track is shown of the images in a conversation.

A track whose model cannot see reads a line of text in the place of each image. Others are sent the
newest images, as many as one request may have; a line of text stands for the older ones.

Invariant: messages without images are returned as they are, and no text is lost.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from vanta.messages import MAX_IMAGES, MAX_IMAGES_BYTES, Exchange, Message


def image_tokens(messages: Iterable[Message]) -> int:
    """Return about how many tokens the images of a prompt take; see `vanta.Image.tokens`.

    :param messages: the prompt.
    """
    return sum(image.tokens for message in messages for image in message.images)


def show_images(
    history: Sequence[Exchange], tail: Sequence[Message], *, can_see: bool
) -> tuple[list[Exchange], tuple[Message, ...]]:
    """Return a conversation with the images that a track is shown.

    :param history: past exchanges, oldest first.
    :param tail: the messages that follow.
    :param can_see: whether the track's model can see.
    """
    shown = _Room(can_see=can_see)
    kept = tuple(reversed([shown.take(message) for message in reversed(tail)]))
    past = [shown.take_exchange(exchange) for exchange in reversed(history)]
    return past[::-1], kept


class _Room:
    """The images that still fit into a request."""

    def __init__(self, *, can_see: bool) -> None:
        self._count = MAX_IMAGES if can_see else 0
        self._size_bytes = MAX_IMAGES_BYTES

    def take(self, message: Message) -> Message:
        """Return the next older message, without its images if they do not fit."""
        if not message.images:
            return message
        self._count -= len(message.images)
        self._size_bytes -= sum(len(image.data) for image in message.images)
        fits = self._count >= 0 and self._size_bytes >= 0
        return message if fits else message.without_images()

    def take_exchange(self, exchange: Exchange) -> Exchange:
        """Return the next older exchange; see `take`."""
        if not any(message.images for message in exchange.messages):
            return exchange
        messages = [self.take(message) for message in reversed(exchange.messages)]
        return dataclasses.replace(exchange, messages=tuple(reversed(messages)))
