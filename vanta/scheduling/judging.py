"""The judging of finished answers in a race: format, gate, and a verifier where the gate is unsure.

A verifier is another track that is asked in one token whether an answer is right. It is a leg like
any other: it is in the trace and on the bill. The trace of the judged leg has the gate's score, and
that of the verifier has the probability of yes, so that a replay can judge again.

Invariant: a verifier that fails, or says neither yes nor no, leaves the gate's verdict.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from vanta.engine import GenerationRequest
from vanta.scheduling.answer_checks import probability_of_yes
from vanta.scheduling.gate import Verdict
from vanta.scheduling.leg import Leg
from vanta.scheduling.policy import GateRule
from vanta.scheduling.race_plan import RacePlan, format_fault
from vanta.scheduling.typed_answers import TypedAnswers
from vanta.track import Track

VERIFY_LIMIT = 0.5
"""The least probability of yes where neither the rule nor a fitted gate has a limit."""


class AnswerJudge:
    """Judges the answers of one race.

    :param plan: the race.
    :param answers: reads typed answers.
    :param open_leg: starts the record of a leg on a track that verifies an answer, given the leg
        that answered. The judge runs it.
    """

    def __init__(
        self, plan: RacePlan, answers: TypedAnswers, open_leg: Callable[[Track, Leg], Leg]
    ) -> None:
        self._plan = plan
        self._answers = answers
        self._gate = plan.settings.gate
        self._rule = plan.settings.policy.gate
        self._open_leg = open_leg

    async def verdict(self, leg: Leg) -> Verdict:
        """Return the verdict on a leg's finished answer."""
        rule = self._rule
        if rule is None:
            return Verdict(True, None, "the policy has no gate")
        answer = leg.fold.completion()
        if answer.tool_calls:
            return Verdict(True, None, "calls a tool")
        fault = self._answers.problem(leg) or format_fault(answer.text, self._plan, rule)
        if fault:
            return Verdict(False, None, fault)
        verdict = await self._gate.judge(answer, rule)
        verifier = self._plan.tracks.get(rule.verify_with or "")
        if verifier is None or not self._is_doubtful(verdict):
            return verdict
        return await self._verify(verifier, leg, verdict, rule)

    def fault_so_far(self, leg: Leg) -> str | None:
        """Return why the gate is certain to reject an unfinished answer, None if it is not."""
        give_up = getattr(self._gate, "give_up", None)
        if self._rule is None or not self._rule.early_exit or give_up is None:
            return None
        why: str | None = give_up(leg.fold.completion(), self._rule)
        return why

    def _is_doubtful(self, verdict: Verdict) -> bool:
        settings = self._plan.settings
        if verdict.margin is None:
            return False
        return settings.track_stats.is_doubtful(settings.policy, verdict.margin)

    async def _verify(self, track: Track, judged: Leg, verdict: Verdict, rule: GateRule) -> Verdict:
        leg = self._open_leg(track, judged)
        answer = judged.fold.completion().text

        async def prepare(track: Track) -> GenerationRequest:
            return await self._plan.preparer.verification(track, answer)

        await leg.run(prepare)
        yes = None if leg.error else probability_of_yes(leg.fold.completion())
        if yes is None:
            return verdict
        verified = getattr(self._gate, "verified", None)
        right: float | None = verified(verdict, yes) if verified else None
        limit = _limit(rule, fitted=right is not None)
        chance = yes if right is None else right
        why = f"{track.name} finds it right with probability {yes:.2f}"
        if right is not None:
            why = f"right with {right:.0%}, as {why}"
        if chance < limit:
            why = f"{why}; {limit:.2f} needed"
        leg.verdict = Verdict(yes >= VERIFY_LIMIT, yes, why)
        return dataclasses.replace(verdict, accepted=chance >= limit, why=why)


def _limit(rule: GateRule, *, fitted: bool) -> float:
    if rule.verify_limit is not None:
        return rule.verify_limit
    return rule.min_probability if fitted else VERIFY_LIMIT
