"""The steps that a `ScriptedEngine` takes to answer a request.

Invariant: steps are frozen and carry no state, so one script serves any number of requests. A plain
string in a script stands for its tokens, each a `Say` of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from vanta.errors import EngineError, ErrorKind
from vanta.messages import FinishReason, Message, Usage


class Waitable(Protocol):
    """Anything to wait for; an `anyio.Event` is one."""

    async def wait(self) -> object:
        """Return when the gate is open."""
        ...


@dataclass(frozen=True, slots=True)
class Say:
    """One delta of text. logprob: of each of its tokens, sent where it was asked for."""

    text: str
    logprob: float | None = None


@dataclass(frozen=True, slots=True)
class Think:
    """One delta of reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Go on when `gate` opens (an `anyio.Event` is one)."""

    gate: Waitable


@dataclass(frozen=True, slots=True)
class Pause:
    """Go on after so many seconds; where a test can, let it `Wait` instead."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Fail:
    """Raise this error; a kind alone stands for an error of that kind."""

    error: EngineError | ErrorKind


@dataclass(frozen=True, slots=True)
class Hang:
    """Say nothing more until cancelled."""


@dataclass(frozen=True, slots=True)
class CallTool:
    """A tool call: its name in one delta, its arguments (JSON text) in the next."""

    name: str
    arguments: str = "{}"
    id: str = ""


@dataclass(frozen=True, slots=True)
class Finish:
    """End the answer. usage None: what the engine counted."""

    reason: FinishReason = "stop"
    usage: Usage | None = None


Step = Say | Think | Wait | Pause | Fail | Hang | CallTool | Finish
Script = Sequence[Step | str]


def expand(script: Iterable[Step | str]) -> tuple[Step, ...]:
    """`script` with every plain string as the `Say` of each of its tokens."""
    steps: list[Step] = []
    for step in script:
        if isinstance(step, str):
            steps.extend(Say(token) for token in split_tokens(step))
        else:
            steps.append(step)
    return tuple(steps)


def skip(steps: tuple[Step, ...], prefix: str) -> tuple[Step, ...]:
    """`steps` without the text `prefix`, if the text that they say begins with it.

    So a script continues a prefix as a model that always gives the same answer would. Waits,
    pauses and thoughts before the seam are gone with it; failures are not.
    """
    said = "".join(step.text for step in steps if isinstance(step, Say))
    if not prefix or not said.startswith(prefix):
        return steps
    rest: list[Step] = []
    left = len(prefix)
    for step in steps:
        if left and isinstance(step, Say):
            text, left = step.text[left:], max(0, left - len(step.text))
            if text:
                rest.append(Say(text, step.logprob))
        elif not left or isinstance(step, Fail | Hang | Finish):
            rest.append(step)
    return tuple(rest)


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


class StopFilter:
    """Watches a stream of text for any of `stops`."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = tuple(filter(None, stops))
        self._held = ""
        self.hit = False

    def feed(self, text: str) -> str:
        """What may go out after `text` came in; `hit` is True once a stop string was met."""
        if not self._stops:
            return text
        held = self._held + text
        met = [(at + len(stop), at) for stop in self._stops if (at := held.find(stop)) >= 0]
        if met:
            self.hit, self._held = True, ""
            return held[: min(met)[1]]
        keep = max(_overlap(held, stop) for stop in self._stops)
        cut = len(held) - keep
        self._held = held[cut:]
        return held[:cut]

    def flush(self) -> str:
        """What was held back, at the end of the stream."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` that a stop string could begin with."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
