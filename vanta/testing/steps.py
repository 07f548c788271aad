"""The steps that a `ScriptedEngine` takes to answer a request.

Invariant: steps are frozen and carry no state, so one script serves any number of requests. A plain
string in a script stands for its tokens, each a `Say` of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vanta.errors import EngineError, ErrorKind
from vanta.messages import FinishReason, Usage
from vanta.testing._behaviour import Gate
from vanta.testing.tokens import split_tokens


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

    gate: Gate


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
class Call:
    """A tool call: its name in one delta, its arguments (JSON text) in the next."""

    name: str
    arguments: str = "{}"
    id: str = ""


@dataclass(frozen=True, slots=True)
class Finish:
    """End the answer. usage None: what the engine counted."""

    reason: FinishReason = "stop"
    usage: Usage | None = None


Step = Say | Think | Wait | Pause | Fail | Hang | Call | Finish
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
