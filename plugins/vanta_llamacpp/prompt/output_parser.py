"""Parses a model's output: reasoning between marks, and tool calls in the text after it.

`vanta.normalising` finds both, in the notations of all families. Invariant: no part of a call is
ever returned as text, and text that only resembles a call is returned as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vanta import Tool, ToolCallPart
from vanta.normalising import (
    NONE_QUOTED,
    CallReader,
    QuotedCalls,
    ReasoningSplitter,
    SplitText,
)


@dataclass(frozen=True, slots=True)
class ParsedOutput:
    """The parts of the output that are complete."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[ToolCallPart, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text or self.reasoning or self.calls)

    def __add__(self, other: ParsedOutput) -> ParsedOutput:
        return ParsedOutput(
            self.text + other.text, self.reasoning + other.reasoning, self.calls + other.calls
        )


class OutputParser:
    """Parses output as it arrives.

    :param tools: the tools that may be called; without any, no call is parsed.
    :param thoughts: splits reasoning off the output; None for a new answer's.
    :param most: the largest number of calls; more are dropped. None for any number.
    :param continues: whether the output continues a given beginning of an answer.
    :param quoted: the calls that are quotations, and so text.
    :ivar calls: how many calls there were.
    """

    def __init__(
        self,
        tools: Sequence[Tool] = (),
        thoughts: ReasoningSplitter | None = None,
        most: int | None = None,
        *,
        continues: bool = False,
        quoted: QuotedCalls = NONE_QUOTED,
    ) -> None:
        self.thoughts = thoughts or ReasoningSplitter(calls=bool(tools))
        self.calls = 0
        self._most = most
        self._reader = CallReader(tools, continues=continues, quoted=quoted) if tools else None

    @property
    def may_think(self) -> bool:
        """Whether the next text may be a mark of reasoning."""
        return self.thoughts.reads_marks

    @property
    def opened(self) -> str:
        """The mark that the output has just ended with, or ""."""
        return self._reader.opened if self._reader else ""

    def add(self, text: str) -> ParsedOutput:
        """Add text and return the parts that are complete."""
        return self._parse(self.thoughts.add(text))

    def finish(self) -> ParsedOutput:
        """End the output and return the rest."""
        output = self._parse(self.thoughts.finish())
        if self._reader is None:
            return output
        text, calls = self._reader.finish()
        return output + ParsedOutput(text, "", self._numbered(calls))

    def _parse(self, piece: SplitText) -> ParsedOutput:
        if self._reader is None:
            return ParsedOutput(piece.text, piece.reasoning)
        text, calls = self._reader.add(piece.text)
        return ParsedOutput(text, piece.reasoning, self._numbered(calls))

    def _numbered(self, calls: Sequence[tuple[str, str]]) -> tuple[ToolCallPart, ...]:
        """Return the calls within the limit, each with a number and an id of its own."""
        most = len(calls) if self._most is None else max(0, self._most - self.calls)
        parts = tuple(
            ToolCallPart(number, f"call_{number}", name, arguments)
            for number, (name, arguments) in enumerate(calls[:most], start=self.calls)
        )
        self.calls += len(parts)
        return parts
