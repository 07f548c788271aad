"""A turn as lanes: what both pictures draw, in seconds since the turn began.

Invariant: a lane's spans follow one another without overlap, and every time lies within the turn's
scale (`Lanes.end_s`); pure functions of a `Trace`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vanta.drawing.charts import round_ticks
from vanta.events import LegTrace, Trace

SpanKind = Literal["waiting", "unheard", "speaking"]
MarkKind = Literal["first", "committed", "stopped", "broke", "rejected"]


@dataclass(frozen=True, slots=True)
class Span:
    """What a leg did from one time to another.

    waiting: no readable text yet. unheard: it wrote, and nobody saw it. speaking: it wrote, and
    the user read.
    """

    kind: SpanKind
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment in a leg's life."""

    kind: MarkKind
    at_s: float


@dataclass(frozen=True, slots=True)
class Lane:
    """One leg. outcome: what became of it and what it cost, in words."""

    leg: LegTrace
    spans: tuple[Span, ...]
    marks: tuple[Mark, ...]
    outcome: str


@dataclass(frozen=True, slots=True)
class Lanes:
    """A whole turn. ticks_s: round times for the axis, 0 first, all within end_s."""

    lanes: tuple[Lane, ...]
    end_s: float
    ticks_s: tuple[float, ...]


def lanes(trace: Trace, *, ticks: int = 6) -> Lanes:
    """The lanes of a turn, one a leg in the order in which they started; about `ticks` ticks."""
    ends = [leg.ended_s or trace.duration_s for leg in trace.legs]
    end_s = max([trace.duration_s, *ends, 1e-3])
    drawn = tuple(_lane(leg, end_s) for leg in trace.legs)
    return Lanes(drawn, end_s, tuple(round_ticks(0.0, end_s, ticks)))


def _lane(leg: LegTrace, end_s: float) -> Lane:
    ended = leg.ended_s if leg.ended_s is not None else end_s
    first = leg.first_content_s if leg.first_content_s is not None else ended
    heard = leg.committed_s if leg.committed_s is not None else ended
    spans = (
        Span("waiting", leg.started_s, min(first, ended)),
        Span("unheard", min(first, ended), min(max(first, heard), ended)),
        Span("speaking", min(max(first, heard), ended), ended),
    )
    return Lane(leg, tuple(s for s in spans if s.end_s > s.start_s), _marks(leg), outcome(leg))


def _marks(leg: LegTrace) -> tuple[Mark, ...]:
    last: dict[str, MarkKind] = {"broken": "broke", "failed": "broke", "rejected": "rejected"}
    found: list[tuple[MarkKind, float | None]] = [
        ("first", leg.first_content_s),
        ("committed", leg.committed_s),
        ("stopped", leg.stop_asked_s if leg.state == "cancelled" else None),
    ]
    if leg.state in last:
        found.append((last[leg.state], leg.ended_s))
    return tuple(Mark(kind, at_s) for kind, at_s in found if at_s is not None)


_FATES = {
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
    """What became of a leg, and its tokens, milliseconds and dollars."""
    tokens = leg.usage.output_tokens if leg.usage else 0
    about = "~" if leg.usage and not leg.usage.exact else ""
    spent_ms = ((leg.ended_s or leg.started_s) - leg.started_s) * 1000
    fate = _FATES.get(leg.state, leg.state)
    if leg.error and leg.state == "failed":
        fate += f" ({leg.error['kind']})"
    cost = f"${leg.cost_usd:.6f}" if leg.cost_usd else "$0"
    return f"{fate} · {about}{tokens} tok · {spent_ms:.0f} ms · {cost}"
