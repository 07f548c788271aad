"""Gates: judges of a finished answer.

A gate sees one leg's whole answer and says yes or no, with a score and a reason that a person can
read in the trace. Invariant: a gate never raises for a bad answer and never changes it.
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
_ENOUGH_TOKENS = 24
_SURE_MARGIN = 0.7


@dataclass(frozen=True, slots=True)
class Verdict:
    """A gate's word. `score` is what was measured (None: nothing), `why` a short reason. An unsure
    verdict is one that a verifier may overrule."""

    accepted: bool
    score: float | None
    why: str
    unsure: bool = False


class Gate(Protocol):
    """What a plugin implements to judge answers. `name` is what `gate.use` refers to.

    A gate may also have `give_up(answer, rule) -> str | None`, asked now and then about an
    unfinished answer: a reason stops it there and then (see `SignalsGate.give_up`).
    """

    name: str

    async def judge(self, answer: Completion, rule: GateRule) -> Verdict:
        """Accept or reject a finished answer under `rule`."""
        ...


class SignalsGate:
    """Judges by what the answer itself shows: its end, length, a refusal, its mean logprob.

    The mean logprob of the generated tokens is the length-normalised sequence likelihood of
    Malinin & Gales, "Uncertainty Estimation in Autoregressive Structured Prediction" (2021).
    """

    name = "signals"

    async def judge(self, answer: Completion, rule: GateRule) -> Verdict:
        """Accept or reject a finished answer; cheap, no I/O."""
        score = mean_logprob(answer)
        text = answer.text.strip()
        if answer.tool_calls:
            return Verdict(True, score, "asks for a tool")
        if len(text) < rule.min_chars:
            return Verdict(False, score, f"{len(text)} characters, {rule.min_chars} wanted")
        if answer.finish_reason == "length":
            return Verdict(False, score, "cut off by its token limit")
        if rule.refusals and declines(text):
            return Verdict(False, score, "declines to answer")
        return self._by_likelihood(score, rule)

    def give_up(self, answer: Completion, rule: GateRule) -> str | None:
        """Why an unfinished answer is sure enough to be turned down, None if it is not."""
        if rule.refusals and len(answer.text) > _REFUSAL_CHARS and declines(answer.text):
            return "declines to answer"
        score = mean_logprob(answer)
        if rule.min_mean_logprob is None or score is None:
            return None
        if len(answer.logprobs) >= _ENOUGH_TOKENS and score < rule.min_mean_logprob - _SURE_MARGIN:
            return f"mean logprob {score:.2f} after {len(answer.logprobs)} tokens"
        return None

    def _by_likelihood(self, score: float | None, rule: GateRule) -> Verdict:
        least = rule.min_mean_logprob
        if least is None or score is None:
            return Verdict(True, score, "good enough (no logprobs)")
        unsure = abs(score - least) <= rule.verify_margin
        if score < least:
            return Verdict(False, score, f"mean logprob {score:.2f} < {least:.2f}", unsure)
        return Verdict(True, score, f"good enough (mean logprob {score:.2f})", unsure)


def declines(text: str) -> bool:
    """Whether an answer begins as refusals do."""
    return _REFUSAL.match(text) is not None


def mean_logprob(answer: Completion) -> float | None:
    """The mean natural-log probability of the answer's tokens, None if the engine gave none."""
    if not answer.logprobs:
        return None
    return sum(token.logprob for token in answer.logprobs) / len(answer.logprobs)
