"""Verification: another track's one-token word on an answer that the gate is unsure of.

The probability of yes is read from the first token's logprobs, as in Kadavath et al., "Language
Models (Mostly) Know What They Know" (2022), P(True). Without logprobs the word itself counts.
"""

from __future__ import annotations

import math

from vanta.messages import Completion


def probability_of_yes(answer: Completion) -> float | None:
    """How likely the verifier says yes, of yes and no; None if it said neither."""
    if answer.logprobs:
        first = answer.logprobs[0]
        rivals = dict(first.top) | {first.token: first.logprob}
        yes = sum(math.exp(logprob) for token, logprob in rivals.items() if _is(token, "yes"))
        no = sum(math.exp(logprob) for token, logprob in rivals.items() if _is(token, "no"))
        if yes + no > 0:
            return yes / (yes + no)
    word = answer.text.strip().strip(".!\"'*").lower()
    if word.startswith(("yes", "no")):
        return 1.0 if word.startswith("yes") else 0.0
    return None


def _is(token: str, word: str) -> bool:
    return token.strip().lower() in (word, word[0])
