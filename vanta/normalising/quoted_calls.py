"""Calls that an answer only repeats: they stand in the text of the request.

A message, a document or a result of a tool may hold text in the notation of a call, and a model may
quote it. In an answer whose calls are read from its text, such a quotation and a call look alike.
Invariant: a call that stands in the request's text, apart from white space, is never read as one
of the model's own; the model's earlier calls and the system prompt do not count as text.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from vanta.messages import Message

LEAST_QUOTED = 3
"""Characters without white space from which on a call can be a quotation."""


class QuotedCalls:
    """Separates quoted calls from calls of the model's own.

    :param messages: the messages of the request; those of the user and of tools are its text.
    """

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages

    def holds(self, written: str) -> bool:
        """Return whether a call stands in the text of the request, apart from white space.

        :param written: the call as the answer has it, with the mark before it.
        """
        bare = _without_space(written)
        return len(bare) >= LEAST_QUOTED and any(bare in text for text in self._texts)

    @functools.cached_property
    def _texts(self) -> tuple[str, ...]:
        """The texts without white space; they are made when an answer has its first mark."""
        return tuple(
            _without_space(message.content)
            for message in self._messages
            if message.role in ("user", "tool") and message.content
        )


def _without_space(text: str) -> str:
    return "".join(text.split())


NONE_QUOTED = QuotedCalls(())
"""For an answer that has to be a call, and for a text without a request."""


def quoted_calls(messages: Sequence[Message], *, must_call: bool) -> QuotedCalls:
    """Return what separates the quotations in an answer from its calls.

    :param messages: the messages of the request.
    :param must_call: whether the answer has to be a call, so that it cannot quote one.
    """
    return NONE_QUOTED if must_call else QuotedCalls(messages)
