"""Joins the deltas of an answer, also those of servers that number or cut them wrongly.

Invariant: linear in the length of the answer; folded deltas are well-formed Unicode.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from vanta.messages.answers import Completion, Delta, TokenLogprob, ToolCallPart
from vanta.messages.message import ToolCall
from vanta.text import SurrogateJoiner, well_formed


@dataclass(slots=True)
class CallNumbering:
    """Numbers the tool calls of one answer, also those of servers whose indexes are wrong.

    A new id begins a new call, whatever its index. A fragment without an id continues the latest
    call of its index; without an index, too, it continues the latest call of all.
    """

    _by_index: dict[int, int] = field(default_factory=dict)
    _by_id: dict[str, int] = field(default_factory=dict)
    _has_id: list[bool] = field(default_factory=list)

    def number(self, index: int | None, call_id: str = "", *, begins: bool = False) -> int:
        """Return the number of the call that a fragment belongs to, counted from 0.

        :param index: the index that the server sent, or None.
        :param call_id: the id that the server sent, or "".
        :param begins: whether the fragment can only be the first one of a call.
        """
        number = self._by_id.get(call_id, -1)
        if number < 0 and not begins:
            latest = len(self._has_id) - 1
            number = latest if index is None else self._by_index.get(index, -1)
            if number >= 0 and call_id and self._has_id[number]:
                number = -1
        if number < 0:
            number = len(self._has_id)
            self._has_id.append(False)
        if call_id:
            self._by_id[call_id] = number
            self._has_id[number] = True
        if index is not None:
            self._by_index[index] = number
        return number


_MOST_FRAGMENTS = 4096
"""Fragments of a text that are kept apart; more are joined, for a short one needs more memory as an
object than as text."""


class ObjectEnd:
    """Finds the end of the first JSON object in a text that comes in fragments."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_text = self._is_escaped = False
        self.is_reached = False

    def feed(self, fragment: str) -> None:
        """Read the next fragment, in time linear in its length."""
        if self.is_reached:
            return
        for letter in fragment:
            if self._in_text:
                self._read_text(letter)
            elif letter == '"':
                self._in_text = True
            elif letter in "{}":
                self._depth += 1 if letter == "{" else -1
                if self._depth == 0:
                    self.is_reached = True
                    return

    def _read_text(self, letter: str) -> None:
        if self._is_escaped:
            self._is_escaped = False
        elif letter == "\\":
            self._is_escaped = True
        elif letter == '"':
            self._in_text = False


@dataclass(slots=True)
class Fold:
    """Joins deltas, one at a time, into a `Completion`; linear in the length of the answer.

    Surrogate pairs that a server split across deltas are joined, and lone halves are replaced.
    """

    _text: list[str] = field(default_factory=list)
    _reasoning: list[str] = field(default_factory=list)
    _calls: dict[int, list[ToolCallPart]] = field(default_factory=dict)
    _numbering: CallNumbering = field(default_factory=CallNumbering)
    _logprobs: list[TokenLogprob] = field(default_factory=list)
    _last: dict[str, Any] = field(default_factory=dict)
    _joined: Completion | None = None
    _first_call: ObjectEnd = field(default_factory=ObjectEnd)
    _text_joiner: SurrogateJoiner = field(default_factory=SurrogateJoiner)
    _reasoning_joiner: SurrogateJoiner = field(default_factory=SurrogateJoiner)

    def add(self, delta: Delta) -> Delta:
        """Add the next delta.

        :param delta: the next delta of the stream.
        :returns: the delta as it was added: well-formed, and without half a character at its end,
            which the next one brings.
        """
        self._joined = None
        delta = self._well_formed(delta)
        if delta.text:
            add_fragment(self._text, delta.text)
        if delta.reasoning:
            add_fragment(self._reasoning, delta.reasoning)
        for part in delta.tool_calls:
            number = self._numbering.number(part.index, part.id)
            self._calls.setdefault(number, []).append(part)
            if number == 0:
                self._first_call.feed(part.arguments)
        self._logprobs.extend(delta.logprobs)
        for name in ("finish_reason", "usage", "timings", "model"):
            value = getattr(delta, name)
            if value is not None:
                self._last[name] = value.checked() if name == "timings" else value
        return delta

    def _well_formed(self, delta: Delta) -> Delta:
        """Return `delta` with complete characters only. The last delta gets what was held back."""
        text = self._text_joiner.feed(delta.text)
        reasoning = self._reasoning_joiner.feed(delta.reasoning)
        if delta.finish_reason is not None:
            text += self._text_joiner.flush()
            reasoning += self._reasoning_joiner.flush()
        if delta.logprobs or not (delta.model or "").isascii():
            logprobs = tuple(map(_well_formed_token, delta.logprobs))
            model = delta.model and well_formed(delta.model)
            delta = dataclasses.replace(delta, logprobs=logprobs, model=model)
        if text == delta.text and reasoning == delta.reasoning:
            return delta
        return dataclasses.replace(delta, text=text, reasoning=reasoning)

    @property
    def has_whole_call(self) -> bool:
        """Whether the first tool call is complete: its JSON has closed, or another call follows."""
        return self._first_call.is_reached or len(self._calls) > 1

    def completion(self) -> Completion:
        """Return the answer so far; more deltas may follow."""
        if self._joined is None:
            self._joined = Completion(
                text="".join(self._text),
                reasoning="".join(self._reasoning),
                tool_calls=tuple(_join(parts) for _, parts in sorted(self._calls.items())),
                logprobs=tuple(self._logprobs),
                **self._last,
            )
        return self._joined


def fold(deltas: Iterable[Delta]) -> Completion:
    """Return the whole answer of a finished stream.

    :param deltas: its deltas, in order.
    """
    folded = Fold()
    for delta in deltas:
        folded.add(delta)
    return folded.completion()


def add_fragment(fragments: list[str], text: str) -> None:
    """Append to the fragments of a text, and join them if they have become many.

    :param fragments: the fragments, whose concatenation is the text.
    :param text: the next one.
    """
    fragments.append(text)
    if len(fragments) > _MOST_FRAGMENTS:
        fragments[:] = ["".join(fragments)]


def _well_formed_token(item: TokenLogprob) -> TokenLogprob:
    token = well_formed(item.token)
    top = tuple((well_formed(text), value) for text, value in item.top)
    if token is item.token and top == item.top:
        return item
    return TokenLogprob(token, item.logprob, top)


def _join(parts: list[ToolCallPart]) -> ToolCall:
    return ToolCall(
        id=next((part.id for part in parts if part.id), ""),
        name=next((part.name for part in parts if part.name), ""),
        arguments="".join(part.arguments for part in parts),
    )
