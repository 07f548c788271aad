"""Gates: judges of finished answers.

A gate sees the whole answer of one leg and accepts or rejects it, with a score and a reason that a
person can read in the trace.

Invariant: a gate never raises because an answer is bad, and never changes an answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from vanta.messages import Completion
from vanta.scheduling.policy import GateRule

_REFUSAL = re.compile(
    r"^\W*("
    r"i'?m sorry|i am sorry|sorry,|unfortunately,? i"
    r"|i (can(no|')?t|cannot|am unable|'m unable|do not|don'?t)"
    r" (help|assist|answer|provide|do that|know|have (access|the ability|information))"
    r"|as an ai( language model)?,? i)",
    re.IGNORECASE,
)

_REFUSAL_CHARS = 40
_BEGINNING_CHARS = 500
"""Characters in which a refusal is searched: a long run of signs would be searched many times."""
_ENOUGH_TOKENS = 24
_CLEAR_MARGIN = 0.7


@dataclass(frozen=True, slots=True)
class Verdict:
    """A gate's decision on one answer.

    :param accepted: whether the answer may be served.
    :param score: what the gate measured, None if nothing.
    :param why: a short reason for a person.
    :param margin: how far the score is above its limit, negative below it; None if something else
        decided, which no verifier may overrule. See `GateRule.verify_share`.
    """

    accepted: bool
    score: float | None
    why: str
    margin: float | None = None


class Gate(Protocol):
    """Judges answers; a plugin implements it. `gate.use` in a policy refers to `name`.

    A gate may also have `give_up(answer, rule) -> str | None`, which is called now and then with an
    unfinished answer: a reason rejects the answer at once (see `SignalsGate.give_up`). And it may
    have `verified(verdict, yes) -> float | None`, which returns the probability that an answer is
    right to which a verifier says yes with probability `yes` (see `CalibratedGate.verified`).
    """

    name: str

    async def judge(self, answer: Completion, rule: GateRule) -> Verdict:
        """Accept or reject a finished answer.

        :param answer: the whole answer of one leg.
        :param rule: the policy's limits.
        :returns: the decision.
        """
        ...


class SignalsGate:
    """Judges by the answer itself: its finish reason, length, refusal phrases and mean logprob.

    The mean logprob of the generated tokens is the length-normalised sequence likelihood of
    Malinin & Gales, "Uncertainty Estimation in Autoregressive Structured Prediction" (2021).
    """

    name = "signals"

    async def judge(self, answer: Completion, rule: GateRule) -> Verdict:
        """Accept or reject a finished answer, without I/O; see `Gate.judge`."""
        score = mean_logprob(answer)
        text = answer.text.strip()
        if answer.tool_calls:
            return Verdict(True, score, "calls a tool")
        if len(text) < rule.min_chars:
            return Verdict(
                False, score, f"{len(text)} characters, at least {rule.min_chars} needed"
            )
        if answer.finish_reason == "length":
            return Verdict(False, score, "cut off by its token limit")
        if rule.refusals and declines(text):
            return Verdict(False, score, "declines to answer")
        return self._by_likelihood(score, rule)

    def give_up(self, answer: Completion, rule: GateRule) -> str | None:
        """Return why an unfinished answer is certain to be rejected, None if it is not.

        :param answer: the answer so far.
        :param rule: the policy's limits.
        """
        if rule.refusals and len(answer.text) > _REFUSAL_CHARS and declines(answer.text):
            return "declines to answer"
        score = mean_logprob(answer)
        if rule.min_mean_logprob is None or score is None:
            return None
        if len(answer.logprobs) >= _ENOUGH_TOKENS and score < rule.min_mean_logprob - _CLEAR_MARGIN:
            return f"mean logprob {score:.2f} after {len(answer.logprobs)} tokens"
        return None

    def _by_likelihood(self, score: float | None, rule: GateRule) -> Verdict:
        least = rule.min_mean_logprob
        if least is None or score is None:
            return Verdict(True, score, "good enough (no logprobs)")
        margin = score - least
        if margin < 0:
            return Verdict(False, score, f"mean logprob {score:.2f} < {least:.2f}", margin)
        return Verdict(True, score, f"good enough (mean logprob {score:.2f})", margin)


def declines(text: str) -> bool:
    """Return whether a text begins as refusals do.

    :param text: an answer, finished or not.
    """
    return _REFUSAL.match(text[:_BEGINNING_CHARS]) is not None


def mean_logprob(answer: Completion) -> float | None:
    """Return the mean natural log probability of the answer's tokens, None without logprobs."""
    if not answer.logprobs:
        return None
    return sum(token.logprob for token in answer.logprobs) / len(answer.logprobs)
