"""The rounds of a turn: a race, the calls that its winner asks for, and the next race.

A turn without tools has one round. After calls, the next round runs on the track that asked
(`rounds = "same"`, with the policy's other tracks in reserve) or as a new race (`"race"`). Every
round sees the same transcript: the message, the calls so far and their results. A track that takes
over continues from it, so no call is repeated.

At a limit (rounds, calls) the model is asked once for a final answer, without vanta's tools. A call
of a caller's own tool ends the turn: it is returned. After a
result that must not leave this machine, only private tracks take part; if there is none, the result
is withheld from the model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import anyio

from vanta.engine import Tool
from vanta.errors import AllTracksFailed
from vanta.events import Event, RoundStarted
from vanta.messages import FinishReason, Message, ToolCall
from vanta.runtime.turns.caller_tools import (
    ANY_CHOICE,
    NO_CALLER_TOOLS,
    NO_CALLS,
    CallerTools,
    SplitCalls,
    ids_of,
    with_ids,
)
from vanta.scheduling.leg import Leg
from vanta.scheduling.policy import LegPlan, Policy
from vanta.scheduling.race import Race
from vanta.scheduling.race_plan import RaceOutcome, RacePlan
from vanta.scheduling.turn_log import paragraph_break
from vanta.tools import CallRunner
from vanta.track import Track


@dataclass(frozen=True, slots=True)
class RoundRules:
    """How the rounds of a turn follow each other.

    :param max_rounds: rounds of a turn; the last one has no tools.
    :param races: whether every round is a race of all tracks, or stays on the track that asked.
    :param tool_choice: `auto`, `none`, `required` or the name of a tool, for the first round.
    :param parallel: whether one answer may have several calls.
    """

    max_rounds: int = 10
    races: bool = False
    tool_choice: str = "auto"
    parallel: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundsState:
    """Where the rounds of a turn stand when calls of the latest one wait for a person.

    :param messages: the calls and results of the rounds before.
    :param shown: the text of all rounds.
    :param text: the text of the latest round.
    :param calls: the calls that it ended with.
    :param track: the track that asked for them.
    :param cut: whether the round ended at its token limit, so that its last call may be half.
    :param rounds: how many rounds there were.
    :param legs: how many legs they had.
    :param first_content_s: when the user could read the first text; None if there was none.
    """

    messages: tuple[Message, ...]
    shown: str
    text: str
    calls: tuple[ToolCall, ...]
    track: str
    cut: bool
    rounds: int
    legs: int
    first_content_s: float | None


class RoundPrompts(Protocol):
    """What a turn's prompts are made of; see `vanta.context.preparer.ContextPreparer`."""

    def offer(self, tools: Sequence[Tool], choice: str, *, parallel: bool = True) -> None:
        """Set the tools of the next round."""
        ...

    def add_round(self, messages: Sequence[Message]) -> None:
        """Add the calls of a round, and their results."""
        ...


class DeadlineClock:
    """The clock of a turn; it stands still while a person is asked.

    :param started_at: when the turn began, in seconds on the event loop's clock.
    :param deadline_s: seconds that the turn may take.
    """

    def __init__(self, started_at: float, deadline_s: float) -> None:
        self._started_at = started_at
        self.deadline_s = deadline_s

    def now(self) -> float:
        """Return the seconds since the turn began."""
        return anyio.current_time() - self._started_at

    @property
    def ends_at(self) -> float:
        """The deadline, in seconds on the event loop's clock."""
        return self._started_at + self.deadline_s

    def pause(self, seconds: float) -> None:
        """Move the deadline by the time that a person took."""
        self.deadline_s += seconds


class Rounds:
    """Runs the rounds of one turn.

    :param plan: the first round.
    :param emit: called with each event.
    :param prompts: what the prompts are made of.
    :param runner: runs the calls; None if the turn has no tools: calls are then part of the reply.
    :param rules: how rounds follow each other.
    :param clock: the turn's clock.
    :param resumed: where the turn was parked; None if it begins.
    :param own: the caller's own tools.
    :param used_ids: the ids of earlier calls.
    :ivar state: where the turn stands; None before its first calls.
    :ivar messages: the calls of the turn and their results, as the transcript keeps them.
    :ivar returned: the calls of the caller's own tools, with which the turn ends.
    :ivar last_text: the text of the last round.
    :ivar limit: the limit that was reached, "" for none.
    """

    def __init__(
        self,
        plan: RacePlan,
        emit: Callable[[Event], None],
        prompts: RoundPrompts,
        runner: CallRunner | None,
        rules: RoundRules,
        clock: DeadlineClock,
        resumed: RoundsState | None = None,
        *,
        own: CallerTools = NO_CALLER_TOOLS,
        used_ids: frozenset[str] = frozenset(),
    ) -> None:
        self._own = own
        self.state = resumed
        self._resumed = resumed
        self._plan = plan
        self._policy = plan.settings.policy
        self._emit = emit
        self._prompts = prompts
        self._runner = runner
        self._rules = rules
        self._clock = clock
        self._races: list[Race] = []
        self._shown = resumed.shown if resumed else ""
        self._first_content_s = resumed.first_content_s if resumed else None
        self.messages: list[Message] = list(resumed.messages) if resumed else []
        self._used_ids = {*used_ids, *ids_of(self.messages)}
        self.returned: tuple[ToolCall, ...] = ()
        self.last_text = ""
        self.limit = ""

    @property
    def legs(self) -> tuple[Leg, ...]:
        """The legs of all rounds so far."""
        return tuple(leg for race in self._races for leg in race.legs)

    @property
    def transcript(self) -> tuple[Message, ...]:
        """What the turn added to the transcript: calls, results, and the answer if there is one."""
        if self.returned:
            return tuple(self.messages)
        return (*self.messages, Message("assistant", self.last_text))

    @property
    def count(self) -> int:
        """The number of rounds so far, with those before the turn was parked."""
        return len(self._races) + (self._resumed.rounds if self._resumed else 0)

    async def run(self) -> RaceOutcome:
        """Run rounds until one ends with an answer.

        :returns: the last round's outcome, with the text and the legs of all rounds.
        :raises AllTracksFailed: if a round has no answer; what earlier ones showed is its
            `partial`.
        :raises StoreError: if a call cannot be recorded.
        :raises ApprovalPending: if the turn was parked, to be resumed later.
        """
        if self._rules.max_rounds == 1 and self._runner is not None:
            self.limit = "max_rounds"
        if self._resumed and self._runner:
            self._prompts.add_round(self._resumed.messages)
            calls = self._own.split(self._resumed.calls, others_run=True, cut=False)
            self._used_ids |= {call.id for call in calls.all}
            await self._run_calls(self._resumed, calls)
            self._plan = self._next(self._resumed.track)
        else:
            self._offer()
        while True:
            race = Race(self._plan, self._emit)
            self._races.append(race)
            outcome = await race.run()
            self._first_content_s = self._first_content_s or outcome.first_content_s
            if outcome.failure:
                raise self._failure(outcome.failure)
            assert outcome.leg is not None  # noqa: S101 - an outcome has a leg or a failure
            calls = self._calls_of(outcome)
            self._shown, self.last_text = self._joined(outcome.text), outcome.text
            if calls.all:
                self.state = self._stand(outcome, calls.all)
                await self._run_calls(self.state, calls)
            if self.returned or not calls.all:
                return dataclasses.replace(
                    outcome,
                    text=self._shown,
                    first_content_s=self._first_content_s,
                    finish_reason=self._finish_reason(outcome),
                    legs=self.legs,
                )
            self._plan = self._next(outcome.leg.track.name)

    def _calls_of(self, outcome: RaceOutcome) -> SplitCalls:
        """Return the calls that the turn acts on, with ids: after a limit only the caller's."""
        if self._runner is None and not self._own.tools:
            return NO_CALLS
        named = with_ids(calls_of(outcome), self._used_ids, self.count - 1)
        cut = outcome.finish_reason == "length"
        split = self._own.split(named, others_run=self._runner is not None, cut=cut)
        return split.only_returned() if self.limit else split

    def _finish_reason(self, outcome: RaceOutcome) -> FinishReason | None:
        is_call = self.returned and outcome.finish_reason != "length"
        return "tool_calls" if is_call else outcome.finish_reason

    def _joined(self, text: str) -> str:
        return self._shown + (paragraph_break(self._shown) if text else "") + text

    def _failure(self, failure: AllTracksFailed) -> AllTracksFailed:
        if not self._shown:
            return failure
        return AllTracksFailed(failure.causes, partial=self._joined(failure.partial))

    def _stand(self, outcome: RaceOutcome, calls: tuple[ToolCall, ...]) -> RoundsState:
        assert outcome.leg is not None  # noqa: S101 - see `run`
        return RoundsState(
            messages=tuple(self.messages),
            shown=self._shown,
            text=outcome.text,
            calls=calls,
            track=outcome.leg.track.name,
            cut=outcome.finish_reason == "length",
            rounds=self.count,
            legs=self._leg_count,
            first_content_s=self._first_content_s,
        )

    async def _run_calls(self, state: RoundsState, calls: SplitCalls) -> None:
        """Run the calls of vanta's tools; those of the caller's own end the turn."""
        asked = Message("assistant", state.text, tool_calls=calls.all)
        results: list[Message] = []
        if calls.run and self._runner is not None:
            cut = state.cut and calls.run[-1] is calls.all[-1]
            private = bool(self._private_tracks())
            results = await self._runner.run(
                calls.run, state.rounds - 1, state.track, cut=cut, show_private=private
            )
        added = [asked, *calls.in_order(results)]
        self.messages += added
        self.returned = calls.returned
        self._prompts.add_round(added)

    @property
    def _leg_count(self) -> int:
        return len(self.legs) + (self._resumed.legs if self._resumed else 0)

    def _private_tracks(self) -> dict[str, Track]:
        return {name: track for name, track in self._plan.tracks.items() if track.private}

    def _next(self, asked: str) -> RacePlan:
        """Return the plan of the round after calls that a track asked for."""
        number, tracks, runner = self.count, self._plan.tracks, self._runner
        if runner is not None and runner.is_spent:
            self.limit = "max_calls"
        elif number + 1 >= self._rules.max_rounds:
            self.limit = "max_rounds"
        if runner is not None and runner.saw_private:
            tracks = self._private_tracks()
        policy = self._policy
        if not self._rules.races:
            policy = on_track(policy, asked if asked in tracks else "")
        self._offer(choice="auto")
        self._emit(
            RoundStarted(
                at_s=self._clock.now(), round=number, tracks=tuple(tracks), limit=self.limit
            )
        )
        return dataclasses.replace(
            self._plan,
            settings=dataclasses.replace(
                self._plan.settings, policy=policy, deadline_s=self._clock.deadline_s
            ),
            tracks=tracks,
            round=number,
            begins_s=self._clock.now(),
            first_leg=self._leg_count,
            shown_before=self._shown,
            on_calls=self._begin_early,
        )

    def _offer(self, choice: str | None = None) -> None:
        """Offer the tools of the coming round; after a limit only the caller's own."""
        if self._runner is None and not self._own.tools:
            return
        run = () if self.limit or self._runner is None else self._runner.offered
        tools = (*self._own.tools, *run)
        choice = choice or self._rules.tool_choice
        known = choice in ANY_CHOICE or choice in {tool.name for tool in tools}
        choice = choice if tools and known else "auto"
        self._prompts.offer(tools, choice, parallel=self._rules.parallel)
        if not self._races:
            self._plan = dataclasses.replace(self._plan, on_calls=self._begin_early)

    def _begin_early(self, calls: Sequence[ToolCall]) -> None:
        """Start calls of a leg that may lose, as far as they only read."""
        if self._runner is not None and not self.limit:
            self._runner.begin(calls, self.count - 1)


def calls_of(outcome: RaceOutcome) -> Sequence[ToolCall]:
    """Return the calls that a round ends with.

    A leg that amends a text may not call, and a leg that the deadline stopped may have been about
    to change its mind.
    """
    if outcome.leg is None or outcome.amended or outcome.finish_reason == "deadline":
        return ()
    return outcome.leg.fold.completion().tool_calls


def on_track(policy: Policy, first: str) -> Policy:
    """Return `policy` with one track in front and the others in reserve.

    A gate still judges the final answer, and a leg that amends still may.

    :param policy: the turn's policy.
    :param first: the name of the track that answers; "" keeps the policy's order.
    """
    legs = sorted(policy.legs, key=lambda leg: leg.track != first)
    return dataclasses.replace(
        policy, legs=tuple(_in_place(leg, begins=not place) for place, leg in enumerate(legs))
    )


def _in_place(leg: LegPlan, *, begins: bool) -> LegPlan:
    if leg.amends and not begins:
        return leg
    start_s = 0.0 if begins else None
    return dataclasses.replace(leg, start_after_s=start_s, hold_s=0.0, when="always", amends=False)
