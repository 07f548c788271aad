"""Calls of tools in an answer: those that a request does not allow are dropped.

Servers may ignore `tool_choice` and `parallel_tool_calls`. Invariant: an answer that keeps them
passes unchanged, and a call is dropped with all its fragments or not at all.
"""

from __future__ import annotations

import dataclasses

from vanta.messages import CallNumbering, Delta


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
