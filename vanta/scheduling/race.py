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

from collections.abc import Callable
from functools import partial

import anyio
from anyio.abc import TaskGroup

from vanta.concurrency import open_task_group
from vanta.errors import AllTracksFailed, EngineError, NoTrack
from vanta.events import Event
from vanta.messages import Delta, FinishReason
from vanta.scheduling.failures import causes_of, last_resort, retries_of
from vanta.scheduling.gate import Verdict
from vanta.scheduling.judging import AnswerJudge
from vanta.scheduling.leg import Leg, Prepare, Shorten
from vanta.scheduling.leg_errors import stalled, too_late
from vanta.scheduling.policy import LegPlan
from vanta.scheduling.race_plan import RaceOutcome, RacePlan, legs_of_round
from vanta.scheduling.start_queue import StartQueue
from vanta.scheduling.takeover import Seam
from vanta.scheduling.turn_log import TurnLog
from vanta.scheduling.typed_answers import TypedAnswers
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
        if not (able := legs_of_round(plan)):
            raise NoTrack(settings.policy.name, plan.skipped)
        may_hedge = settings.track_stats.may_hedge(settings.policy)
        self._starts = StartQueue(able, hard=settings.hard, may_hedge=may_hedge)
        self._log = TurnLog(emit, self.now, plan.shown_before, plan.round)
        self._legs: list[Leg] = []
        self._committed: Leg | None = None
        self._broken: Leg | None = None
        self._seams: dict[int, Seam] = {}
        self._outcome: RaceOutcome | None = None
        self._answers = TypedAnswers(settings.form)
        self._judge = AnswerJudge(plan, self._answers, self._open_verification)
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
        if delta.reasoning:
            alone = self._alive() == [leg] and not (self._starts.timed or leg.judged)
            self._log.reasoning(leg, delta.reasoning, shown=alone or leg is self._committed)
        if leg is self._committed:
            self._log.text(leg, text)
            return
        if text:
            leg.pending.append(text)
        if leg.judged and leg.is_check_due():
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
            self._log.verified(leg)
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

    def _start(
        self,
        plan: LegPlan,
        why: str,
        *,
        resumes: bool = False,
        repairs: tuple[str, str] | None = None,
    ) -> None:
        track = self._plan.tracks[plan.track]
        leg = Leg(self._next_number, plan, track, why, self, resumes=resumes)
        self._legs.append(leg)
        self._settings.track_stats.started(leg, anyio.current_time())
        self._log.started(leg)
        shown = self._log.shown if resumes else ""
        if resumes and not track.engine.capabilities.prefix_continuation:
            self._seams[leg.number] = Seam(shown)
        preparer, judged = self._plan.preparer, plan.commit_on == "verdict" and not resumes
        prepare: Prepare = partial(preparer.prepare, shown=shown, judged=judged)
        shorten: Shorten | None = partial(preparer.shorten, shown=shown, judged=judged)
        if repairs:
            answer, wrong = repairs
            prepare, shorten = (
                partial(preparer.repair, answer=answer, why=wrong, judged=judged),
                None,
            )
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
                resumes = mode == "continue" and not self._answers.typed
                self._start(LegPlan(name), why, resumes=resumes)
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
        self._log.pending(leg)
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
        if why := self._answers.problem(leg):
            self._void(leg, why)
        elif leg.verdict and not leg.verdict.accepted:
            self._reject(leg, leg.verdict)
        elif (answer := leg.fold.completion()).finish_reason != "length" and not leg.plan.amends:
            self._plan.on_calls(answer.tool_calls)

    def _lose(self, leg: Leg, error: EngineError) -> None:
        """Handle a leg that broke: report it, and start another one."""
        leg.state = "broken" if leg is self._committed else "failed"
        self._log.failed(leg, error)
        verb = "broke" if self._broken or leg.state == "broken" else "failed"
        self._replace(leg, f"{leg.track.name} {verb}: {error.kind}")

    def _void(self, leg: Leg, why: str) -> None:
        """Handle an answer that is not of the type that was asked for, so it does not count."""
        leg.verdict, leg.error = Verdict(False, None, why), self._answers.error(leg)
        leg.state = "rejected"
        self._log.rejected(leg, leg.verdict)
        self._replace(leg, f"{leg.track.name} was rejected: {why}")

    def _replace(self, leg: Leg, why: str) -> None:
        """Start what answers in the place of a leg that has no answer, unless another leg may."""
        if leg is self._committed:
            self._committed, self._broken = None, leg
        if self._answers.needs_form(leg):
            self._repair(leg)
        elif self._broken:
            self._call_successor(why)
        else:
            self._call_reserve(why)

    def _repair(self, leg: Leg) -> None:
        """Ask a track once to correct an answer that is not of its type."""
        plan, answer, why = self._answers.repair(leg)
        self._start(plan, f"corrects the answer of leg {leg.number}", repairs=(answer, why))

    def _dismiss(self, leg: Leg) -> None:
        """Stop a leg that lost, unless it has finished already."""
        leg.state = "finished" if leg.ended else "cancelled"
        leg.stop()

    def _next_timer_s(self) -> float:
        """Return the second of the turn at which time alone will change something next."""
        timers = [self._settings.deadline_s]
        timers += self._starts.next_s()
        timers += [leg.stalls_at_s(self._settings.stall_timeout_s) for leg in self._alive()]
        if self._committed is None:
            holds = [leg.plan.held_until_s for leg in self._alive()]
            timers += [held_s for held_s in holds if held_s > self.now()]
        return min(timers)

    def _break_stalled(self) -> None:
        for leg in self._alive():
            late_s = self.now() - leg.stalls_at_s(self._settings.stall_timeout_s)
            if late_s < 0 or (late_s > HELD_UP_S and leg.excuse()):
                continue
            leg.fail(error := stalled(leg.track, self._settings.stall_timeout_s))
            self._lose(leg, error)

    def _expire(self) -> None:
        """End the turn at its deadline with the shown text, or with the best text that is held."""
        if self._committed is None and self._broken is None:
            held = [leg for leg in self._alive() if leg.plan.commit_on == "first_content"]
            held = [leg for leg in held if leg.has_content and self._answers.may_serve(leg)]
            if held:
                self._commit(min(held, key=self._preference), "the deadline")
        serving = self._committed or self._broken
        if serving and not self._answers.may_serve(serving):
            serving = None
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
        plan, why = LegPlan(track.name), f"verifies leg {judged.number}"
        leg = Leg(self._next_number, plan, track, why, self, resumes=True)
        leg.state = "verified"
        self._legs.append(leg)
        self._settings.track_stats.started(leg, anyio.current_time())
        self._log.started(leg)
        return leg

    def _settle(self, winner: Leg) -> None:
        """End the turn of a finished winner, once no leg may amend it any more."""
        rest = [leg for leg in self._alive() if leg is not winner]
        if winner.fold.completion().tool_calls:
            rest = []  # a text may be amended, a call is never repeated
        for leg in rest:
            if not leg.finished:
                return
            text = "".join(leg.pending)
            if text and (why := self._answers.disagreement(winner, leg, self._log.shown, text)):
                winner.state = "amended"
                self._log.amended(leg, text, why)
                self._end(leg, leg.fold.completion().finish_reason)
                return
        self._end(winner, winner.fold.completion().finish_reason)

    def _nothing_left(self) -> None:
        """Retry or repair if possible; otherwise serve a rejected answer, or fail."""
        if self._retry():
            return
        wrong = self._answers.next_repair(sorted(self._legs, key=self._preference))
        if wrong and self.now() < self._settings.deadline_s:
            self._repair(wrong)
            return
        best = last_resort(sorted(self._legs, key=self._preference), self._settings.policy)
        if best and self._broken is None:
            best.state = "running"
            self._commit(best, f"last resort, though {best.verdict.why if best.verdict else ''}")
            self._end(best, best.fold.completion().finish_reason)
            return
        failure = AllTracksFailed(
            causes_of(self._legs, self._plan, self.now()), partial=self._log.shown
        )
        self._end(None, None, failure)

    def _retry(self) -> bool:
        """Schedule retries of failed tracks that may recover; return whether a leg will start."""
        if self._broken:
            return False
        for plan, at_s in retries_of(self._legs, self._settings, self.now()):
            self._starts.add(plan, at_s)
        return self._some_will_start()

    def _end(
        self, leg: Leg | None, reason: FinishReason | None, failure: AllTracksFailed | None = None
    ) -> None:
        if leg and leg.state == "running":
            leg.state = "won"
        for running in self._alive():
            if running is not leg:
                self._dismiss(running)
        first, shown = self._log.first_content_s, self._log.shown
        amended = any(other.state == "amended" for other in self._legs)
        self._outcome = RaceOutcome(
            shown, leg, reason, first, self.legs, failure, amended, self._answers.value(leg)
        )
