"""The messages of a conversation, and the turns that they belong to.

Invariant: a message is well-formed Unicode, whatever a server, a caller or a file put into it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from vanta.errors import UsageError
from vanta.messages.content import read_content
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
    :param content: its text. A list of text parts, as several protocols write content, is joined,
        without the parts that are reasoning; None becomes an empty text.
    :param tool_calls: the calls that an assistant's message asks for.
    :param tool_call_id: the call whose result a tool's message is.
    :param private: whether it must not leave this machine: a turn that is shown it is private.
    :raises UsageError: if the content has a part that is not text.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    private: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.content, str):
            object.__setattr__(self, "content", _content_of(self.content))
        make_well_formed(self, "content")


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


def _content_of(content: object) -> str:
    try:
        return read_content(content, strict=True)[0]
    except ValueError as error:
        raise UsageError(f"{error}: pass a text, or a list of text parts.") from None
