"""What a race needs to know before it begins, and what it leaves behind.

Invariant: a plan is frozen; everything that a race may ask of the rest of vanta is named here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from vanta.engine import GenerationRequest
from vanta.errors import AllTracksFailed, EngineError
from vanta.messages import FinishReason
from vanta.scheduling.answer_checks import in_another_script, not_under_schema
from vanta.scheduling.gate import Gate, SignalsGate
from vanta.scheduling.leg import Leg, Purse
from vanta.scheduling.policy import GateRule, LegPlan, Policy
from vanta.scheduling.start_queue import MayHedge
from vanta.scheduling.track_stats import TrackStats
from vanta.track import Track


class Preparer(Protocol):
    """Builds what a track is asked; the session implements it."""

    async def prepare(self, track: Track, *, shown: str, judged: bool) -> GenerationRequest:
        """The request for one leg.

        shown: the text already shown, which a takeover has to continue, else "". judged: whether
        a gate will look at the answer, so that it wants logprobs. Raises EngineError
        (context_overflow...), which fails this leg alone.
        """
        ...

    async def shorten(
        self, track: Track, refusal: EngineError, *, shown: str, judged: bool
    ) -> GenerationRequest:
        """The request of the same leg, short enough after the engine's `context_overflow`. Asked
        once a leg. Raises EngineError where nothing is left to leave out."""
        ...

    async def verification(self, track: Track, answer: str) -> GenerationRequest:
        """The request that asks a track for one token: is `answer` right? Raises EngineError."""
        ...


@dataclass(frozen=True, slots=True)
class RacePlan:
    """All that a race needs to know.

    tracks: those that may take part, by name; skipped: why the others may not. started_at: when
    the turn's clock began, on the event loop's clock. deadline_s, stall_timeout_s: seconds.
    hard: what the router says of the message, None if it was not asked. may_hedge: whether a
    delayed leg may start by its clock, asked once for each. retries: how often one track is asked
    again. question, json_schema: what was asked, and what the answer has to be valid under, for
    the gate. earliest_s: tracks that must not be asked before that second of the turn. experience
    is told of every leg. purse: who pays for legs on tracks that have a price, None for nobody.
    """

    policy: Policy
    tracks: Mapping[str, Track]
    preparer: Preparer
    started_at: float
    deadline_s: float
    stall_timeout_s: float
    gate: Gate = field(default_factory=SignalsGate)
    skipped: Mapping[str, str] = field(default_factory=dict)
    hard: bool | None = None
    may_hedge: MayHedge = lambda _track: True
    retries: int = 1
    earliest_s: Mapping[str, float] = field(default_factory=dict)
    question: str = ""
    json_schema: Mapping[str, Any] | None = None
    experience: TrackStats = field(default_factory=TrackStats)
    purse: Purse | None = None


@dataclass(frozen=True, slots=True)
class RaceOutcome:
    """How a race ended: the serving leg and the whole text, or the failure."""

    text: str
    leg: Leg | None
    finish_reason: FinishReason | None
    first_content_s: float | None
    legs: tuple[Leg, ...]
    failure: AllTracksFailed | None = None


def not_before(plan: LegPlan, earliest_s: Mapping[str, float]) -> LegPlan:
    """`plan`, but not by the clock before its track may be asked."""
    earliest = earliest_s.get(plan.track, 0.0)
    if plan.start_after_s is None or plan.start_after_s >= earliest:
        return plan
    return dataclasses.replace(plan, start_after_s=earliest)


def fault_of_form(text: str, plan: RacePlan, rule: GateRule) -> str | None:
    """What is wrong with an answer's form, whatever its gate would say; None if nothing is."""
    fault = not_under_schema(text, plan.json_schema)
    if fault is None and rule.language:
        fault = in_another_script(text, plan.question)
    return fault
