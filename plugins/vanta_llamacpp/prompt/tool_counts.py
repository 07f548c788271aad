"""The tokens that tools take in a prompt, measured by rendering small prompts.

Templates write tools in their own ways: as JSON, indented, as types of a programming language, and
with instructions around them. Invariant: the counts are differences of whole prompts, so the sum
for several tools is what a prompt with all of them takes, but for tokens that merge between tools.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vanta import Message, Tool, ToolCounts

_QUESTION = (Message("user", "a"),)
_PROBE = Tool("probe", "A probe.", {"type": "object", "properties": {"a": {"type": "string"}}})

CountPrompt = Callable[[Sequence[Message], Sequence[Tool]], int]
"""Returns the tokens of a prompt with these messages and tools."""


def count_tools(tools: Sequence[Tool], count: CountPrompt) -> ToolCounts:
    """Return the tokens that tools take.

    :param tools: the tools.
    :param count: returns the tokens of a prompt.
    """
    plain, one, two = (count(_QUESTION, [_PROBE] * number) for number in range(3))
    opening = max(0, 2 * one - two - plain)
    return ToolCounts(
        opening, tuple(max(1, count(_QUESTION, [_PROBE, tool]) - one) for tool in tools)
    )
