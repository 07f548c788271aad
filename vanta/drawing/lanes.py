"""The lanes of a turn, shared by both drawings: one per leg, in seconds since the turn started.

Invariant: the spans of a lane are ordered and never overlap, and every time lies within the scale
of the turn (`Lanes.end_s`). Everything here is a pure function of a `Trace`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vanta.drawing.charts import round_ticks
from vanta.trace import LegTrace, Trace

SpanKind = Literal["waiting", "unheard", "speaking"]
MarkKind = Literal["first", "committed", "stopped", "broke", "rejected"]


@dataclass(frozen=True, slots=True)
class LaneSpan:
    """A phase of a leg.

    waiting: no readable text yet. unheard: the leg generates text that is not shown. speaking: the
    text of the leg is shown to the user.
    """

    kind: SpanKind
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Mark:
    """An event of a leg: its first text, its commit, or how it ended."""

    kind: MarkKind
    at_s: float


@dataclass(frozen=True, slots=True)
class Lane:
    """One leg, with its final state and its cost as text."""

    leg: LegTrace
    spans: tuple[LaneSpan, ...]
    marks: tuple[Mark, ...]
    outcome: str


@dataclass(frozen=True, slots=True)
class Lanes:
    """All lanes of a turn, and the round times of the axis: 0 first, all within end_s."""

    lanes: tuple[Lane, ...]
    end_s: float
    ticks_s: tuple[float, ...]


def lanes(trace: Trace, *, ticks: int = 6) -> Lanes:
    """Return the lanes of a turn, ordered by the start of their legs, and about `ticks` ticks."""
    ends = [leg.ended_s or trace.duration_s for leg in trace.legs]
    end_s = max([trace.duration_s, *ends, 1e-3])
    drawn = tuple(_lane(leg, end_s) for leg in trace.legs)
    return Lanes(drawn, end_s, tuple(round_ticks(0.0, end_s, ticks)))


def _lane(leg: LegTrace, end_s: float) -> Lane:
    ended = leg.ended_s if leg.ended_s is not None else end_s
    first = leg.first_content_s if leg.first_content_s is not None else ended
    shown = leg.committed_s if leg.committed_s is not None else ended
    spans = (
        LaneSpan("waiting", leg.started_s, min(first, ended)),
        LaneSpan("unheard", min(first, ended), min(max(first, shown), ended)),
        LaneSpan("speaking", min(max(first, shown), ended), ended),
    )
    visible = tuple(span for span in spans if span.end_s > span.start_s)
    return Lane(leg, visible, _marks(leg), outcome(leg))


def _marks(leg: LegTrace) -> tuple[Mark, ...]:
    endings: dict[str, MarkKind] = {"broken": "broke", "failed": "broke", "rejected": "rejected"}
    moments: list[tuple[MarkKind, float | None]] = [
        ("first", leg.first_content_s),
        ("committed", leg.committed_s),
        ("stopped", leg.stop_asked_s if leg.state == "cancelled" else None),
    ]
    if leg.state in endings:
        moments.append((endings[leg.state], leg.ended_s))
    return tuple(Mark(kind, at_s) for kind, at_s in moments if at_s is not None)


_STATES = {
    "won": "answered",
    "finished": "too late",
    "failed": "failed",
    "rejected": "turned down",
    "cancelled": "stopped",
    "broken": "broke off",
    "amended": "answered, then amended",
    "verified": "judged",
}


def outcome(leg: LegTrace) -> str:
    """Return the final state of a leg, its output tokens, duration and cost as text."""
    tokens = leg.usage.output_tokens if leg.usage else 0
    about = "~" if leg.usage and not leg.usage.exact else ""
    spent_ms = ((leg.ended_s or leg.started_s) - leg.started_s) * 1000
    state = _STATES.get(leg.state, leg.state)
    if leg.error and leg.state == "failed":
        state += f" ({leg.error['kind']})"
    cost = f"${leg.cost_usd:.6f}" if leg.cost_usd else "$0"
    return f"{state} · {about}{tokens} tok · {spent_ms:.0f} ms · {cost}"
