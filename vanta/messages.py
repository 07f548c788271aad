"""What engines and sessions speak: messages in, deltas out, usage at the end.

Invariant: everything here is frozen and knows nothing of engines, tracks or turns; concatenating
the `text` of an answer's deltas gives the answer, to the character.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "deadline"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call that a model asks for. `arguments` is the JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolCallPart:
    """A fragment of a tool call in a stream; parts with one `index` belong to one call."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """The messages of one past turn: a message and its reply.

    :param messages: the messages, oldest first.
    :param private: whether only private tracks may see it.
    :param turn: the turn's id, "" if it is unknown.
    """

    messages: tuple[Message, ...]
    private: bool = False
    turn: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A generated token, its natural-log probability, and its rivals' if asked for (best first)."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one generation. `exact` is False where a count was estimated by vanta."""

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
    """Where an engine's time went, in seconds; None where the engine cannot know.

    queue_s: waiting for a place. prefill_s: reading the prompt. first_token_s: from the request to
    the first token. per_token_s: mean time of an output token after the first.
    """

    queue_s: float | None = None
    prefill_s: float | None = None
    first_token_s: float | None = None
    per_token_s: float | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """One step of a streamed answer.

    The last delta of a stream has a `finish_reason`, and `usage` where the engine learnt it.
    `model` is the model that really serves, where the engine was told.
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
        """True if there is text that a user could read: white space and reasoning are none."""
        return bool(self.text) and not self.text.isspace()


@dataclass(frozen=True, slots=True)
class Completion:
    """A stream, folded: the whole answer of one engine."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    timings: EngineTimings | None = None
    model: str | None = None


@dataclass(slots=True)
class Fold:
    """Folds deltas, one at a time, into a `Completion`; linear in the length of the answer."""

    _text: list[str] = field(default_factory=list)
    _reasoning: list[str] = field(default_factory=list)
    _calls: dict[int, list[ToolCallPart]] = field(default_factory=dict)
    _logprobs: list[TokenLogprob] = field(default_factory=list)
    _last: dict[str, Any] = field(default_factory=dict)

    def add(self, delta: Delta) -> None:
        """Take in one more delta."""
        if delta.text:
            self._text.append(delta.text)
        if delta.reasoning:
            self._reasoning.append(delta.reasoning)
        for part in delta.tool_calls:
            self._calls.setdefault(part.index, []).append(part)
        self._logprobs.extend(delta.logprobs)
        for name in ("finish_reason", "usage", "timings", "model"):
            value = getattr(delta, name)
            if value is not None:
                self._last[name] = value

    def completion(self) -> Completion:
        """What was folded so far; the fold can go on."""
        return Completion(
            text="".join(self._text),
            reasoning="".join(self._reasoning),
            tool_calls=tuple(_join(parts) for _, parts in sorted(self._calls.items())),
            logprobs=tuple(self._logprobs),
            **self._last,
        )


def fold(deltas: Iterable[Delta]) -> Completion:
    """The whole answer that `deltas` spell out."""
    folded = Fold()
    for delta in deltas:
        folded.add(delta)
    return folded.completion()


def _join(parts: list[ToolCallPart]) -> ToolCall:
    return ToolCall(
        id=next((part.id for part in parts if part.id), ""),
        name=next((part.name for part in parts if part.name), ""),
        arguments="".join(part.arguments for part in parts),
    )
