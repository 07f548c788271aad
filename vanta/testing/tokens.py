"""What a token is to the fakes: the one rule by which they split and count text.

A token is a word, or eight characters of a longer one, together with the white space before it;
white space at the end of a text is a token of its own. Invariant: joining the tokens of a text
gives the text, and `count_tokens` is their number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vanta.messages import Message

_TOKEN = re.compile(r"\s*\S{1,8}|\s+")

PER_MESSAGE = 3
"""Tokens that the chat format adds to each message."""


def split_tokens(text: str) -> list[str]:
    """The tokens of `text`, in order."""
    return _TOKEN.findall(text)


def count_tokens(text: str) -> int:
    """How many tokens `text` has."""
    return len(split_tokens(text))


def count_prompt(messages: Sequence[Message]) -> int:
    """How many tokens `messages` take as a prompt: their text, and `PER_MESSAGE` for each."""
    return sum(PER_MESSAGE + _count_message(message) for message in messages)


def _count_message(message: Message) -> int:
    calls = (call.name + call.arguments for call in message.tool_calls)
    return count_tokens(message.content) + sum(map(count_tokens, calls))
