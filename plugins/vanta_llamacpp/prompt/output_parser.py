"""Parses a model's output: reasoning between marks, and tool calls in the text after it.

`vanta.normalising` finds the reasoning. Formats of calls: Hermes and Qwen
`<tool_call>{json}</tool_call>`; Mistral `[TOOL_CALLS][{json}, ...]`; Llama 3
`<|python_tag|>{json}` or nothing but `{"name": ...}`.
Invariant: no part of a mark or a call is ever returned as text, and text that only resembles a call
is returned as text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from vanta import ToolCallPart
from vanta.files import parse_json
from vanta.normalising import ReasoningSplitter, SplitText
from vanta_llamacpp.model import CALL, END_CALL, MISTRAL, PYTHON

_State = Literal["start", "text", "gap", "call", "rest"]


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


@dataclass(slots=True)
class OutputParser:
    """Parses output as it arrives.

    :param tools: whether tool calls are parsed.
    :param thoughts: splits reasoning off the output.
    :param most: the largest number of calls; more are dropped. None for any number.
    """

    tools: bool = False
    thoughts: ReasoningSplitter = field(default_factory=ReasoningSplitter)
    most: int | None = None
    calls: int = 0
    _held: str = ""
    _state: _State = "start"
    _mark: str = ""
    _text: list[str] = field(default_factory=list)
    _thought: list[str] = field(default_factory=list)
    _calls: list[ToolCallPart] = field(default_factory=list)

    @property
    def may_think(self) -> bool:
        """Whether the next text may be a mark of reasoning."""
        return self.thoughts.reads_marks

    @property
    def opened(self) -> str:
        """The mark that the output has just ended with, or ""."""
        return self._mark if self._state in {"call", "rest"} and not self._held.strip() else ""

    def add(self, text: str) -> ParsedOutput:
        """Add text and return the parts that are complete."""
        self._parse(self.thoughts.add(text))
        return self._take()

    def finish(self) -> ParsedOutput:
        """End the output and return the rest."""
        self._parse(self.thoughts.finish())
        held, self._held = self._held, ""
        if self._state in {"call", "rest"}:
            self._call(held)
        else:
            self._text.append(held)
        return self._take()

    def _take(self) -> ParsedOutput:
        output = ParsedOutput("".join(self._text), "".join(self._thought), tuple(self._calls))
        self._text, self._thought, self._calls = [], [], []
        return output

    def _parse(self, piece: SplitText) -> None:
        self._thought.append(piece.reasoning)
        self._held += piece.text
        while self._step():
            pass

    def _step(self) -> bool:
        """Parse one more part. Returns False if that needs more text."""
        if self._state == "start":
            return self._start()
        if self._state == "call":
            return self._until_call_ends()
        if self._state == "gap":
            return self._gap()
        return self._state == "text" and self._plain()

    def _start(self) -> bool:
        """Look for an unmarked call, which can only be at the beginning."""
        bare = self._held.lstrip()
        if bare or not self.tools:
            self._state = "rest" if self.tools and bare.startswith("{") else "text"
        return bool(bare)

    def _plain(self) -> bool:
        marks = (CALL, MISTRAL, PYTHON) if self.tools else ()
        matches = [(at, mark) for mark in marks if (at := self._held.find(mark)) >= 0]
        if matches:
            at, mark = min(matches)
            self._text.append(self._held[:at])
            self._held = self._held[at + len(mark) :]
            self._mark = mark
            self._state = "call" if mark == CALL else "rest"
            return True
        ready = len(self._held) - _possible_mark(self._held, marks)
        self._text.append(self._held[:ready])
        self._held = self._held[ready:]
        return False

    def _gap(self) -> bool:
        """Drop line ends after a mark, which belong to it."""
        self._held = self._held.lstrip("\n")
        if self._held:
            self._state = "text"
        return bool(self._held)

    def _until_call_ends(self) -> bool:
        body, mark, rest = self._held.partition(END_CALL)
        if mark:
            self._held, self._state = rest, "gap"
            self._call(body)
        return bool(mark)

    def _call(self, body: str) -> None:
        calls = parsed(body)
        if calls is None:
            self._text.append(body)
            return
        most = len(calls) if self.most is None else max(0, self.most - self.calls)
        for name, arguments in calls[:most]:
            part = ToolCallPart(self.calls, f"call_{self.calls}", name, arguments)
            self._calls.append(part)
            self.calls += 1


def parsed(body: str) -> list[tuple[str, str]] | None:
    """Return the calls (name, arguments as JSON) in a model's JSON; None if there are none."""
    try:
        value = parse_json(body)
    except ValueError:
        return None
    calls = [_named(call) for call in (value if isinstance(value, list) else [value])]
    return [call for call in calls if call] if calls and all(calls) else None


def _named(call: Any) -> tuple[str, str] | None:
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        return None
    arguments = call.get("arguments", call.get("parameters", {}))
    if isinstance(arguments, str):
        return call["name"], arguments
    return call["name"], json.dumps(arguments, ensure_ascii=False)


def _possible_mark(text: str, marks: tuple[str, ...]) -> int:
    """Return how many characters at the end may begin a mark."""
    longest = min(len(text), max(map(len, marks), default=1) - 1)
    for length in range(longest, 0, -1):
        if any(mark.startswith(text[-length:]) for mark in marks):
            return length
    return 0
