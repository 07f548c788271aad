"""The events of a turn, its trace and its reply.

The command line, scripts, servers and recorders read this one stream. Invariant: events are frozen,
JSON-ready (`to_dict`) and ordered: `TurnStarted` comes first; `TurnFinished` comes last if the turn
has a reply, otherwise `TurnFailed`; a `TextDelta` comes after the `Committed` or `Takeover` that it
belongs to. `at_s` is in seconds since the turn began, on the monotonic clock.
`vanta.TurnStream.text` turns the stream into the text to display.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from vanta.messages import FinishReason, ToolCall, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The base of all events.

    :param at_s: seconds since the turn began.
    """

    at_s: float

    def to_dict(self) -> dict[str, Any]:
        """Return the event as JSON-ready data; `type` is the name of its class."""
        return {"type": type(self).__name__, **_plain(self)}


Observer = Callable[[Event], None]
"""Receives every event of every turn, on the event loop; it must return at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnStarted(Event):
    """A turn has begun.

    :param policy: the name of the policy it runs under.
    :param deadline_s: seconds that the whole turn may take.
    :param skipped: why each track of the policy that cannot take part is skipped, by name.
    """

    turn_id: str
    session_id: str
    policy: str
    deadline_s: float
    skipped: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LegStarted(Event):
    """A track began an attempt.

    :param leg: the number of the attempt in this turn, from 0.
    :param why: the rule of the policy that started it.
    """

    leg: int
    track: str
    model: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRecalled(Event):
    """Memory was searched, once for all tracks of the turn.

    What each track was shown of it is in the trace's `context`.

    :param found: id and score of each match, best first.
    :param took_s: seconds that the search took.
    :param embedder: the embedder that took part; None if only words were compared.
    :param index: the vector index that took part; None if only words were compared.
    :param skipped: what did not take part, and why; "" if everything did.
    """

    found: tuple[tuple[int, float], ...]
    took_s: float
    embedder: str | None
    index: str | None
    skipped: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed(Event):
    """The turn bound itself to a leg: its text is shown from here on."""

    leg: int
    track: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta(Event):
    """Text to append to what is shown."""

    leg: int
    track: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Takeover(Event):
    """The committed leg broke, and another leg takes over.

    :param shown_chars: how many characters were shown when it broke.
    :param why: the error of the broken leg.
    :param restarts: True if the new leg answers anew, so that the text shown before is void; False
        if it continues that text.
    """

    leg: int
    track: str
    from_leg: int
    from_track: str
    shown_chars: int
    why: str
    restarts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Amended(Event):
    """A leg that finished later disagrees materially: `text` replaces what was shown."""

    leg: int
    track: str
    text: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LegFinished(Event):
    """A leg reached the end of its answer."""

    leg: int
    track: str
    finish_reason: FinishReason | None
    usage: Usage | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LegFailed(Event):
    """A leg failed. `error` is `EngineError.to_dict()`."""

    leg: int
    track: str
    error: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LegRejected(Event):
    """The gate rejected a leg's finished answer."""

    leg: int
    track: str
    score: float | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LegCancelled(Event):
    """A losing leg has stopped, confirmed by its engine.

    :param confirmed_s: seconds from the request to stop until the engine had stopped.
    :param tokens_after_stop: tokens that it still generated in that time.
    :param cpu_after_stop_s: CPU seconds that it still used in that time.
    """

    leg: int
    track: str
    confirmed_s: float
    tokens_after_stop: int
    cpu_after_stop_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFinished(Event):
    """The turn is over, and its exchange is durable."""

    reply: Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFailed(Event):
    """The turn is over without a reply: it failed, or its caller cancelled it.

    The error that the turn raises follows. Not sent if the store failed.
    """

    trace: Trace


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
class ContextTrace:
    """The last prompt that a track was sent in a turn. Counts are in the track's own tokens.

    :param tokens: the size of the prompt; None if it was not counted.
    :param exact: whether `tokens` is exact; None if it was not counted.
    :param counter: the tokenizer or estimate that counted.
    :param window: the track's context window; None if it is unknown.
    :param budget: the tokens that the prompt may take; None if the window is unknown.
    :param dropped_exchanges: how many of the oldest exchanges were left out.
    :param memories: the memories in the prompt, in its order.
    :param memory_tokens: the size of the block of memories.
    :param summary: whether the block has a summary of the session.
    :param memory_skipped: why the memories were left out although there are some.
    :param refused: the error of a server that refused an earlier, longer prompt.
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

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data; `memory_skipped` and `refused` are left out if they are None."""
        data = {name: _plain(getattr(self, name)) for name in _field_names(ContextTrace)}
        for name in ("memory_skipped", "refused"):
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
class Trace:
    """What happened in a turn, leg by leg; stored with it. It has no text of the conversation.

    :param status: `answered`, `failed` or `cancelled`.
    :param skipped: why each track of the policy that did not take part was skipped, by name.
    :param context: the last prompt of each track that was sent one, by track name.
    :param private_because: why the turn was private although its caller did not ask for it.
    :param recall: the search of memory; None if memory was not searched.
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

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data."""
        return cast("dict[str, Any]", _plain(self))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Trace:
        """Restore a trace from `to_dict` data; keys that this version does not know are ignored."""
        changes: dict[str, Any] = {
            "legs": tuple(_leg_from(leg) for leg in data["legs"]),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer of a turn.

    :param track: the track that served it; after a takeover, the one that finished it.
    :param model: the model that served it.
    :param finish_reason: why the text ends; `deadline` if it was cut when the turn's time was up.
    :param usage: tokens of the legs whose text was shown; None if they are unknown.
    :param cost_usd: the cost of all legs, losers included.
    :param tool_calls: the calls that the model asks for.
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

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data: the output of `vanta ask --json`."""
        return cast("dict[str, Any]", _plain(self))


def _plain(value: Any) -> Any:
    """Return what `dataclasses.asdict` returns, four times as fast.

    It is part of every turn, and nothing in a trace needs a deep copy.
    """
    kind: Any = type(value)
    if kind in _ATOMS:
        return value
    if kind in {list, tuple}:
        return kind(map(_plain, value))
    if kind is ContextTrace:
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    names = _field_names(kind)
    return {name: _plain(getattr(value, name)) for name in names} if names else value


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
    context: ContextTrace = _known(ContextTrace, {**data, "memories": memories})
    return context


_ATOMS = frozenset({str, int, float, bool, type(None)})
