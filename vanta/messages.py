"""The data of engines and sessions: messages in, deltas out, usage at the end.

Invariant: everything here is frozen and knows nothing of engines, tracks or turns; concatenating
the `text` of an answer's deltas gives the answer, to the character. Messages and folded deltas are
well-formed Unicode, whatever a server, a caller or a file put into them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vanta.errors import UsageError
from vanta.text import SurrogateJoiner, make_well_formed, well_formed

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "deadline"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call that a model asks for.

    :param id: its id, unique in the conversation.
    :param name: the name of the tool.
    :param arguments: the JSON text as the model wrote it.
    """

    id: str
    name: str
    arguments: str

    def __post_init__(self) -> None:
        make_well_formed(self, "id", "name", "arguments")


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
class Message:
    """One message of a conversation.

    :param role: its author.
    :param content: its text. A list of text parts, as several protocols write content, is joined,
        without the parts that are reasoning; None becomes an empty text.
    :param tool_calls: the calls that an assistant's message asks for.
    :param tool_call_id: the call whose result a tool's message is.
    :raises UsageError: if the content has a part that is not text.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.content, str):
            object.__setattr__(self, "content", _content_of(self.content))
        make_well_formed(self, "content")


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


@dataclass(slots=True)
class CallNumbering:
    """Numbers the tool calls of one answer, also those of servers whose indexes are wrong.

    A new id begins a new call, whatever its index. A fragment without an id continues the latest
    call of its index; without an index, too, it continues the latest call of all.
    """

    _by_index: dict[int, int] = field(default_factory=dict)
    _by_id: dict[str, int] = field(default_factory=dict)
    _has_id: list[bool] = field(default_factory=list)

    def number(self, index: int | None, call_id: str = "", *, begins: bool = False) -> int:
        """Return the number of the call that a fragment belongs to, counted from 0.

        :param index: the index that the server sent, or None.
        :param call_id: the id that the server sent, or "".
        :param begins: whether the fragment can only be the first one of a call.
        """
        number = self._by_id.get(call_id, -1)
        if number < 0 and not begins:
            latest = len(self._has_id) - 1
            number = latest if index is None else self._by_index.get(index, -1)
            if number >= 0 and call_id and self._has_id[number]:
                number = -1
        if number < 0:
            number = len(self._has_id)
            self._has_id.append(False)
        if call_id:
            self._by_id[call_id] = number
            self._has_id[number] = True
        if index is not None:
            self._by_index[index] = number
        return number


_MOST_FRAGMENTS = 4096
"""Fragments of a text that are kept apart; more are joined, for a short one needs more memory as an
object than as text."""


class ObjectEnd:
    """Finds the end of the first JSON object in a text that comes in fragments."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_text = self._is_escaped = False
        self.is_reached = False

    def feed(self, fragment: str) -> None:
        """Read the next fragment, in time linear in its length."""
        if self.is_reached:
            return
        for letter in fragment:
            if self._in_text:
                self._read_text(letter)
            elif letter == '"':
                self._in_text = True
            elif letter in "{}":
                self._depth += 1 if letter == "{" else -1
                if self._depth == 0:
                    self.is_reached = True
                    return

    def _read_text(self, letter: str) -> None:
        if self._is_escaped:
            self._is_escaped = False
        elif letter == "\\":
            self._is_escaped = True
        elif letter == '"':
            self._in_text = False


@dataclass(slots=True)
class Fold:
    """Joins deltas, one at a time, into a `Completion`; linear in the length of the answer.

    Surrogate pairs that a server split across deltas are joined, and lone halves are replaced.
    """

    _text: list[str] = field(default_factory=list)
    _reasoning: list[str] = field(default_factory=list)
    _calls: dict[int, list[ToolCallPart]] = field(default_factory=dict)
    _numbering: CallNumbering = field(default_factory=CallNumbering)
    _logprobs: list[TokenLogprob] = field(default_factory=list)
    _last: dict[str, Any] = field(default_factory=dict)
    _joined: Completion | None = None
    _first_call: ObjectEnd = field(default_factory=ObjectEnd)
    _text_joiner: SurrogateJoiner = field(default_factory=SurrogateJoiner)
    _reasoning_joiner: SurrogateJoiner = field(default_factory=SurrogateJoiner)

    def add(self, delta: Delta) -> Delta:
        """Add the next delta.

        :param delta: the next delta of the stream.
        :returns: the delta as it was added: well-formed, and without half a character at its end,
            which the next one brings.
        """
        self._joined = None
        delta = self._well_formed(delta)
        if delta.text:
            add_fragment(self._text, delta.text)
        if delta.reasoning:
            add_fragment(self._reasoning, delta.reasoning)
        for part in delta.tool_calls:
            number = self._numbering.number(part.index, part.id)
            self._calls.setdefault(number, []).append(part)
            if number == 0:
                self._first_call.feed(part.arguments)
        self._logprobs.extend(delta.logprobs)
        for name in ("finish_reason", "usage", "timings", "model"):
            value = getattr(delta, name)
            if value is not None:
                self._last[name] = value.checked() if name == "timings" else value
        return delta

    def _well_formed(self, delta: Delta) -> Delta:
        """Return `delta` with complete characters only. The last delta gets what was held back."""
        text = self._text_joiner.feed(delta.text)
        reasoning = self._reasoning_joiner.feed(delta.reasoning)
        if delta.finish_reason is not None:
            text += self._text_joiner.flush()
            reasoning += self._reasoning_joiner.flush()
        if delta.logprobs or not (delta.model or "").isascii():
            logprobs = tuple(map(_well_formed_token, delta.logprobs))
            model = delta.model and well_formed(delta.model)
            delta = dataclasses.replace(delta, logprobs=logprobs, model=model)
        if text == delta.text and reasoning == delta.reasoning:
            return delta
        return dataclasses.replace(delta, text=text, reasoning=reasoning)

    @property
    def has_whole_call(self) -> bool:
        """Whether the first tool call is complete: its JSON has closed, or another call follows."""
        return self._first_call.is_reached or len(self._calls) > 1

    def completion(self) -> Completion:
        """Return the answer so far; more deltas may follow."""
        if self._joined is None:
            self._joined = Completion(
                text="".join(self._text),
                reasoning="".join(self._reasoning),
                tool_calls=tuple(_join(parts) for _, parts in sorted(self._calls.items())),
                logprobs=tuple(self._logprobs),
                **self._last,
            )
        return self._joined


_REASONING_PARTS = ("thinking", "reasoning", "summary")
_NO_TEXT_PARTS = ("reference", "redacted_thinking", "reasoning.encrypted")
_TEXT_FIELDS = ("text", "refusal", "thinking", "reasoning", "summary", "content", "value")
_DEEPEST_PART = 8


def read_content(content: object, *, strict: bool = False) -> tuple[str, str]:
    """Return the text and the reasoning in the content of a message or a delta.

    Content is a text, None, a part, or a list of texts and parts: `{"type": "text", "text": ...}`
    (OpenAI), `{"type": "thinking", "thinking": [...]}` (Mistral), `{"type": "reasoning.text", ...}`
    (OpenRouter).

    :param content: the JSON value.
    :param strict: whether a part of another type, such as an image, is refused; otherwise it is
        ignored.
    :returns: the text, and the reasoning.
    :raises ValueError: if the content is of another shape.
    """
    if isinstance(content, str):
        return content, ""
    pieces = list(_pieces(content, is_reasoning=False, strict=strict, depth=0))
    text = "".join(piece for piece, is_reasoning in pieces if not is_reasoning)
    return text, "".join(piece for piece, is_reasoning in pieces if is_reasoning)


def _pieces(
    content: object, *, is_reasoning: bool, strict: bool, depth: int
) -> Iterator[tuple[str, bool]]:
    """Yield each text in a content, and whether it is reasoning."""
    if content is None:
        return
    if isinstance(content, str):
        yield content, is_reasoning
    elif isinstance(content, Mapping) and depth < _DEEPEST_PART:
        kind = str(content.get("type") or "")
        has_text = any(name in content for name in _TEXT_FIELDS)
        if kind in _NO_TEXT_PARTS or (not has_text and not strict):
            return
        if not has_text:
            raise ValueError(f"a part of the content has the type {kind[:40]!r}, which is not text")
        inner = next((content[name] for name in _TEXT_FIELDS if content.get(name)), None)
        hidden = is_reasoning or kind.startswith(_REASONING_PARTS)
        yield from _pieces(inner, is_reasoning=hidden, strict=strict, depth=depth + 1)
    elif isinstance(content, list | tuple) and depth < _DEEPEST_PART:
        for part in content:
            yield from _pieces(part, is_reasoning=is_reasoning, strict=strict, depth=depth + 1)
    else:
        raise ValueError(f"the content is of type {type(content).__name__}, which is not text")


def _content_of(content: object) -> str:
    try:
        return read_content(content, strict=True)[0]
    except ValueError as error:
        raise UsageError(f"{error}: pass a text, or a list of text parts.") from None


def fold(deltas: Iterable[Delta]) -> Completion:
    """Return the whole answer of a finished stream.

    :param deltas: its deltas, in order.
    """
    folded = Fold()
    for delta in deltas:
        folded.add(delta)
    return folded.completion()


def add_fragment(fragments: list[str], text: str) -> None:
    """Append to the fragments of a text, and join them if they have become many.

    :param fragments: the fragments, whose concatenation is the text.
    :param text: the next one.
    """
    fragments.append(text)
    if len(fragments) > _MOST_FRAGMENTS:
        fragments[:] = ["".join(fragments)]


def _seconds(value: float | None) -> float | None:
    is_time = value is not None and math.isfinite(value) and value >= 0
    return value if is_time else None


def _well_formed_token(item: TokenLogprob) -> TokenLogprob:
    token = well_formed(item.token)
    top = tuple((well_formed(text), value) for text, value in item.top)
    if token is item.token and top == item.top:
        return item
    return TokenLogprob(token, item.logprob, top)


def _join(parts: list[ToolCallPart]) -> ToolCall:
    return ToolCall(
        id=next((part.id for part in parts if part.id), ""),
        name=next((part.name for part in parts if part.name), ""),
        arguments="".join(part.arguments for part in parts),
    )
