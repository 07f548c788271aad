"""The events of a turn.

The command line, scripts, servers and recorders read this one stream. Invariant: events are frozen,
JSON-ready (`to_dict`) and ordered: `TurnStarted` comes first; `TurnFinished` comes last if the turn
has a reply, otherwise `TurnFailed`; a `TextDelta` comes after the `Committed` or `Takeover` that it
belongs to, a `ReasoningDelta` before the text that it led to. `at_s` is in seconds since the turn
began, on the monotonic clock.
`vanta.TurnStream.text` turns the stream into the text to display.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vanta.messages import FinishReason, Usage
from vanta.trace import Reply, Trace, plain_data


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The base of all events.

    :param at_s: seconds since the turn began.
    """

    at_s: float

    def to_dict(self) -> dict[str, Any]:
        """Return the event as JSON-ready data; `type` is the name of its class."""
        return {"type": type(self).__name__, **plain_data(self)}


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
    :param round: the number of its round in this turn, from 0.
    """

    leg: int
    track: str
    model: str
    why: str
    round: int = 0


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
class ReasoningDelta(Event):
    """The next part of a leg's reasoning, which is never part of the text that is shown.

    The reasoning of a committed leg is sent, what came before the commit at the commit. If no
    other leg may answer, it is sent as it comes, before the commit.
    """

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
class RoundStarted(Event):
    """Another round begins: the model reads the results of its calls.

    :param round: its number, from 1; the turn itself begins round 0.
    :param tracks: the tracks that may answer.
    :param limit: the limit that was reached, so that this round has no tools; "" for none.
    """

    round: int
    tracks: tuple[str, ...]
    limit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRequested(Event):
    """The committed leg asks for a call.

    :param key: the call's key in the journal.
    :param call_id: its id in the conversation.
    :param tool: the name of the tool.
    :param arguments: its arguments, as the model wrote them.
    :param private: whether they must not leave this machine.
    """

    round: int
    track: str
    key: str
    call_id: str
    tool: str
    arguments: str
    private: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequested(Event):
    """A call waits for a person; the turn's deadline stands still meanwhile.

    :param key: the call's key in the journal.
    :param tool: the name of the tool, with its toolset: `files.write`.
    :param arguments: the arguments, as JSON.
    :param why: the rule because of which a person is asked.
    :param private: whether the arguments must not leave this machine.
    """

    key: str
    tool: str
    arguments: str
    why: str
    private: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionAsked(Event):
    """The model asks the person a question; the turn's deadline stands still meanwhile.

    :param key: the call's key in the journal.
    :param question: the question.
    :param choices: the answers that it proposes; none for any answer.
    :param private: whether the question must not leave this machine.
    """

    key: str
    question: str
    choices: tuple[str, ...] = ()
    private: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnResumed(Event):
    """A turn that waited for a person continues, perhaps in another process.

    :param text: the text that was shown before it was parked.
    :param round: the round whose calls run next.
    :param private: whether the text must not leave this machine.
    """

    text: str
    round: int
    private: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFinished(Event):
    """A call has its result, which the model reads next.

    :param key: the call's key in the journal.
    :param tool: the name of the tool.
    :param state: `finished`, `failed`, `denied`, `refused` (it was not a valid call) or `unknown`.
    :param text: the result that the model reads.
    :param took_s: seconds that it ran.
    :param private: whether the text must not leave this machine.
    """

    key: str
    call_id: str
    tool: str
    state: str
    text: str
    took_s: float
    private: bool = False


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
