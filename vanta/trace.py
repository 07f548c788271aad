"""The records of a turn: its trace, leg by leg and call by call, and its reply.

Invariant: records are frozen and JSON-ready (`to_dict`); a trace has no text of the conversation.
Times are seconds since the turn began, on the monotonic clock.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, cast

from pydantic_core import to_jsonable_python
from typing_extensions import TypeVar

from vanta.messages import FinishReason, Image, Message, TokenLogprob, ToolCall, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class LegTrace:
    """The record of one leg. Times are seconds since the turn began; None if it never happened.

    :param state: `won`, `finished` (it answered but lost), `failed`, `rejected`, `cancelled`,
        `broken` (it was committed and broke), `amended` (it won, and another leg's text replaced
        its own) or `verified` (it judged an answer).
    :param usage: tokens of everything the leg produced, delivered or not; `usage.exact` is False if
        they are estimates.
    :param cost_usd: what they cost.
    :param cpu_s: CPU seconds of this process while the leg ran, if its engine computes here.
    :param verdict: the gate's reason; `accepted` and `score` are its decision and measurement. Of
        a leg that judged an answer: whether it finds the answer right, and its probability of yes.
    :param error: `EngineError.to_dict()` of a leg that failed.
    """

    leg: int
    round: int = 0
    track: str
    engine: str
    model: str
    state: str
    why: str
    started_s: float
    first_content_s: float | None = None
    committed_s: float | None = None
    stop_asked_s: float | None = None
    ended_s: float | None = None
    usage: Usage | None = None
    cost_usd: float = 0.0
    cpu_s: float = 0.0
    tokens_after_stop: int = 0
    cpu_after_stop_s: float = 0.0
    cost_after_stop_usd: float = 0.0
    verdict: str | None = None
    accepted: bool | None = None
    score: float | None = None
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryTrace:
    """One memory in a prompt: its id, its score, and the tokens of its line."""

    id: int
    score: float
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolTrace:
    """One tool in a prompt.

    :param tokens: the tokens of its schema, as it is shown.
    :param detail: how much of it is shown: `full`, `brief` or `bare`.
    :param score: how well it fits the message; None if all tools fit, so that none was ranked.
    :param parts: the parts of its score, by name.
    """

    name: str
    tokens: int
    detail: str = "full"
    score: float | None = None
    parts: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolsTrace:
    """The tools in a prompt.

    :param offered: how many tools the turn may call.
    :param tokens: the tokens of all schemas that are shown, `find_tools` included.
    :param room: the tokens that they may take; None if the window is unknown.
    :param shown: the tools that are shown: the best first, or as they are offered if all fit.
    :param finder: whether `find_tools` is shown, since other tools are not.
    :param note: why meaning took no part in the ranking, or "".
    """

    offered: int
    tokens: int
    room: int | None = None
    shown: tuple[ToolTrace, ...] = ()
    finder: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextTrace:
    """The last prompt that a track was sent in a turn. Counts are in the track's own tokens.

    :param tokens: the size of its messages; None if they were not counted.
    :param exact: whether `tokens` is exact; None if it was not counted.
    :param counter: the tokenizer or estimate that counted.
    :param window: the track's context window; None if it is unknown.
    :param budget: the tokens that the messages may take: the window less the reply's reserve and
        the tools; None if the window is unknown.
    :param dropped_exchanges: how many of the oldest exchanges were left out.
    :param memories: the memories in the prompt, in its order.
    :param memory_tokens: the size of the block of memories.
    :param summary: whether the block has a summary of the session.
    :param memory_skipped: why the memories were left out although there are some.
    :param refused: the error of a server that refused an earlier, longer prompt.
    :param tools: the tools in the prompt; None if it has none.
    """

    tokens: int | None = None
    exact: bool | None = None
    counter: str = ""
    window: int | None = None
    budget: int | None = None
    dropped_exchanges: int = 0
    memories: tuple[MemoryTrace, ...] = ()
    memory_tokens: int = 0
    summary: bool = False
    memory_skipped: str | None = None
    refused: str | None = None
    tools: ToolsTrace | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data; `memory_skipped`, `refused` and `tools` are left out if None."""
        data = {name: plain_data(getattr(self, name)) for name in _field_names(ContextTrace)}
        for name in ("memory_skipped", "refused", "tools"):
            if data[name] is None:
                del data[name]
        return data


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallTrace:
    """The turn's search of memory; its fields are those of `MemoryRecalled`."""

    found: tuple[tuple[int, float], ...] = ()
    took_s: float = 0.0
    embedder: str | None = None
    index: str | None = None
    skipped: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTrace:
    """The record of one tool call. It has neither arguments nor result.

    :param state: as in `CallFinished`, or `cancelled`: it began for a leg that lost, and was
        stopped.
    :param rule: the permission's rule that decided.
    :param shared: whether it waited for an equal call of another leg instead of running again.
    :param cost_usd: what it cost.
    """

    key: str
    round: int
    toolset: str
    tool: str
    effect: str
    state: str
    rule: str
    took_s: float
    shared: bool = False
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What happened in a turn, leg by leg; stored with it. It has no text of the conversation.

    :param status: `answered`, `failed`, `cancelled`, `parked` (it waits for a person), or
        `expired`: it waited too long.
    :param skipped: why each track of the policy that did not take part was skipped, by name.
    :param context: the last prompt of each track that was sent one, by track name.
    :param private_because: why the turn was private although its caller did not ask for it.
    :param recall: the search of memory; None if memory was not searched.
    :param rounds: how many rounds the turn had.
    :param calls: the tool calls of all rounds.
    :param limit: the limit at which the model was asked for a final answer; "" for none.
    """

    turn_id: str
    session_id: str
    policy: str
    private: bool
    deadline_s: float
    duration_s: float
    status: str
    skipped: Mapping[str, str]
    context: Mapping[str, ContextTrace]
    legs: tuple[LegTrace, ...]
    private_because: str | None = None
    recall: RecallTrace | None = None
    rounds: int = 1
    calls: tuple[CallTrace, ...] = ()
    limit: str = ""

    @property
    def cost_usd(self) -> float:
        """What all legs and calls cost."""
        return sum(leg.cost_usd for leg in self.legs) + sum(call.cost_usd for call in self.calls)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return cast("dict[str, Any]", plain_data(self))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Trace:
        """Restore a trace from `to_dict` data; keys that this version does not know are ignored."""
        changes: dict[str, Any] = {
            "legs": tuple(_leg_from(leg) for leg in data["legs"]),
            "calls": tuple(_known(CallTrace, call) for call in data.get("calls", ())),
            "context": {
                track: _context_from(context) for track, context in data["context"].items()
            },
        }
        recall = data.get("recall")
        if recall is not None:
            found = tuple((identity, score) for identity, score in recall["found"])
            changes["recall"] = _known(RecallTrace, {**recall, "found": found})
        trace: Trace = _known(cls, {**data, **changes})
        return trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Times of a whole turn, in seconds since it began.

    :param first_content_s: when the user could read the first text; None if there was none.
    """

    first_content_s: float | None
    duration_s: float


OutputT = TypeVar("OutputT", default=Any, covariant=True)  # noqa: PLC0105 - it stands for both
"""The type of a typed answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply(Generic[OutputT]):
    """The answer of a turn.

    :param track: the track that served it; after a takeover, the one that finished it.
    :param model: the model that served it.
    :param finish_reason: why the text ends; `deadline` if it was cut when the turn's time was up.
    :param usage: tokens of the legs whose text was shown; None if they are unknown.
    :param cost_usd: the cost of all legs, losers included.
    :param tool_calls: the calls that the model asks for, and vanta does not run.
    :param output: the value of a typed answer (see `output` of `vanta.Session.ask`); None for an
        answer in words, and for one that calls the caller's own tools.
    :param logprobs: the tokens of the text, if `Sampling.logprobs` asks for them and one leg alone
        wrote the text: none after a takeover, or if a tool ran. Not part of `to_dict`.
    :param messages: what the turn added to the transcript after the user's message: calls and
        their results, then the answer. Not part of `to_dict`.
    """

    text: str
    track: str
    model: str
    finish_reason: FinishReason | None
    usage: Usage | None
    cost_usd: float
    timings: Timings
    trace: Trace
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    output: OutputT = None  # type: ignore[assignment]
    messages: tuple[Message, ...] = field(default=(), repr=False)
    logprobs: tuple[TokenLogprob, ...] = field(default=(), repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data: the output of `vanta ask --json`; `output` only if it is set."""
        apart = ("output", "messages", "logprobs")
        names = [name for name in _field_names(Reply) if name not in apart]
        data = {name: plain_data(getattr(self, name)) for name in names}
        if self.output is not None:
            data["output"] = to_jsonable_python(self.output, fallback=str)
        return data


def plain_data(value: Any) -> Any:
    """Return what `dataclasses.asdict` returns, four times as fast.

    It is part of every turn, and nothing in a trace needs a deep copy.
    """
    kind: Any = type(value)
    if kind in _ATOMS:
        return value
    if kind in {list, tuple}:
        return kind(map(plain_data, value))
    if kind in (ContextTrace, Reply):
        return value.to_dict()
    if kind is Image:
        return value.url
    if isinstance(value, Mapping):
        return {key: plain_data(item) for key, item in value.items()}
    names = _field_names(kind)
    return {name: plain_data(getattr(value, name)) for name in names} if names else value


@functools.cache
def _field_names(kind: type) -> tuple[str, ...]:
    """Return the field names of a dataclass; none of any other type."""
    return (
        tuple(field.name for field in dataclasses.fields(kind))
        if dataclasses.is_dataclass(kind)
        else ()
    )


def _known(kind: Any, data: Mapping[str, Any]) -> Any:
    """Make a dataclass from the keys of `data` that it has as fields."""
    return kind(**{name: data[name] for name in _field_names(kind) if name in data})


def _leg_from(data: Mapping[str, Any]) -> LegTrace:
    usage = data.get("usage")
    leg: LegTrace = _known(LegTrace, {**data, "usage": _known(Usage, usage) if usage else None})
    return leg


def _context_from(data: Mapping[str, Any]) -> ContextTrace:
    memories = tuple(_known(MemoryTrace, memory) for memory in data.get("memories", ()))
    tools = data.get("tools")
    if tools is not None:
        shown = tuple(_known(ToolTrace, tool) for tool in tools.get("shown", ()))
        tools = _known(ToolsTrace, {**tools, "shown": shown})
    context: ContextTrace = _known(ContextTrace, {**data, "memories": memories, "tools": tools})
    return context


_ATOMS = frozenset({str, int, float, bool, type(None)})
