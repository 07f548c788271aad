"""What a turn tells its caller, in order.

The command line, scripts, servers and recorders all read this one stream. Invariant: events are
frozen, JSON-ready (`to_dict`), and ordered: `TurnStarted` first, `TurnFinished` last if the turn
has a reply, else `TurnFailed`, every text delta after the `Committed` or `Takeover` that it belongs
to. The text of a reply is the concatenation of its `TextDelta`s since the last `Takeover` that
restarts, unless an `Amended` replaces it. `at_s` is seconds on the monotonic clock since the turn
began.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from vanta.messages import FinishReason, ToolCall, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What all events have."""

    at_s: float

    def to_dict(self) -> dict[str, Any]:
        """The event as JSON-ready data; `type` is the class's name."""
        return {"type": type(self).__name__, **dataclasses.asdict(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnStarted(Event):
    """A turn has begun. `skipped` says of tracks that cannot take part why not."""

    turn_id: str
    session_id: str
    policy: str
    deadline_s: float
    skipped: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LegStarted(Event):
    """A track began an attempt. `leg` numbers the attempts of a turn from 0; `why` is the rule
    of the policy that started it."""

    leg: int
    track: str
    model: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRecalled(Event):
    """Memory was asked, once for all tracks of the turn. found: id and score of what it found, best
    first; what of it each track was shown is in the trace's `context`. embedder, index: what took
    part, None where words alone decided. skipped: what took no part, and why ("" if all did)."""

    found: tuple[tuple[int, float], ...]
    took_s: float
    embedder: str | None
    index: str | None
    skipped: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed(Event):
    """The turn bound itself to a leg: its text is what the user sees from here on."""

    leg: int
    track: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta(Event):
    """Text for the user."""

    leg: int
    track: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Takeover(Event):
    """The committed leg broke after `shown_chars` characters; another goes on from there, or, if
    it `restarts`, answers anew: what was shown before is then void."""

    leg: int
    track: str
    from_leg: int
    from_track: str
    shown_chars: int
    why: str
    restarts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Amended(Event):
    """A leg that finished later disagrees materially: `text` stands in place of what was shown."""

    leg: int
    track: str
    text: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LegFinished(Event):
    """A leg came to the end of its answer."""

    leg: int
    track: str
    finish_reason: FinishReason | None
    usage: Usage | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LegFailed(Event):
    """A leg broke. `error` is `EngineError.to_dict()`."""

    leg: int
    track: str
    error: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LegRejected(Event):
    """The gate turned a leg's finished answer down."""

    leg: int
    track: str
    score: float | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LegCancelled(Event):
    """A losing leg stands still, confirmed: `confirmed_s` after it was told to."""

    leg: int
    track: str
    confirmed_s: float
    tokens_after_stop: int
    cpu_after_stop_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFinished(Event):
    """The turn is over, its exchange is durable."""

    reply: Reply

    def to_dict(self) -> dict[str, Any]:
        return {"type": "TurnFinished", "at_s": self.at_s, "reply": self.reply.to_dict()}


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFailed(Event):
    """The turn is over without a reply: it failed, or its caller cancelled it; what it raises
    follows. Not sent where the store failed."""

    trace: Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class LegTrace:
    """One leg's record in a trace.

    Times are seconds since the turn began, None for what never happened. `state` is one of won,
    finished (it answered but lost), failed, rejected, cancelled, broken (it was committed and
    broke), amended (it won, and another's text replaced its own), verified (it judged). usage and
    cost_usd are of everything the leg produced, delivered or not; `usage.exact` is False where
    they are estimates. cpu_s: CPU seconds of this process while the leg ran, where its engine
    computes here. verdict, accepted and score: the gate's reason, word and measure.
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
class Trace:
    """What happened in a turn, leg by leg; stored with it. private_because: what a detector found
    that made the turn private. recall: what `MemoryRecalled` said, None if memory was not asked."""

    turn_id: str
    session_id: str
    policy: str
    private: bool
    deadline_s: float
    duration_s: float
    status: str
    skipped: Mapping[str, str]
    context: Mapping[str, Any]
    legs: tuple[LegTrace, ...]
    private_because: str | None = None
    recall: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return cast("dict[str, Any]", _plain(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Of a whole turn, in seconds: first_content_s is when the user could read the first text."""

    first_content_s: float | None
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer of a turn.

    track and model: who served it (after a takeover, who finished it). usage: the serving legs'
    tokens. cost_usd: of all legs, losers too. finish_reason `deadline` means that the text was cut
    when the turn's time was up.
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
        """JSON-ready data: what `vanta ask --json` prints."""
        return dataclasses.asdict(self)


def _plain(value: Any) -> Any:
    """What `dataclasses.asdict` gives, four times as quickly: it is part of every turn, and nothing
    in a trace needs to be copied deeply."""
    kind: Any = type(value)
    if kind in _ATOMS:
        return value
    if kind in {list, tuple}:
        return kind(map(_plain, value))
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    names = _field_names(kind)
    return {name: _plain(getattr(value, name)) for name in names} if names else value


@functools.cache
def _field_names(kind: type) -> tuple[str, ...]:
    """The fields of a dataclass; none of anything else."""
    return (
        tuple(field.name for field in dataclasses.fields(kind))
        if dataclasses.is_dataclass(kind)
        else ()
    )


_ATOMS = frozenset({str, int, float, bool, type(None)})
