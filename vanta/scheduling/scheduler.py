"""The scheduler: one turn's legs under a policy, inside its deadline and its privacy rule.

The rules, each pinned by a test in `tests/scheduling`:

1. A race is decided by first content, never by headers, reasoning or an empty delta.
2. At commit every losing leg is stopped, and its standing still is confirmed before the turn is
   over; what it produced after the stop (tokens, money, CPU seconds) is in the trace.
3. A committed leg that breaks (cut, silent beyond the stall timeout, malformed) is taken over by
   another track of the policy that continues the shown text; the seam is a `Takeover` event.
4. No leg fails silently and no error text becomes an answer. If all fail: one `AllTracksFailed`.
5. The bill has every leg, losers and broken ones too, each at its track's price.
6. A private turn never reaches a track that is not private, nor does it as a takeover: such a
   track is not among the turn's tracks.
7. The deadline is one clock, started before the turn waited for its session.
8. Cancelling the caller cancels every leg, at once, and waits until all stand still.

How it works: `Race` is a state machine without awaits. Legs call it with deltas and ends, `run`
calls it when a timer is due; each call moves the state as far as it goes. All on one event loop,
so nothing is locked. Time is the event loop's clock, so a virtual clock replays a turn exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import anyio
from anyio.abc import TaskGroup

from vanta.engine import GenerationRequest
from vanta.errors import AllTracksFailed, EngineError, ErrorKind, NoTrack
from vanta.events import Event
from vanta.messages import Delta, FinishReason
from vanta.scheduling.gate import Gate, SignalsGate, Verdict
from vanta.scheduling.leg import Leg
from vanta.scheduling.log import TurnLog
from vanta.scheduling.policy import LegPlan, Policy
from vanta.scheduling.takeover import Seam
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


@dataclass(frozen=True, slots=True)
class RacePlan:
    """All that a race needs to know.

    tracks: those that may take part, by name; skipped: why the others may not. started_at: when
    the turn's clock began, on the event loop's clock. deadline_s, stall_timeout_s: seconds.
    """

    policy: Policy
    tracks: Mapping[str, Track]
    preparer: Preparer
    started_at: float
    deadline_s: float
    stall_timeout_s: float
    gate: Gate = field(default_factory=SignalsGate)
    skipped: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a race ended: the serving leg and the whole text, or the failure."""

    text: str
    leg: Leg | None
    finish_reason: FinishReason | None
    first_content_s: float | None
    legs: tuple[Leg, ...]
    failure: AllTracksFailed | None = None


class Race:
    """One turn's race. `emit` is called with each event, in order.

    Raises NoTrack at once if no track of the policy may take part.
    """

    def __init__(self, plan: RacePlan, emit: Callable[[Event], None]) -> None:
        self._plan = plan
        self._waiting = [leg for leg in plan.policy.legs if leg.track in plan.tracks]
        if not self._waiting:
            raise NoTrack(plan.policy.name, plan.skipped)
        self._log = TurnLog(emit, self.now)
        self._legs: list[Leg] = []
        self._committed: Leg | None = None
        self._broken: Leg | None = None
        self._seams: dict[int, Seam] = {}
        self._outcome: Outcome | None = None
        self._wake = anyio.Event()
        self._tasks: TaskGroup

    @property
    def legs(self) -> tuple[Leg, ...]:
        """The legs so far."""
        return tuple(self._legs)

    async def run(self) -> Outcome:
        """Run the race to its end; every leg stands still when this returns or raises."""
        async with anyio.create_task_group() as self._tasks:
            self._advance()
            while self._outcome is None:
                # No await lies between the step and this line: no call for a new look is lost.
                self._wake = anyio.Event()
                with anyio.move_on_after(self._next_timer_s() - self.now()):
                    await self._wake.wait()
                self._advance()
        assert self._outcome is not None  # noqa: S101 - the loop above ends only with one
        return self._outcome

    def now(self) -> float:
        """Seconds since the turn began."""
        return anyio.current_time() - self._plan.started_at

    def on_delta(self, leg: Leg, delta: Delta) -> None:
        """Keep or show what a leg says; its first readable text may commit the turn."""
        if self._outcome or not leg.answerable:
            return
        seam = self._seams.get(leg.number)
        text = seam.feed(delta.text) if seam else delta.text
        if leg is self._committed:
            self._log.text(leg, text)
            return
        if text:
            leg.pending.append(text)
        if leg.deltas == 1 or leg.resumes or leg.first_content_s == leg.last_delta_s:
            self._advance()

    def on_end(self, leg: Leg) -> None:
        """Note how a leg ended and move on."""
        if leg.stopped:
            if leg.state == "cancelled":
                self._log.cancelled(leg)
        elif leg.error:
            self._lose(leg, leg.error)
        else:
            self._complete(leg)
        self._advance()

    async def judge(self, leg: Leg) -> Verdict:
        """Ask the gate about a finished answer."""
        rule = self._plan.policy.gate
        if rule is None:
            return Verdict(True, None, "the policy has no gate")
        return await self._plan.gate.judge(leg.fold.completion(), rule)

    def _advance(self) -> None:
        """Do all that is due now, and let the timer loop look at its timers again."""
        self._wake.set()
        if self._outcome:
            return
        if self.now() >= self._plan.deadline_s:
            self._expire()
            return
        self._break_stalled()
        self._start_due()
        if self._committed is None:
            self._try_commit()
        if self._committed and self._committed.finished:
            self._end(self._committed, self._committed.fold.completion().finish_reason)
        elif self._committed is None and not self._alive():
            self._nothing_left()

    def _alive(self) -> list[Leg]:
        return [leg for leg in self._legs if leg.answerable]

    def _preference(self, leg: Leg) -> int:
        return self._plan.policy.tracks.index(leg.plan.track)

    # Starting legs

    def _start_due(self) -> None:
        for plan in list(self._waiting):
            if plan.start_after_s is not None and self.now() >= plan.start_after_s:
                self._start_waiting(plan, _clock_reason(plan))
        if not self._legs and not self._timed():
            self._start_waiting(self._waiting[0], "no track before it can take part")

    def _timed(self) -> list[LegPlan]:
        """Legs that the clock alone will start."""
        return [plan for plan in self._waiting if plan.start_after_s is not None]

    def _start_waiting(self, plan: LegPlan, why: str) -> None:
        self._waiting.remove(plan)
        self._start(plan, why)

    def _start(self, plan: LegPlan, why: str, *, resumes: bool = False) -> None:
        track = self._plan.tracks[plan.track]
        leg = Leg(len(self._legs), plan, track, why, self, resumes=resumes)
        self._legs.append(leg)
        self._log.started(leg)
        shown = self._log.shown if resumes else ""
        if resumes and not track.engine.capabilities.prefix_continuation:
            self._seams[leg.number] = Seam(shown)

        async def prepare(track: Track) -> GenerationRequest:
            judged = plan.commit_on == "verdict" and not resumes
            return await self._plan.preparer.prepare(track, shown=shown, judged=judged)

        self._tasks.start_soon(leg.run, prepare, name=f"leg {leg.number} on {track.name}")

    def _call_reserve(self, why: str) -> None:
        """Start the next leg that is still waiting: what it waited for will not come."""
        if self._waiting:
            self._start_waiting(self._waiting[0], why)

    def _call_successor(self, why: str) -> None:
        """Start the next track that can go on from the shown text."""
        if self._plan.policy.takeover == "fail":
            return
        failed = {leg.track.name for leg in self._legs if leg.error}
        for name in self._plan.policy.tracks:
            if name in self._plan.tracks and name not in failed:
                self._start(LegPlan(name), why, resumes=True)
                return

    # Committing

    def _try_commit(self) -> None:
        for leg in sorted(self._alive(), key=self._preference):
            why = self._reason_to_commit(leg)
            if why:
                self._commit(leg, why)
                return

    def _reason_to_commit(self, leg: Leg) -> str | None:
        """Why the turn can bind itself to `leg` now, None if it cannot."""
        if leg.resumes:
            return "goes on" if leg.pending or leg.finished else None
        if leg.plan.commit_on == "verdict":
            return leg.verdict.why if leg.verdict and leg.verdict.accepted else None
        if not (leg.has_content or leg.finished):
            return None
        if self.now() >= leg.plan.hold_s:
            held = leg.plan.hold_s
            return f"no rival spoke within {held:g} s" if held else "first content"
        return None if self._rivals_before(leg) else "no rival is left"

    def _rivals_before(self, held: Leg) -> bool:
        """Whether a leg with a shorter hold than `held` may still speak."""
        rivals = [leg.plan for leg in self._alive()] + self._timed()
        return any(plan.hold_s < held.plan.hold_s for plan in rivals)

    def _commit(self, leg: Leg, why: str) -> None:
        """Bind the turn to `leg`: stop the others, show what it has."""
        self._committed = leg
        leg.committed_s = self.now()
        for rival in self._alive():
            if rival is not leg:
                self._dismiss(rival)
        self._waiting.clear()
        if self._broken:
            self._log.takeover(leg, self._broken)
        else:
            self._log.committed(leg, why)
        self._log.text(leg, "".join(leg.pending))
        leg.pending.clear()

    # Legs that end

    def _complete(self, leg: Leg) -> None:
        """A leg came to the end of its answer."""
        seam = self._seams.get(leg.number)
        rest = seam.flush() if seam else ""
        if leg is self._committed:
            self._log.text(leg, rest)
        elif rest:
            leg.pending.append(rest)
        self._log.finished(leg)
        if leg.verdict and not leg.verdict.accepted:
            leg.state = "rejected"
            self._log.rejected(leg, leg.verdict)
            self._call_reserve(f"{leg.track.name} was rejected: {leg.verdict.why}")

    def _lose(self, leg: Leg, error: EngineError) -> None:
        """A leg broke: say so, and let another answer or go on."""
        committed = leg is self._committed
        leg.state = "broken" if committed else "failed"
        self._log.failed(leg, error)
        if committed:
            self._committed, self._broken = None, leg
        if self._broken:
            self._call_successor(f"{leg.track.name} broke: {error.kind}")
        else:
            self._call_reserve(f"{leg.track.name} failed: {error.kind}")

    def _dismiss(self, leg: Leg) -> None:
        """Stop a leg that lost; one that has finished already only lost."""
        leg.state = "finished" if leg.ended else "cancelled"
        leg.stop()

    # Clocks

    def _next_timer_s(self) -> float:
        """When, in seconds of the turn, time alone will change something next."""
        timers = [self._plan.deadline_s]
        timers += [plan.start_after_s or 0.0 for plan in self._timed()]
        for leg in self._alive():
            timers.append(self._stalls_at(leg))
            if self._committed is None and leg.plan.hold_s > self.now():
                timers.append(leg.plan.hold_s)
        return min(timers)

    def _stalls_at(self, leg: Leg) -> float:
        if leg.generated or leg.last_delta_s is None:
            return math.inf
        return leg.last_delta_s + self._plan.stall_timeout_s

    def _break_stalled(self) -> None:
        for leg in self._alive():
            if self._stalls_at(leg) <= self.now():
                error = leg.error_of(
                    ErrorKind.TIMEOUT,
                    f"silent for {self._plan.stall_timeout_s:g} s in the middle of its answer",
                    "Raise stall_timeout_s if the server is only slow.",
                )
                leg.fail(error)
                self._lose(leg, error)

    def _expire(self) -> None:
        """The turn's time is up: what is shown is the answer, cut; else the best that is held."""
        if self._committed is None and self._broken is None:
            held = [leg for leg in self._alive() if leg.has_content]
            held = [leg for leg in held if leg.plan.commit_on == "first_content"]
            if held:
                self._commit(min(held, key=self._preference), "the deadline")
        serving = self._committed or self._broken
        for leg in self._alive():
            if leg is not serving:
                self._time_out(leg)
        if serving:
            serving.stop()
            self._end(serving, "deadline")
        else:
            self._nothing_left()

    def _time_out(self, leg: Leg) -> None:
        error = too_late(leg.track, self._plan.deadline_s)
        leg.fail(error)
        leg.state = "failed"
        self._log.failed(leg, error)

    # Ends of the turn

    def _nothing_left(self) -> None:
        """No leg may still answer: a rejected answer is better than none, an error is the last."""
        rejected = [leg for leg in self._legs if leg.state == "rejected"]
        if rejected and self._plan.policy.last_resort and self._broken is None:
            best = min(rejected, key=self._preference)
            best.state = "running"
            self._commit(best, f"last resort, though {best.verdict.why if best.verdict else ''}")
            self._end(best, best.fold.completion().finish_reason)
            return
        self._end(None, None, AllTracksFailed(self._causes(), partial=self._log.shown))

    def _causes(self) -> list[EngineError]:
        """Why each leg of the turn gave no answer; of those that never began, the deadline."""
        causes = [leg.error or _turned_down(leg) for leg in self._legs if leg.error or leg.verdict]
        late = [self._plan.tracks[leg.track] for leg in self._waiting]
        return causes or [too_late(track, self._plan.deadline_s) for track in late]

    def _end(
        self, leg: Leg | None, reason: FinishReason | None, failure: AllTracksFailed | None = None
    ) -> None:
        if leg and leg.state == "running":
            leg.state = "won"
        for running in self._alive():
            if running is not leg:
                self._dismiss(running)
        first = self._log.first_content_s
        self._outcome = Outcome(self._log.shown, leg, reason, first, self.legs, failure)


def too_late(track: Track, deadline_s: float) -> EngineError:
    """The error of a track that had no chance to answer before the turn's deadline."""
    error = EngineError(
        ErrorKind.TIMEOUT,
        f"the turn's deadline of {deadline_s:g} s passed before it could answer",
        engine=track.engine.name,
        model=track.engine.model,
        suggestion="Raise deadline_s, or choose a policy with a faster track.",
    )
    error.track = track.name
    return error


def _turned_down(leg: Leg) -> EngineError:
    why = leg.verdict.why if leg.verdict else "no verdict"
    return leg.error_of(ErrorKind.SERVER, f"the gate turned its answer down: {why}")


def _clock_reason(plan: LegPlan) -> str:
    return f"after {plan.start_after_s:g} s of silence" if plan.start_after_s else "at once"
