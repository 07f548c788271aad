"""The messages of a conversation, and the turns that they belong to.

Invariant: a message is well-formed Unicode, whatever a server, a caller or a file put into it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from vanta.errors import UsageError
from vanta.messages.images import Image
from vanta.messages.parts import (
    MessageContent,
    check_images,
    read_parts,
    split_parts,
    with_notes,
)
from vanta.text import make_well_formed

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call that a model asks for.

    :param id: its id, unique in the conversation.
    :param name: the name of the tool.
    :param arguments: the JSON text as the model wrote it.
    """

    id: str
    name: str
    arguments: str

    def __post_init__(self) -> None:
        make_well_formed(self, "id", "name", "arguments")


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation.

    :param role: its author.
    :param content: its text. A list of parts, as several protocols write content, is read: texts
        are joined, without those that are reasoning, and images go to `images`; None becomes an
        empty text.
    :param tool_calls: the calls that an assistant's message asks for.
    :param tool_call_id: the call whose result a tool's message is.
    :param private: whether it must not leave this machine: a turn that is shown it is private.
    :param images: the images of a user's message or of a tool's result, at most 64 of 50 MiB.
    :param image_places: for each image, how many characters of `content` follow it. By default all
        images come first.
    :raises UsageError: if the content has a part that is neither text nor image, or the images
        are too many, too large, or in another role's message.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    private: bool = field(default=False, compare=False)
    images: tuple[Image, ...] = ()
    image_places: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.content, str):
            read = read_parts(self.content)
            object.__setattr__(self, "content", read.text)
            if read.images:
                object.__setattr__(self, "images", (*self.images, *read.images))
                object.__setattr__(self, "image_places", (*self.image_places, *read.places))
        make_well_formed(self, "content")
        if self.images:
            self._check_images()

    @classmethod
    def of(cls, role: Role, content: MessageContent) -> Message:
        """Return a message of a text, or of parts: texts and images in their order.

        :param role: its author.
        :param content: `"text"`, or `["Compare these:", image, other_image]`.
        :raises UsageError: as for the class.
        """
        read = read_parts(content)
        return cls(role, read.text, images=read.images, image_places=read.places)

    @property
    def parts(self) -> tuple[str | Image, ...]:
        """Its texts and images in their order."""
        return split_parts(self.content, self.images, self.image_places)

    def without_images(self) -> Message:
        """Return the message with a line of text in the place of each image."""
        if not self.images:
            return self
        return replace(self, content=with_notes(self.parts), images=(), image_places=())

    def followed_by(self, text: str) -> Message:
        """Return the message with a text at its end.

        :param text: the text.
        """
        places = tuple(place + len(text) for place in self.image_places)
        return replace(self, content=self.content + text, image_places=places)

    def _check_images(self) -> None:
        object.__setattr__(self, "images", tuple(self.images))
        check_images(self.images)
        if self.role not in ("user", "tool"):
            raise UsageError(
                f"a message of the role {self.role!r} cannot have images. Put them into a message "
                "of the user."
            )
        if len(self.image_places) != len(self.images):
            places = (len(self.content),) * len(self.images)
            object.__setattr__(self, "image_places", places)


@dataclass(frozen=True, slots=True)
class Exchange:
    """The messages of one past turn: a message and its reply.

    :param messages: the messages, oldest first.
    :param private: whether only private tracks may see it.
    :param turn: the turn's id, "" if it is unknown.
    """

    messages: tuple[Message, ...]
    private: bool = False
    turn: str = field(default="", compare=False)
