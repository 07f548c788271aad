"""Tool calls in the deltas of an answer: read from its text, and those beyond a limit dropped.

Servers may leave calls in the text, or ignore `tool_choice` and `parallel_tool_calls`. Invariant:
an answer that keeps them passes unchanged, and a call is dropped with all its fragments or not at
all. A call that a server sends both as text and as a call counts once.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence

from vanta.files import parse_json
from vanta.messages import CallNumbering, Delta, TokenLogprob, ToolCallPart
from vanta.normalising.call_reader import CallReader
from vanta.normalising.quoted_calls import NONE_QUOTED, QuotedCalls
from vanta.tool_contract import Tool


class CallLimit:
    """Drops the calls of one answer beyond a limit.

    :param most: the largest number of calls, None for any number.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._numbering = CallNumbering()
        self._drops = False

    def feed(self, delta: Delta) -> Delta:
        """Take the next delta and return it without what belongs to a call beyond the limit.

        :param delta: the next delta of the answer.
        """
        if self._most is None:
            return delta
        if delta.tool_calls:
            allowed = tuple(
                part
                for part in delta.tool_calls
                if self._numbering.number(part.index, part.id) < self._most
            )
            self._drops |= len(allowed) < len(delta.tool_calls)
            delta = dataclasses.replace(delta, tool_calls=allowed)
        if self._drops and not self._most and delta.finish_reason == "tool_calls":
            return dataclasses.replace(delta, finish_reason="stop")
        return delta


class CallFilter:
    """Moves calls that are written into the text of deltas to their `tool_calls`.

    :param tools: the tools that the answer may call; with none, all text stays text.
    :param most: the largest number of calls, None for any number.
    :param continues: whether the answer continues a given beginning.
    :param quoted: the calls that are quotations, and so text.
    """

    def __init__(
        self,
        tools: Sequence[Tool],
        most: int | None,
        *,
        continues: bool = False,
        quoted: QuotedCalls = NONE_QUOTED,
    ) -> None:
        reads = bool(tools) and most != 0
        self._reader = CallReader(tools, continues=continues, quoted=quoted) if reads else None
        self._limit = CallLimit(most)
        self._numbering = CallNumbering()
        self._sent: dict[int, _SentCall] = {}
        self._written: set[tuple[str, str]] = set()
        self._count = 0
        self._logprobs: list[TokenLogprob] = []

    def feed(self, delta: Delta) -> Delta | None:
        """Take the next delta and return what to deliver of it; None while it is held back.

        A delta with a finish reason is the last one: what was held back is delivered with it.

        :param delta: the next delta of the answer.
        """
        if self._reader is None:
            return self._limit.feed(delta)
        is_last = delta.finish_reason is not None
        if not (delta.text or delta.tool_calls or is_last):
            return delta
        text, calls = self._reader.add(delta.text)
        if is_last:
            rest, more = self._reader.finish()
            text, calls = text + rest, calls + more
        parts = [*self._take_sent(delta.tool_calls), *self._take_written(calls)]
        if is_last:
            parts += self._late()
        reason = delta.finish_reason
        delta = dataclasses.replace(
            delta,
            text=text,
            tool_calls=tuple(parts),
            logprobs=self._logprobs_with(delta, text, has_calls=bool(calls)),
            finish_reason="tool_calls" if self._written and reason == "stop" else reason,
        )
        has_news = text or parts or delta.reasoning or delta.usage or delta.finish_reason
        return self._limit.feed(delta) if has_news else None

    def finish(self) -> Delta | None:
        """Return what was held back when an answer ended without a last delta, None for nothing."""
        rest = self.feed(Delta(finish_reason="stop"))
        if rest is None or not (rest.text or rest.tool_calls):
            return None
        return dataclasses.replace(rest, finish_reason=None)

    def _logprobs_with(
        self, delta: Delta, text: str, *, has_calls: bool
    ) -> tuple[TokenLogprob, ...]:
        """Return the logprobs to deliver with a text; those of calls are dropped."""
        self._logprobs += delta.logprobs
        logprobs = tuple(self._logprobs) if text else ()
        if text or has_calls:
            self._logprobs.clear()
        return logprobs

    def _take_sent(self, parts: Sequence[ToolCallPart]) -> Iterator[ToolCallPart]:
        """Yield the fragments of calls that the server sent as calls.

        After a call in the text, another one is held back: it may be the same.
        """
        for part in parts:
            number = self._numbering.number(part.index, part.id)
            call = self._sent.get(number)
            if call is None:
                place = None if self._written else self._next_place()
                call = self._sent[number] = _SentCall([], place)
            call.parts.append(part)
            if call.place is not None:
                yield dataclasses.replace(part, index=call.place)

    def _take_written(self, calls: Sequence[tuple[str, str]]) -> Iterator[ToolCallPart]:
        sent = {call.key for call in self._sent.values()} if calls else set()
        for name, arguments in calls:
            key = (name, _canonical(arguments))
            if key in sent:
                continue
            self._written.add(key)
            place = self._next_place()
            yield ToolCallPart(place, f"text_call_{place}", name, arguments)

    def _late(self) -> Iterator[ToolCallPart]:
        """Yield the calls that were held back and that the text does not have."""
        for call in self._sent.values():
            if call.place is None and call.key not in self._written:
                call.place = self._next_place()
                yield from (dataclasses.replace(part, index=call.place) for part in call.parts)

    def _next_place(self) -> int:
        self._count += 1
        return self._count - 1


@dataclasses.dataclass(slots=True)
class _SentCall:
    """A call that the server sent as a call.

    :param parts: its fragments.
    :param place: its number in the answer; None while it is held back.
    """

    parts: list[ToolCallPart]
    place: int | None

    @property
    def key(self) -> tuple[str, str]:
        """The name and the canonical arguments, as far as they have come."""
        name = next((part.name for part in self.parts if part.name), "")
        return name, _canonical("".join(part.arguments for part in self.parts))


def _canonical(arguments: str) -> str:
    try:
        return json.dumps(parse_json(arguments or "{}"), sort_keys=True)
    except ValueError:
        return arguments
