"""The scheduler: runs the legs of one turn under a policy, within its deadline and privacy rule.

The rules, each pinned by a test in `tests/scheduling`:

1. A race is decided by first content, never by headers, reasoning or an empty delta.
2. At commit every losing leg is stopped, and its end is confirmed before the turn is over. What it
   produced after the stop (tokens, money, CPU seconds) is in the trace.
3. A committed leg that breaks (cut, stalled, malformed) is taken over by another track of the
   policy, which continues the shown text or, if the policy says so, answers again. The seam is a
   `Takeover` event. Time in which the event loop was blocked does not count as a stall.
4. No leg fails silently and no error text becomes an answer. If all fail: one `AllTracksFailed`.
5. Money is reserved before a leg is sent and settled when it has ended. A leg that a cap does not
   allow fails alone. The bill has every leg: losers, broken ones and verifications too.
6. A private turn never reaches a track that is not private: it is not among the turn's tracks.
7. The deadline is one clock, started before the turn waited for its session.
8. Cancelling the caller cancels every leg at once and waits until all have ended.

A failed track is retried only if no other leg may answer, no text was shown, the error may be
temporary and the deadline allows the wait. Retry-After is obeyed. An answer of reasoning alone is
not retried: it costs as much as a whole one.

`Race` is a state machine without awaits. Legs call it with deltas and ends, `run` calls it when a
timer is due, and each call advances the state as far as possible. Everything is on one event loop,
so there are no locks. Time is the event loop's clock, so a virtual clock replays a turn exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import anyio
from anyio.abc import TaskGroup

from vanta.concurrency import open_task_group
from vanta.errors import AllTracksFailed, EngineError, NoTrack
from vanta.events import Event
from vanta.messages import Delta, FinishReason
from vanta.scheduling.agreement import disagreement
from vanta.scheduling.gate import Verdict
from vanta.scheduling.judging import AnswerJudge
from vanta.scheduling.leg import Leg
from vanta.scheduling.leg_errors import (
    backoff_s,
    rejected_answer,
    retry_too_late,
    stalled,
    too_late,
)
from vanta.scheduling.policy import LegPlan
from vanta.scheduling.race_plan import RaceOutcome, RacePlan, in_round
from vanta.scheduling.start_queue import StartQueue
from vanta.scheduling.takeover import Seam
from vanta.scheduling.track_stats import RETRYABLE
from vanta.scheduling.turn_log import TurnLog
from vanta.track import Track

TICK_S = 1e-6
"""Shortest sleep: a clock that stands still between events must be moved past a timer."""
HELD_UP_S = 0.01
"""A timer noticed later than this shows that the event loop was blocked, not that a leg stalled."""


class Race:
    """One turn's race.

    :param plan: the turn's settings, tracks and helpers.
    :param emit: called with each event, in order.
    :raises NoTrack: if no track of the policy may take part.
    """

    def __init__(self, plan: RacePlan, emit: Callable[[Event], None]) -> None:
        self._plan = plan
        self._settings = settings = plan.settings
        self.purse, self.scrub, self.round = plan.purse, plan.scrub, plan.round
        legs = settings.policy.legs
        able = [in_round(leg, plan.begins_s, plan.earliest_s) for leg in legs]
        able = [leg for leg in able if leg.track in plan.tracks]
        if not able:
            raise NoTrack(settings.policy.name, plan.skipped)
        may_hedge = settings.track_stats.may_hedge(settings.policy)
        self._starts = StartQueue(able, hard=settings.hard, may_hedge=may_hedge)
        self._log = TurnLog(emit, self.now, plan.shown_before, plan.round)
        self._legs: list[Leg] = []
        self._committed: Leg | None = None
        self._broken: Leg | None = None
        self._seams: dict[int, Seam] = {}
        self._outcome: RaceOutcome | None = None
        self._judge = AnswerJudge(plan, self._open_verification)
        self._wake = anyio.Event()
        self._tasks: TaskGroup

    @property
    def legs(self) -> tuple[Leg, ...]:
        """The legs so far."""
        return tuple(self._legs)

    async def run(self) -> RaceOutcome:
        """Run the race to its end; every leg has ended when this returns or raises.

        :returns: the serving leg and its text, or the failure.
        """
        async with open_task_group() as self._tasks:
            self._advance()
            while self._outcome is None:
                # There is no await between the last advance and this line, so no wake-up is lost.
                self._wake = anyio.Event()
                with anyio.move_on_after(max(TICK_S, self._next_timer_s() - self.now())):
                    await self._wake.wait()
                self._advance()
        assert self._outcome is not None  # noqa: S101 - the loop above ends only with one
        return self._outcome

    def now(self) -> float:
        """Return the seconds since the turn began."""
        return anyio.current_time() - self._plan.started_at

    def on_delta(self, leg: Leg, delta: Delta) -> None:
        """Keep or show a leg's delta; its first readable text may commit the turn.

        :param leg: the leg.
        :param delta: the delta, which the leg has folded already.
        """
        if self._outcome or not leg.answerable:
            return
        seam = self._seams.get(leg.number)
        text = seam.feed(delta.text) if seam else delta.text
        if leg is self._committed:
            self._log.text(leg, text)
            return
        if text:
            leg.pending.append(text)
        if leg.plan.commit_on == "verdict" and leg.is_check_due():
            self._give_up_early(leg)
        if leg.deltas == 1 or leg.resumes or leg.first_content_s == leg.last_delta_s:
            self._advance()

    def on_end(self, leg: Leg) -> None:
        """Record how a leg ended and advance.

        :param leg: the leg.
        """
        self._settings.track_stats.ended(leg, anyio.current_time())
        if leg.stopped:
            if leg.state == "cancelled":
                self._log.cancelled(leg)
        elif leg.state == "verified":
            self._report_verification(leg)
        elif leg.error:
            self._lose(leg, leg.error)
        else:
            self._complete(leg)
        self._advance()

    async def judge(self, leg: Leg) -> Verdict:
        """Return the verdict on a finished answer."""
        return await self._judge.verdict(leg)

    def _advance(self) -> None:
        """Do everything that is due now, and wake the timer loop to compute its timers again."""
        self._wake.set()
        if self._outcome:
            return
        if self.now() >= self._settings.deadline_s:
            self._expire()
            return
        self._break_stalled()
        self._start_due()
        if self._committed is None:
            self._try_commit()
        if self._committed and self._committed.finished:
            self._settle(self._committed)
        elif self._committed is None and not self._alive() and not self._some_will_start():
            self._nothing_left()

    @property
    def _next_number(self) -> int:
        return self._plan.first_leg + len(self._legs)

    def _some_will_start(self) -> bool:
        """Return whether the clock will start another leg before the deadline."""
        return any(at_s < self._settings.deadline_s for at_s in self._starts.next_s())

    def _alive(self) -> list[Leg]:
        return [leg for leg in self._legs if leg.answerable]

    def _preference(self, leg: Leg) -> int:
        return self._settings.policy.tracks.index(leg.plan.track)

    def _start_due(self) -> None:
        for plan, why in self._starts.due(self.now()):
            self._start(plan, why)

    def _start(self, plan: LegPlan, why: str, *, resumes: bool = False) -> None:
        track = self._plan.tracks[plan.track]
        leg = Leg(self._next_number, plan, track, why, self, resumes=resumes)
        self._legs.append(leg)
        self._settings.track_stats.started(leg, anyio.current_time())
        self._log.started(leg)
        shown = self._log.shown if resumes else ""
        if resumes and not track.engine.capabilities.prefix_continuation:
            self._seams[leg.number] = Seam(shown)

        preparer, judged = self._plan.preparer, plan.commit_on == "verdict" and not resumes
        prepare = partial(preparer.prepare, shown=shown, judged=judged)
        shorten = partial(preparer.shorten, shown=shown, judged=judged)
        self._tasks.start_soon(leg.run, prepare, shorten, name=f"leg {leg.number} on {track.name}")

    def _call_reserve(self, why: str) -> None:
        """Start the next waiting leg: what it waited for will not come."""
        plan = self._starts.call()
        if plan:
            self._start(plan, why)

    def _call_successor(self, why: str) -> None:
        """Start the next track that can continue the shown text, or answer again."""
        mode = self._settings.policy.takeover
        if mode == "fail" or self._alive():
            return
        failed = {leg.track.name for leg in self._legs if leg.error}
        for name in self._settings.policy.tracks:
            if name in self._plan.tracks and name not in failed:
                self._start(LegPlan(name), why, resumes=mode == "continue")
                return

    def _try_commit(self) -> None:
        for leg in sorted(self._alive(), key=self._preference):
            why = self._reason_to_commit(leg)
            if why:
                self._commit(leg, why)
                return

    def _reason_to_commit(self, leg: Leg) -> str | None:
        """Return why the turn can commit to `leg` now, None if it cannot."""
        if leg.resumes:
            return "continues the text" if leg.pending or leg.finished else None
        if leg.plan.commit_on == "verdict":
            return leg.verdict.why if leg.verdict and leg.verdict.accepted else None
        if not (leg.has_content or leg.finished):
            return None
        held_s = leg.plan.held_until_s
        if self.now() >= held_s:
            return f"no rival answered within {held_s:g} s" if held_s else leg.first
        return None if self._rivals_before(leg) else "no rival is left"

    def _rivals_before(self, held: Leg) -> bool:
        """Return whether a leg with a shorter hold than `held` may still answer."""
        rivals = [*(leg.plan for leg in self._alive()), *self._starts.timed]
        return any(plan.held_until_s < held.plan.held_until_s for plan in rivals)

    def _commit(self, leg: Leg, why: str) -> None:
        """Commit the turn to `leg`: show its text, stop the others."""
        self._committed = leg
        leg.committed_s = self.now()
        self._starts.clear()
        if self._broken:
            self._log.takeover(leg, self._broken, restarts=not leg.resumes)
        else:
            self._log.committed(leg, why)
        self._log.text(leg, "".join(leg.pending))
        leg.pending.clear()
        # Last, though at the same moment: the reader of the text then runs before the losers, whose
        # winding up (closing a connection) takes a millisecond of the loop.
        for rival in self._alive():
            if rival is not leg and not rival.plan.amends:
                self._dismiss(rival)

    def _complete(self, leg: Leg) -> None:
        """Handle a leg that reached the end of its answer."""
        seam = self._seams.get(leg.number)
        rest = seam.flush() if seam else ""
        if leg is self._committed:
            self._log.text(leg, rest)
        elif rest:
            leg.pending.append(rest)
        self._log.finished(leg)
        if leg.verdict and not leg.verdict.accepted:
            self._reject(leg, leg.verdict)
        elif (answer := leg.fold.completion()).finish_reason != "length" and not leg.plan.amends:
            self._plan.on_calls(answer.tool_calls)

    def _lose(self, leg: Leg, error: EngineError) -> None:
        """Handle a leg that broke: report it, and start another one."""
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
        """Stop a leg that lost, unless it has finished already."""
        leg.state = "finished" if leg.ended else "cancelled"
        leg.stop()

    def _next_timer_s(self) -> float:
        """Return the second of the turn at which time alone will change something next."""
        timers = [self._settings.deadline_s]
        timers += self._starts.next_s()
        timers += [self._stalls_at(leg) for leg in self._alive()]
        if self._committed is None:
            holds = [leg.plan.held_until_s for leg in self._alive()]
            timers += [held_s for held_s in holds if held_s > self.now()]
        return min(timers)

    def _stalls_at(self, leg: Leg) -> float:
        if leg.generated or leg.listening_since_s is None:
            return math.inf
        return leg.listening_since_s + self._settings.stall_timeout_s

    def _break_stalled(self) -> None:
        for leg in self._alive():
            late_s = self.now() - self._stalls_at(leg)
            if late_s < 0 or (late_s > HELD_UP_S and leg.excuse()):
                continue
            leg.fail(error := stalled(leg.track, self._settings.stall_timeout_s))
            self._lose(leg, error)

    def _expire(self) -> None:
        """End the turn at its deadline with the shown text, or with the best text that is held."""
        if self._committed is None and self._broken is None:
            held = [leg for leg in self._alive() if leg.has_content]
            held = [leg for leg in held if leg.plan.commit_on == "first_content"]
            if held:
                self._commit(min(held, key=self._preference), "the deadline")
        serving = self._committed or self._broken
        for leg in self._alive():
            if leg is not serving:
                self._time_out(leg)
        if serving is None:
            self._starts.clear()
            self._nothing_left()
        elif serving.finished:
            self._end(serving, serving.fold.completion().finish_reason)
        else:
            serving.stop()
            self._end(serving, "deadline")

    def _time_out(self, leg: Leg) -> None:
        error = too_late(leg.track, self._settings.deadline_s)
        leg.fail(error)
        leg.state = "failed"
        self._log.failed(leg, error)

    def _give_up_early(self, leg: Leg) -> None:
        """Stop an answer that the gate is certain to reject."""
        why = self._judge.fault_so_far(leg)
        if why:
            leg.stop()
            self._reject(leg, Verdict(False, None, f"stopped early: {why}"))

    def _reject(self, leg: Leg, verdict: Verdict) -> None:
        leg.verdict = verdict
        leg.state = "rejected"
        self._log.rejected(leg, verdict)
        self._call_reserve(f"{leg.track.name} was rejected: {verdict.why}")

    def _open_verification(self, track: Track, judged: Leg) -> Leg:
        """Open the leg of a track that judges the answer of another leg."""
        plan = LegPlan(track.name)
        why = f"verifies leg {judged.number}"
        leg = Leg(self._next_number, plan, track, why, self, resumes=True)
        leg.state = "verified"
        self._legs.append(leg)
        self._settings.track_stats.started(leg, anyio.current_time())
        self._log.started(leg)
        return leg

    def _report_verification(self, leg: Leg) -> None:
        if leg.error:
            self._log.failed(leg, leg.error)
        else:
            self._log.finished(leg)

    def _settle(self, winner: Leg) -> None:
        """End the turn of a finished winner, once no leg may amend it any more."""
        rest = [leg for leg in self._alive() if leg is not winner]
        if winner.fold.completion().tool_calls:
            rest = []  # a text may be amended, a call is never repeated
        for leg in rest:
            if not leg.finished:
                return
            text = "".join(leg.pending)
            if text and (why := disagreement(self._log.shown, text)):
                winner.state = "amended"
                self._log.amended(leg, text, why)
                self._end(leg, leg.fold.completion().finish_reason)
                return
        self._end(winner, winner.fold.completion().finish_reason)

    def _nothing_left(self) -> None:
        """Retry if possible; otherwise serve a rejected answer as a last resort, or fail."""
        if self._retry():
            return
        rejected = [leg for leg in self._legs if leg.state == "rejected" and leg.finished]
        if rejected and self._settings.policy.last_resort and self._broken is None:
            best = min(rejected, key=self._preference)
            best.state = "running"
            self._commit(best, f"last resort, though {best.verdict.why if best.verdict else ''}")
            self._end(best, best.fold.completion().finish_reason)
            return
        self._end(None, None, AllTracksFailed(self._causes(), partial=self._log.shown))

    def _retry(self) -> bool:
        """Schedule retries of failed tracks that may recover; return whether a leg will start."""
        if self._broken:
            return False
        for leg in {leg.track.name: leg for leg in self._legs if leg.error}.values():
            attempt = sum(other.track is leg.track for other in self._legs)
            at_s = self.now() + backoff_s(leg.error, attempt)
            error = leg.error
            temporary = error is not None and error.retryable and error.kind in RETRYABLE
            if temporary and attempt <= self._settings.retries and at_s < self._settings.deadline_s:
                self._starts.add(leg.plan, at_s)
        return self._some_will_start()

    def _causes(self) -> list[EngineError]:
        """Return why each leg gave no answer; for tracks that never started, the deadline."""
        causes = [
            leg.error or rejected_answer(leg.track, leg.verdict)
            for leg in self._legs
            if leg.error or (leg.verdict and leg.state != "verified")
        ]
        return causes or [self._never_started(track) for track in self._plan.tracks.values()]

    def _never_started(self, track: Track) -> EngineError:
        wait_s = self._plan.earliest_s.get(track.name, 0.0)
        if wait_s >= self._settings.deadline_s:
            return retry_too_late(track, wait_s - self.now())
        return too_late(track, self._settings.deadline_s)

    def _end(
        self, leg: Leg | None, reason: FinishReason | None, failure: AllTracksFailed | None = None
    ) -> None:
        if leg and leg.state == "running":
            leg.state = "won"
        for running in self._alive():
            if running is not leg:
                self._dismiss(running)
        first = self._log.first_content_s
        amended = any(other.state == "amended" for other in self._legs)
        shown = self._log.shown
        self._outcome = RaceOutcome(shown, leg, reason, first, self.legs, failure, amended)
