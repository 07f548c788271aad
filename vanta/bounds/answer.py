"""The bound of one answer: the most text, tool calls and logprobs that it may have.

A server may send text, reasoning or arguments of a tool call without an end. The bound follows from
the tokens that the answer may have (`max_tokens`, and the model's window) and is generous: today's
tokens have four characters on average. Invariant: a delta costs O(1), and what passes a bound keeps
memory and time within it, whatever the sizes of the deltas.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator

from vanta.bounds.pace import Pace
from vanta.messages import Completion, Delta, Fold

UNKNOWN_TOKENS = 65_536
"""Tokens of an answer whose request has no `max_tokens`, from a model whose window is unknown."""

CHARACTERS_PER_TOKEN = 16
FREE_CHARACTERS = 65_536
"""What an answer may have beyond that, since some tokens are long (up to 128 spaces)."""

MOST_CHARACTERS = 8_000_000
"""The most characters of any answer; the longest novels have four million."""

DELTA_CHARACTERS = 2
"""What a delta counts beside its text, because an object needs memory, too."""

MOST_CALLS = 256
"""The most tool calls of one answer."""

FREE_LOGPROBS = 4096
"""Logprobs that an answer may have beyond two for each token."""


class AnswerBound:
    """Measures one answer, delta by delta, and cuts it at its bound.

    An answer whose text or reasoning reaches the bound ends there, with the finish reason "length",
    as at its token limit. One whose tool calls do has a `problem`: half a call means nothing.

    :param max_tokens: the request's limit of the answer in tokens, or None.
    :param window: the model's window in tokens, or None if it is unknown.
    :ivar tokens: the most tokens that the answer may have.
    :ivar characters: the most characters that follow from them.
    :ivar is_reached: whether the answer ends here; leave its stream.
    :ivar problem: why the answer cannot be used, or "".
    """

    __slots__ = (
        "_calls",
        "_left",
        "_logprobs_left",
        "characters",
        "is_reached",
        "problem",
        "tokens",
    )

    def __init__(self, max_tokens: int | None = None, window: int | None = None) -> None:
        known = [tokens for tokens in (max_tokens, window) if tokens is not None]
        self.tokens = tokens = min(known, default=UNKNOWN_TOKENS)
        self.characters = min(FREE_CHARACTERS + CHARACTERS_PER_TOKEN * tokens, MOST_CHARACTERS)
        self._left = self.characters
        self._logprobs_left = FREE_LOGPROBS + 2 * tokens
        self._calls: set[int] = set()
        self.is_reached = False
        self.problem = ""

    def cut(self, delta: Delta) -> Delta:
        """Return the part of the next delta that is within the bound; the same delta if all is.

        :param delta: the next delta of the stream.
        """
        size = len(delta.text) + len(delta.reasoning)
        if delta.tool_calls or delta.logprobs:
            size += self._size_of_parts(delta)
        if size:
            self._left -= size + DELTA_CHARACTERS
            if self._left < 0 or self.problem:
                return self._last(delta)
        return delta

    def _size_of_parts(self, delta: Delta) -> int:
        size = 0
        for part in delta.tool_calls:
            self._calls.add(part.index)
            size += len(part.arguments) + len(part.id) + len(part.name) + DELTA_CHARACTERS
            if len(self._calls) > MOST_CALLS:
                self.problem = f"the answer has more than {MOST_CALLS} tool calls"
                break
        size += len(delta.logprobs)
        self._logprobs_left -= len(delta.logprobs)
        if self._logprobs_left < 0:
            self._left = min(self._left, 0)
        return size

    def _last(self, delta: Delta) -> Delta:
        self.is_reached = True
        if self._calls and not self.problem:
            self.problem = f"the answer and its tool calls have over {self.characters} characters"
        if self.problem:
            return Delta(finish_reason="length")
        room = max(0, self._left + len(delta.text) + len(delta.reasoning))
        reasoning = delta.reasoning[:room]
        text = delta.text[: room - len(reasoning)]
        return dataclasses.replace(
            delta, text=text, reasoning=reasoning, logprobs=(), finish_reason="length"
        )


async def whole_answer(deltas: AsyncIterator[Delta], bound: AnswerBound) -> Completion:
    """Return the whole answer of a stream, cut at its bound.

    :param deltas: the stream; leave it afterwards.
    :param bound: the bound of this answer.
    :returns: the answer. One with a `problem` has no tool calls.
    """
    fold, pace = Fold(), Pace()
    async for delta in deltas:
        fold.add(bound.cut(delta))
        if bound.is_reached:
            break
        if pace.is_due:
            await pace.pause()
    answer = fold.completion()
    return dataclasses.replace(answer, tool_calls=()) if bound.problem else answer
