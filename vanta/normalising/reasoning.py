"""Reasoning that a model writes into its answer, recognised by its marks.

The marks of many families are known: `<think>` (DeepSeek, Qwen, GLM), `[THINK]` (Magistral),
`<|channel|>analysis` (gpt-oss, https://cookbook.openai.com/articles/openai-harmony),
`<|START_THINKING|>` (Cohere), `<|channel>thought` (Gemma) and others. They count only at the
beginning of an answer and directly after a reasoning: a mark inside code or prose is text.

An answer to a question about a mark may begin with it ("<think> is a tag of ..."). If a message of
the user contains the mark (`quoted_marks`), it counts only if the text after it looks like
reasoning: a line break or a letter directly after the mark, or a capital after a space. Limit:
prose of this form is read as reasoning, as is prose that begins with a mark which no message of the
user contains; reasoning of another form is shown.

Invariant: every character is returned once, in order, as text or as reasoning, or is part of a mark
or of the blank lines after one. No more than `MAX_HELD` characters are held back, and no more than
`MAX_MARKS` marks are recognised.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from vanta.messages import Delta, Message, TokenLogprob

MAX_HELD = 256
"""Characters that are held back at most while it is open whether they belong to a mark."""

_SLICE = 4096
"""Characters that are looked at together, so that the work on many marks stays proportional."""

MAX_MARKS = 100
"""Marks that count in one answer. What follows them is text, so that an answer of marks alone costs
no more than one of words."""

_MAGISTRAL = "[think]"  # counts in capitals only, since "[Think]" may be a stage direction

_PAIRS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "<longcat_think>": "</longcat_think>",
    _MAGISTRAL: "[/think]",
    "◁think▷": "◁/think▷",
    "<|start_thinking|>": "<|end_thinking|>",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|inner_prefix|>": "<|inner_suffix|>",
    "<|channel>thought": "<channel|>",
    "<|channel>analysis": "<channel|>",
    "<unused94>thought": "<unused95>",
}
"""Opening and closing marks, in lower case."""

_SOLUTIONS = {
    "<|begin_of_solution|>": "<|end_of_solution|>",
    "<|start_response|>": "<|end_response|>",
    "<|start_text|>": "<|end_text|>",
}
"""Marks around the answer itself, which only count after a reasoning."""

_CHANNEL, _MESSAGE = "<|channel|>", "<|message|>"
_HARMONY = (_CHANNEL, f"<|start|>assistant{_CHANNEL}")
_CALL_HEADS = ("<|start|>assistant to=", "to=functions.")
"""What a call of gpt-oss may begin with beside `_HARMONY`."""
_CALL_HEADER = " to=functions."
_HARMONY_ENDS = ("<|end|>", "<|return|>", "<|call|>", "<|start|>", _CHANNEL)
_FINAL = "final"

REASONING_TOKENS = frozenset(
    {
        *("<think>", "</think>", "[THINK]", "[/THINK]", "◁think▷", "◁/think▷"),
        *("<thinking>", "</thinking>", "<seed:think>", "</seed:think>"),
        *("<longcat_think>", "</longcat_think>", "<|inner_prefix|>", "<|inner_suffix|>"),
        *("<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>"),
        *("<|START_TEXT|>", "<|END_TEXT|>", "<|channel>", "<channel|>"),
        *("<unused94>", "<unused95>", _MESSAGE, "<|constrain|>", *_HARMONY_ENDS),
    }
)
"""Control tokens of vocabularies that a splitter must see as text."""

_BEFORE_REASONING = {**_PAIRS, **dict.fromkeys(_HARMONY, "")}
_AFTER_REASONING = {**_BEFORE_REASONING, **_SOLUTIONS, **dict.fromkeys(_PAIRS.values(), "")}
"""With closing marks, since some models write theirs twice."""

_BLANK_LINES = re.compile(r"(?:[ \t]*\r?\n)+|[ \t]+")

State = Literal["start", "gap", "reasoning", "header", "message", "solution", "text"]


@dataclass(frozen=True, slots=True)
class SplitText:
    """A piece of an answer.

    :param text: the part that belongs to the answer.
    :param reasoning: the part that belongs to the reasoning.
    """

    text: str = ""
    reasoning: str = ""

    def __add__(self, other: SplitText) -> SplitText:
        return SplitText(self.text + other.text, self.reasoning + other.reasoning)


@dataclass(slots=True)
class ReasoningSplitter:
    """Splits the text of one answer as it arrives.

    :param inside: the mark that ends the reasoning which the prompt has opened already, or "".
    :param continues: whether the answer continues a given beginning, so that no mark counts.
    :param quoted: the marks that the user's messages contain, from `quoted_marks`.
    :param calls: whether the answer may call tools: a message of gpt-oss that calls one is returned
        as text, with its header, for `CallReader`.
    """

    inside: str = ""
    continues: bool = False
    quoted: frozenset[str] = frozenset()
    calls: bool = False
    _state: State = "start"
    _held: str = ""
    _ends: tuple[str, ...] = ()
    _is_final: bool = False
    _header: str = ""
    _marks: int = 0
    _text: list[str] = field(default_factory=list)
    _reasoning: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.inside:
            self._state, self._ends = "reasoning", (self.inside.lower(),)
        elif self.continues:
            self._state = "text"

    @property
    def reads_marks(self) -> bool:
        """Whether the next text may be or contain a mark."""
        return self._state != "text"

    @property
    def may_hold_text(self) -> bool:
        """Whether what is held back may be part of the answer."""
        is_final = self._state == "message" and self._is_final
        return self._state in {"start", "solution", "text"} or is_final

    def add(self, text: str) -> SplitText:
        """Take more text and return what is certain.

        :param text: the next fragment of the answer.
        """
        if self._state == "text" and not self._held:
            return SplitText(text)
        for start in range(0, len(text), _SLICE):  # each mark copies what follows it
            self._held += text[start : start + _SLICE]
            while self._held and self._step():
                pass
        return self._take()

    def finish(self) -> SplitText:
        """End the answer and return what was held back; further text is part of the answer."""
        held, self._held = self._held, ""
        state, self._state = self._state, "text"
        if state == "header" and self._header in _CALL_HEADS:
            self._text.append(self._header + held)
        elif state in {"reasoning", "header"} or (state == "message" and not self._is_final):
            self._reasoning.append(held)
        elif state != "gap":
            self._text.append(held)
        elif held.strip():
            self._text.append(_without_blank_lines(held))
        return self._take()

    def _take(self) -> SplitText:
        piece = SplitText("".join(self._text), "".join(self._reasoning))
        self._text, self._reasoning = [], []
        return piece

    def _step(self) -> bool:
        """Split off one more part. Returns False if that needs more text."""
        match self._state:
            case "start" | "gap":
                return self._open()
            case "header":
                return self._channel()
            case "text":
                self._text.append(self._held)
                self._held = ""
                return False
        return self._until_end()

    def _open(self) -> bool:
        """Look for a mark, which can only stand at the beginning or after another one."""
        bare = self._held.lstrip()
        if self._state == "start" and len(self._held) - len(bare) > MAX_HELD:
            self._state = "text"
            return True
        head = bare[:MAX_HELD].lower()
        marks = _AFTER_REASONING if self._state == "gap" else _BEFORE_REASONING
        if self.calls:
            marks = {**dict.fromkeys(_CALL_HEADS, ""), **marks}
        if self._marks >= MAX_MARKS:
            marks = {}
        mark = next((mark for mark in marks if _is_mark(mark, bare)), "")
        counts: bool | None = bool(mark)
        if self._state == "start" and mark in self.quoted:
            counts = _begins_reasoning(bare[len(mark) :])
            if counts is None and len(self._held) <= MAX_HELD:
                return False
        if counts:
            self._held = bare[len(mark) :]
            self._begin(mark, marks[mark])
            return True
        may_begin = not bare or any(mark.startswith(head) for mark in marks)
        if may_begin and len(self._held) <= MAX_HELD:
            return False
        if may_begin and self._state == "gap" and not bare:
            self._held = self._held[-1:]  # blank lines after a mark belong to it
            return False
        if self._state == "gap":
            self._held = _without_blank_lines(self._held)
        self._state = "text"
        return True

    def _begin(self, mark: str, end: str) -> None:
        self._marks += 1
        self._header = mark
        if mark in _HARMONY or mark in _CALL_HEADS:
            self._state = "header"
        elif not end:
            self._state = "gap"
        else:
            self._state = "solution" if mark in _SOLUTIONS else "reasoning"
            self._ends = (end,)

    def _channel(self) -> bool:
        """Read the name of a channel of gpt-oss: all but `final` is reasoning."""
        end = self._held.find(_MESSAGE, 0, MAX_HELD)
        if end < 0:
            if len(self._held) >= MAX_HELD:
                self._state = "text"
                self._text.append(self._header if self._header in _CALL_HEADS else "")
            return self._state == "text"
        header = self._header + self._held[:end]
        self._is_final = self._held[:end].strip().lower().startswith(_FINAL)
        if self.calls and _CALL_HEADER in f" {header}":
            self._is_final = True
            self._text.append(header + _MESSAGE)
        self._held = self._held[end + len(_MESSAGE) :]
        self._state, self._ends = "message", _HARMONY_ENDS
        return True

    def _until_end(self) -> bool:
        """Read a reasoning, or an answer between marks, up to its end."""
        is_text = self._state == "solution" or (self._state == "message" and self._is_final)
        target = self._text if is_text else self._reasoning
        match = _any_of(self._ends).search(self._held)
        if match is None:
            ready = len(self._held) - _possible_mark(self._held, self._ends)
            target.append(self._held[:ready])
            self._held = self._held[ready:]
            return False
        target.append(self._held[: match.start()])
        # The next message of gpt-oss begins with the mark that ended this one.
        begins_next = match[0] in {"<|start|>", _CHANNEL}
        self._held = self._held[match.start() if begins_next else match.end() :]
        self._state = "gap"
        return True


class ReasoningFilter:
    """Moves reasoning from the text of deltas into their `reasoning`, with its logprobs dropped.

    :param inside: see `ReasoningSplitter`.
    :param continues: see `ReasoningSplitter`.
    :param quoted: see `ReasoningSplitter`.
    :param calls: see `ReasoningSplitter`.
    """

    def __init__(
        self,
        *,
        inside: str = "",
        continues: bool = False,
        quoted: frozenset[str] = frozenset(),
        calls: bool = False,
    ) -> None:
        self._splitter = ReasoningSplitter(inside, continues, quoted, calls)
        self._logprobs: list[TokenLogprob] = []

    def feed(self, delta: Delta) -> Delta | None:
        """Take the next delta and return what to deliver of it; None while it is held back.

        A delta with a finish reason is the last one: what was held back is delivered with it.

        :param delta: the next delta of the answer.
        """
        if not self._splitter.reads_marks:
            return delta
        piece = self._splitter.add(delta.text)
        if delta.finish_reason is not None:
            piece += self._splitter.finish()
        elif not delta.text:
            return delta
        split = self._with_piece(delta, piece)
        has_news = split.text or split.reasoning or split.tool_calls or split.usage
        return split if has_news or split.finish_reason else None

    def finish(self) -> Delta | None:
        """Return what was held back when an answer ended without a last delta, None for nothing."""
        piece = self._splitter.finish()
        return self._with_piece(Delta(), piece) if piece.text or piece.reasoning else None

    def _with_piece(self, delta: Delta, piece: SplitText) -> Delta:
        self._logprobs += delta.logprobs
        logprobs = tuple(self._logprobs) if piece.text else ()
        if piece.text or piece.reasoning or not self._splitter.may_hold_text:
            self._logprobs.clear()
        reasoning = delta.reasoning + piece.reasoning
        return replace(delta, text=piece.text, reasoning=reasoning, logprobs=logprobs)


def reasoning_end(prompt: str) -> str:
    """Return the mark that ends the reasoning which a prompt has opened, "" if it has opened none.

    :param prompt: the text of a prompt, up to the answer.
    """
    tail = prompt[-MAX_HELD:].rstrip()
    for mark, end in _PAIRS.items():
        if tail.lower().endswith(mark):
            return end if tail.endswith(mark) else end.upper()
    return ""


def open_answer(prompt: str) -> str:
    """Return a prompt after which the answer itself follows, without any reasoning before it.

    :param prompt: the text of a prompt, up to the answer or inside its reasoning.
    """
    bare = prompt.rstrip()
    end = reasoning_end(bare)
    if end:
        return f"{bare}\n\n{end}\n\n"
    if bare.endswith("<|start|>assistant"):
        return f"{bare}{_CHANNEL}{_FINAL}{_MESSAGE}"
    return prompt


def quoted_marks(messages: Iterable[Message]) -> frozenset[str]:
    """Return the opening marks that the user's messages contain.

    :param messages: the messages of a request; those of the system and of the model do not count.
    """
    texts = [message.content.lower() for message in messages if message.role == "user"]
    return frozenset(mark for mark in _BEFORE_REASONING for text in texts if mark in text)


def without_reasoning(text: str, quoted: frozenset[str] = frozenset()) -> str:
    """Return an answer without the reasoning at its beginning.

    :param text: a whole answer.
    :param quoted: the marks that the user's messages contain, from `quoted_marks`.
    """
    splitter = ReasoningSplitter(quoted=quoted)
    return (splitter.add(text) + splitter.finish()).text


def _is_mark(mark: str, text: str) -> bool:
    """Return whether a text begins with a mark."""
    head = text[: len(mark)]
    return head.lower() == mark and (mark != _MAGISTRAL or head.isupper())


def _begins_reasoning(text: str) -> bool | None:
    """Return whether a reasoning follows a mark that the user quoted; None if that is open yet."""
    bare = text.lstrip(" \t")
    if not bare:
        return None
    if bare[0] in "\r\n" or bare[0].isupper():
        return True
    return bare == text and bare[0].islower()


def _without_blank_lines(text: str) -> str:
    """Drop what separates an answer from a mark; the indentation of its first line remains."""
    match = _BLANK_LINES.match(text)
    return text[match.end() :] if match else text


@functools.cache
def _any_of(marks: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, marks)), re.IGNORECASE)


def _possible_mark(text: str, marks: tuple[str, ...]) -> int:
    """Return how many characters at the end may begin a mark."""
    longest = min(len(text), max(map(len, marks)) - 1)
    for length in range(longest, 0, -1):
        if any(mark.startswith(text[-length:].lower()) for mark in marks):
            return length
    return 0
