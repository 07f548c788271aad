"""The calibrated gate: a threshold on it is a probability.

`vanta gate fit` makes its model from recorded outcomes. Invariant: it never raises for an answer;
without a model it judges as the `signals` gate does, and says so in every verdict.
"""

from __future__ import annotations

from pathlib import Path

from vanta.messages import Completion
from vanta.routing.judgement import GateModel, load
from vanta.routing.linear import logit
from vanta.routing.signals import Signals, signals
from vanta.scheduling.gate import SignalsGate, Verdict
from vanta.scheduling.policy import GateRule

_ENOUGH_TOKENS = 16
_FAR = 0.5
"""An unfinished answer is given up below this share of the probability that is asked for."""


class CalibratedGate:
    """Accepts an answer that is right with at least `rule.min_probability`.

    model: fitted, or the path of a model file, which is read here and now. What `rule` says of
    mean logprobs is for the other gate; an answer is unsure within `rule.verify_margin` of the
    limit, in log-odds.
    """

    name = "calibrated"

    def __init__(self, model: GateModel | Path | None = None) -> None:
        self._model = load(model) if isinstance(model, Path) else model
        self._plain = SignalsGate()

    @property
    def fitted(self) -> bool:
        """Whether outcomes are behind its probabilities."""
        return self._model is not None

    def probability(self, found: Signals) -> float | None:
        """P(a finished answer with these signals is right); None if nothing was fitted."""
        return self._model.whole.probability(found) if self._model else None

    def doubt(self, found: Signals) -> float | None:
        """P(an answer that begins like this ends wrong); None if nothing was fitted."""
        return 1 - self._model.part.probability(found) if self._model else None

    async def judge(self, answer: Completion, rule: GateRule) -> Verdict:
        """Accept or reject a finished answer; cheap, no I/O."""
        right = self.probability(found := signals(answer))
        if right is None:
            plain = await self._plain.judge(answer, rule)
            why = f"{plain.why} (the calibrated gate is not fitted: `vanta gate fit`)"
            return Verdict(plain.accepted, plain.score, why, plain.unsure)
        if answer.tool_calls:
            return Verdict(True, right, "asks for a tool")
        if found.chars < rule.min_chars:
            return Verdict(False, right, f"{found.chars} characters, {rule.min_chars} wanted")
        if rule.refusals and found.refusal:
            return Verdict(False, right, "declines to answer")
        unsure = abs(logit(right) - logit(rule.min_probability)) <= rule.verify_margin
        if right < rule.min_probability:
            why = f"right with {right:.0%}, {rule.min_probability:.0%} wanted"
            return Verdict(False, right, why, unsure)
        return Verdict(True, right, f"right with {right:.0%}", unsure)

    def give_up(self, answer: Completion, rule: GateRule) -> str | None:
        """Why an unfinished answer is sure enough to be turned down, None if it is not."""
        if self._model is None:
            return self._plain.give_up(answer, rule)
        found = signals(answer)
        doubt = self.doubt(found)
        if doubt is None or found.tokens < _ENOUGH_TOKENS:
            return None
        if 1 - doubt < rule.min_probability * _FAR:
            return f"right with {1 - doubt:.0%} after {found.tokens} tokens"
        return None
