"""The steps of a `ScriptedEngine`'s answer, and the tokens that the fakes count in.

A plain string in a script stands for its tokens, each a `Say` of its own. A token is a word, or
eight characters of a longer one, with the white space before it; white space at the end of a text
is a token of its own.

Invariant: steps are frozen and carry no state, so one script serves any number of requests. The
tokens of a text join to the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vanta.engine import GenerationRequest
from vanta.errors import EngineError, ErrorKind
from vanta.messages import FinishReason, Message, Usage

_TOKEN = re.compile(r"\s*\S{1,8}|\s+")

PER_MESSAGE = 3
"""Tokens that the chat format adds to each message."""


class Waitable(Protocol):
    """Anything to wait for; an `anyio.Event` is one."""

    async def wait(self) -> object:
        """Return when the test lets the script continue."""
        ...


@dataclass(frozen=True, slots=True)
class Say:
    """Send one delta of text.

    :param text: the text.
    :param logprob: log probability of each of its tokens, sent if the request asks for logprobs.
    """

    text: str
    logprob: float | None = None


@dataclass(frozen=True, slots=True)
class Think:
    """Send one delta of reasoning.

    :param text: the reasoning.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for an event.

    :param gate: what to wait for.
    """

    gate: Waitable


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for some time. Prefer `Wait` where a test can order things by events.

    :param seconds: how long to wait.
    """

    seconds: float


@dataclass(frozen=True, slots=True)
class Fail:
    """Raise an error.

    :param error: the error, or a kind for an error of that kind.
    """

    error: EngineError | ErrorKind


@dataclass(frozen=True, slots=True)
class Hang:
    """Send nothing more until cancelled."""


@dataclass(frozen=True, slots=True)
class CallTool:
    """Call a tool: its name in one delta, its arguments in the next.

    :param name: the tool's name.
    :param arguments: JSON text.
    :param id: the call's id; "" numbers the calls of an answer.
    """

    name: str
    arguments: str = "{}"
    id: str = ""


@dataclass(frozen=True, slots=True)
class Finish:
    """End the answer.

    :param reason: the finish reason.
    :param usage: the reported usage; None for what the engine counted.
    """

    reason: FinishReason = "stop"
    usage: Usage | None = None


Step = Say | Think | Wait | Pause | Fail | Hang | CallTool | Finish
Script = Sequence[Step | str]


def expand(script: Iterable[Step | str]) -> tuple[Step, ...]:
    """Return `script` with every plain string replaced by a `Say` for each of its tokens."""
    steps: list[Step] = []
    for step in script:
        if isinstance(step, str):
            steps.extend(Say(token) for token in split_tokens(step))
        else:
            steps.append(step)
    return tuple(steps)


def skip(steps: tuple[Step, ...], prefix: str) -> tuple[Step, ...]:
    """Return `steps` without the text `prefix`, if the text of the steps begins with it.

    A script thus continues a prefix as a model would that always gives the same answer. Waits,
    pauses and thoughts before the seam are dropped; failures are not.
    """
    text = "".join(step.text for step in steps if isinstance(step, Say))
    if not prefix or not text.startswith(prefix):
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


def allow_calls(steps: tuple[Step, ...], request: GenerationRequest) -> tuple[Step, ...]:
    """Return `steps` with the calls that `request` allows, and one if it requires one.

    :param steps: the steps of an answer.
    :param request: the request; a script for `auto` and parallel calls stays as it is.
    """
    if request.tool_choice == "auto" and request.parallel_tool_calls:
        return steps
    tools = {tool.name: tool for tool in request.callable_tools}
    most = len(steps) if request.most_calls is None else request.most_calls
    allowed: list[Step] = []
    calls = 0
    for step in steps:
        if not isinstance(step, CallTool):
            allowed.append(step)
        elif calls < most and (step.name in tools or not request.must_call):
            calls += 1
            allowed.append(step)
    if request.must_call and not calls and tools:
        tool = next(iter(tools.values()))
        end = next((at for at, step in enumerate(allowed) if isinstance(step, _ENDS)), len(allowed))
        allowed.insert(end, CallTool(tool.name, json.dumps(_simplest(tool.parameters))))
    return tuple(allowed)


_ENDS = (Finish, Fail, Hang)
_SIMPLEST: Mapping[str, Any] = {
    "string": "",
    "integer": 0,
    "number": 0,
    "boolean": False,
    "array": [],
    "null": None,
}


def _simplest(schema: Mapping[str, Any]) -> Any:
    """Return the simplest value of a plain schema: its constant, its default, or an empty value."""
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("type", "object") != "object":
        return _SIMPLEST.get(str(schema["type"]))
    properties = schema.get("properties", {})
    return {name: _simplest(properties.get(name, {})) for name in schema.get("required", ())}


def split_tokens(text: str) -> list[str]:
    """Return the tokens of a text.

    :param text: any text.
    :returns: its tokens in order; they join to the text.
    """
    return _TOKEN.findall(text)


def count_tokens(text: str) -> int:
    """Return the number of tokens in a text.

    :param text: any text.
    """
    return len(split_tokens(text))


def count_prompt(messages: Sequence[Message]) -> int:
    """Return the number of tokens in a prompt.

    :param messages: the prompt; each message takes `PER_MESSAGE` tokens beyond its text and images.
    """
    return sum(PER_MESSAGE + _count_message(message) for message in messages)


def _count_message(message: Message) -> int:
    calls = (call.name + call.arguments for call in message.tool_calls)
    images = sum(image.tokens for image in message.images)
    return count_tokens(message.content) + sum(map(count_tokens, calls)) + images
