"""What an answer shows of its own quality, finished or not.

Invariant: signals come from the answer alone and are finite; reading them costs no more than a look
at each token. An engine without logprobs leaves those signals None, never a guess.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vanta.messages import Completion
from vanta.routing.quantiles import quantile
from vanta.scheduling.gate import declines

_LOWEST = -20.0
"""A token less likely than this is as surprising as a token can be; -inf counts as this."""


@dataclass(frozen=True, slots=True)
class Signals:
    """The signals of one answer.

    mean, low, middle, least: of its tokens' natural-log probabilities the mean (the
    length-normalised likelihood of Malinin & Gales, 2021), the 10 % quantile, the median, the
    smallest; token quantiles tell more than the mean alone (Gupta et al., "Language Model
    Cascades", 2024). tokens: how many have a logprob. chars: of the text. refusal: it declines to
    answer. cut_off: its token limit ended it.
    """

    mean: float | None
    low: float | None
    middle: float | None
    least: float | None
    tokens: int
    chars: int
    refusal: bool
    cut_off: bool


def signals(answer: Completion) -> Signals:
    """The signals of an answer, or of as much of one as there is."""
    text = answer.text.strip()
    return measure(
        [token.logprob for token in answer.logprobs],
        chars=len(text),
        refusal=declines(text),
        cut_off=answer.finish_reason == "length",
    )


def measure(logprobs: Sequence[float], *, chars: int, refusal: bool, cut_off: bool) -> Signals:
    """The signals of tokens with these logprobs."""
    if not logprobs:
        return Signals(None, None, None, None, 0, chars, refusal, cut_off)
    ordered = sorted(_kept(value) for value in logprobs)
    return Signals(
        mean=math.fsum(ordered) / len(ordered),
        low=quantile(ordered, 0.1),
        middle=quantile(ordered, 0.5),
        least=ordered[0],
        tokens=len(ordered),
        chars=chars,
        refusal=refusal,
        cut_off=cut_off,
    )


def _kept(logprob: float) -> float:
    return min(0.0, max(_LOWEST, logprob)) if logprob == logprob else _LOWEST  # noqa: PLR0124 - NaN
