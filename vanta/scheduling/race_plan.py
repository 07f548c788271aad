"""The input and the result of a race.

Invariant: plans and outcomes are frozen, and a plan names everything that a race uses of the rest
of vanta.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from vanta.engine import GenerationRequest, Sampling
from vanta.errors import AllTracksFailed, EngineError
from vanta.messages import FinishReason, ToolCall
from vanta.privacy import scrub_error
from vanta.scheduling.answer_checks import in_another_script, not_under_schema
from vanta.scheduling.gate import Gate, SignalsGate
from vanta.scheduling.leg import Leg, Purse
from vanta.scheduling.policy import GateRule, LegPlan, Policy
from vanta.scheduling.track_stats import TrackStats
from vanta.scheduling.typed_answers import AnswerForm
from vanta.track import Track


class Preparer(Protocol):
    """Builds the requests of a race; see `vanta.context.preparer.ContextPreparer`."""

    async def prepare(self, track: Track, *, shown: str, judged: bool) -> GenerationRequest:
        """Build the request of one leg.

        :param track: the track of the leg.
        :param shown: the text that the user has seen and that the leg continues; "" for a first
            answer.
        :param judged: whether a gate judges the answer, which then needs logprobs.
        :raises EngineError: if the request cannot be built (`context_overflow`...); only this leg
            fails.
        """
        ...

    async def shorten(
        self, track: Track, refusal: EngineError, *, shown: str, judged: bool
    ) -> GenerationRequest:
        """Build the leg's request again, shorter, after the engine raised `context_overflow`.

        Called at most once per leg.

        :param refusal: the engine's error.
        :raises EngineError: if nothing is left to leave out.
        """
        ...

    async def repair(
        self, track: Track, *, answer: str, why: str, judged: bool
    ) -> GenerationRequest:
        """Build the request that asks a track to correct an answer that is not of its type.

        :param answer: the answer.
        :param why: what is wrong with it, for the model.
        :param judged: as for `prepare`.
        :raises EngineError: if the request does not fit.
        """
        ...

    async def verification(self, track: Track, answer: str) -> GenerationRequest:
        """Build the request that asks a track in one token whether `answer` is right.

        :raises EngineError: if the request does not fit.
        """
        ...


@dataclass(frozen=True, slots=True)
class RaceSettings:
    """The settings of a turn that a race obeys.

    :param policy: when each track starts, and what commits the turn.
    :param deadline_s: seconds that the whole turn may take.
    :param stall_timeout_s: seconds of silence after which a committed leg counts as broken.
    :param sampling: the turn's sampling; an answer must be valid under its `json_schema`.
    :param form: the type that an answer must have; None for an answer in words.
    :param gate: judges finished answers where the policy has a gate rule.
    :param retries: how often one track may be tried again.
    :param hard: whether the router classifies the message as hard; None if it did not run.
    :param track_stats: records every leg of the race, for later turns.
    """

    policy: Policy
    deadline_s: float
    stall_timeout_s: float
    sampling: Sampling = field(default_factory=Sampling)
    form: AnswerForm | None = None
    gate: Gate = field(default_factory=SignalsGate)
    retries: int = 1
    hard: bool | None = None
    track_stats: TrackStats = field(default_factory=TrackStats)


@dataclass(frozen=True, slots=True)
class RacePlan:
    """One race: the settings of its turn, and the tracks and helpers that it runs with.

    :param settings: the turn's settings.
    :param tracks: the tracks that may take part, by name.
    :param preparer: builds the request of each leg.
    :param started_at: when the turn's clock started, in seconds on the event loop's clock.
    :param skipped: why each other track of the policy does not take part, by name.
    :param earliest_s: seconds of the turn before which a track must not start, by name.
    :param question: the user's message, for the gate.
    :param purse: pays for legs on tracks that have a price; None if legs are not charged.
    :param is_private: returns whether the turn is private, or may be by what its tracks are shown;
        no word of a server is kept of its errors then.
    :param round: the number of the round that this race is, from 0.
    :param begins_s: the second of the turn at which the round begins; delays and holds of the
        policy count from there.
    :param first_leg: the number of the round's first leg: how many legs earlier rounds had.
    :param shown_before: the text that earlier rounds have shown.
    :param on_calls: called with the tool calls of each answer that is complete, committed or not.
    """

    settings: RaceSettings
    tracks: Mapping[str, Track]
    preparer: Preparer
    started_at: float
    skipped: Mapping[str, str] = field(default_factory=dict)
    earliest_s: Mapping[str, float] = field(default_factory=dict)
    question: str = ""
    purse: Purse | None = None
    is_private: Callable[[], bool] = lambda: False
    round: int = 0
    begins_s: float = 0.0
    first_leg: int = 0
    shown_before: str = ""
    on_calls: Callable[[Sequence[ToolCall]], None] = lambda _calls: None

    def scrub(self, leg: Leg) -> None:
        """Remove what a leg's error quotes of the conversation.

        :param leg: a leg that has ended.
        """
        if leg.error:
            scrub_error(leg.error, leg.request or [self.question], private=self.is_private())


@dataclass(frozen=True, slots=True)
class RaceOutcome:
    """The result of a race: the serving leg with the whole text, or the failure.

    :param text: the text that was shown.
    :param leg: the leg that served the turn, None for a failure.
    :param finish_reason: why the text ended, None for a failure.
    :param first_content_s: second of the turn at which text was first shown, None for no text.
    :param legs: all legs, in the order in which they started.
    :param failure: why no track answered, None if one did.
    :param amended: whether the leg replaced the text of the one that was committed.
    :param output: the value of a typed answer; None for an answer in words.
    """

    text: str
    leg: Leg | None
    finish_reason: FinishReason | None
    first_content_s: float | None
    legs: tuple[Leg, ...]
    failure: AllTracksFailed | None = None
    amended: bool = False
    output: Any = None


def legs_of_round(plan: RacePlan) -> list[LegPlan]:
    """Return the policy's legs whose tracks take part, with their times in the turn.

    :param plan: the race.
    """
    legs = [in_round(leg, plan.begins_s, plan.earliest_s) for leg in plan.settings.policy.legs]
    return [leg for leg in legs if leg.track in plan.tracks]


def in_round(plan: LegPlan, begins_s: float, earliest_s: Mapping[str, float]) -> LegPlan:
    """Return `plan` with its delay and its hold counted from the beginning of a round.

    :param plan: a leg of the policy.
    :param begins_s: the second of the turn at which the round begins.
    :param earliest_s: seconds of the turn before which a track must not start, by name.
    """
    start_s, hold_s = plan.start_after_s, plan.hold_s
    if begins_s and (start_s or hold_s):
        start_s, hold_s = start_s and start_s + begins_s, hold_s and hold_s + begins_s
        plan = dataclasses.replace(plan, start_after_s=start_s, hold_s=hold_s)
    earliest = earliest_s.get(plan.track, 0.0)
    if start_s is None or start_s >= earliest or begins_s >= earliest:
        return plan
    return dataclasses.replace(plan, start_after_s=earliest)


def format_fault(text: str, plan: RacePlan, rule: GateRule) -> str | None:
    """Return why an answer's format is wrong, whatever the gate's verdict; None if it is right."""
    schema = plan.settings.sampling.json_schema
    if schema is not None or plan.settings.form is not None:  # its names are in a script of its own
        return not_under_schema(text, schema)
    return in_another_script(text, plan.question) if rule.language else None
