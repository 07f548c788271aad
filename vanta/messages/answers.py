"""The answer of an engine: its deltas, and their sum.

Invariant: concatenating the `text` of an answer's deltas gives the answer, to the character.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from vanta.messages.message import ToolCall

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "deadline"]


@dataclass(frozen=True, slots=True)
class ToolCallPart:
    """A fragment of a tool call in a stream.

    :param index: the number of the call in its answer; parts with one index belong together.
    :param id: the id of the call, in one of its parts.
    :param name: the name of the tool, in one of its parts.
    :param arguments: the next fragment of the JSON text.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A generated token with its log probability.

    :param token: the token's text.
    :param logprob: its natural-log probability, at most 0.
    :param top: the most likely tokens at its place with theirs, best first, if requested.
    """

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of one generation; add two to get their sum.

    :param input_tokens: tokens of the prompt.
    :param output_tokens: tokens of the answer.
    :param cached_input_tokens: tokens of the prompt that came from a cache.
    :param exact: False if a count is vanta's estimate.
    """

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0
    exact: bool = True

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_input_tokens + other.cached_input_tokens,
            self.exact and other.exact,
        )


@dataclass(frozen=True, slots=True)
class EngineTimings:
    """Where an engine's time went, in seconds; None if the engine does not know.

    :param queue_s: waiting for a slot.
    :param prefill_s: reading the prompt.
    :param first_token_s: from the request to the first token.
    :param per_token_s: mean time of an output token after the first.
    """

    queue_s: float | None = None
    prefill_s: float | None = None
    first_token_s: float | None = None
    per_token_s: float | None = None

    def checked(self) -> EngineTimings:
        """Return the timings without numbers that are negative, infinite or not numbers."""
        return EngineTimings(*map(_seconds, dataclasses.astuple(self)))


@dataclass(frozen=True, slots=True)
class Delta:
    """One step of a streamed answer.

    :param text: the next fragment of the answer.
    :param reasoning: the next fragment of the model's reasoning.
    :param tool_calls: the next fragments of tool calls.
    :param logprobs: the tokens of `text`, if requested.
    :param finish_reason: why the answer ends; only in the last delta.
    :param usage: the tokens of the generation; only in the last delta, and only if they are known.
    :param timings: where the time went; only in the last delta.
    :param model: the model that serves the request, if the server reports it.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallPart, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    timings: EngineTimings | None = None
    model: str | None = None

    @property
    def has_content(self) -> bool:
        """Whether `text` is more than white space, so that a user could read it."""
        return bool(self.text) and not self.text.isspace()


@dataclass(frozen=True, slots=True)
class Completion:
    """The whole answer of one engine; its fields are those of `Delta`, joined."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    timings: EngineTimings | None = None
    model: str | None = None


def _seconds(value: float | None) -> float | None:
    is_time = value is not None and math.isfinite(value) and value >= 0
    return value if is_time else None
