"""The signals of an answer's quality, finished or not.

Invariant: signals come from the answer alone and are finite; measuring them costs one look at each
token. For an engine without logprobs those signals are None, never a guess.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vanta.messages import Completion
from vanta.scheduling.gate import declines

_LOWEST = -20.0
"""Less likely tokens, and -inf, count as this logprob."""


@dataclass(frozen=True, slots=True)
class Signals:
    """The signals of one answer.

    :param mean: mean natural-log probability of its tokens (the length-normalised likelihood of
        Malinin & Gales, 2021); None without logprobs, as are the next three.
    :param low: their 10 % quantile; token quantiles say more than the mean alone (Gupta et al.,
        "Language Model Cascades", 2024).
    :param middle: their median.
    :param least: the smallest.
    :param tokens: the number of tokens with a logprob.
    :param chars: the length of the text.
    :param refusal: whether the answer declines.
    :param cut_off: whether its token limit ended it.
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
    """Return the signals of an answer, or of the part of one that exists so far.

    :param answer: the answer, folded from its deltas.
    """
    text = answer.text.strip()
    return measure(
        [token.logprob for token in answer.logprobs],
        chars=len(text),
        refusal=declines(text),
        cut_off=answer.finish_reason == "length",
    )


def measure(logprobs: Sequence[float], *, chars: int, refusal: bool, cut_off: bool) -> Signals:
    """Return the signals of tokens with these logprobs.

    :param logprobs: natural-log probabilities; positive values and NaN are clamped.
    :param chars: the length of the text.
    :param refusal: whether the text declines to answer.
    :param cut_off: whether the token limit ended it.
    """
    if not logprobs:
        return Signals(None, None, None, None, 0, chars, refusal, cut_off)
    ordered = sorted(map(_clamped, logprobs))
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


def quantiles(values: Iterable[float], steps: int) -> tuple[float, ...]:
    """Return the quantiles 0, 1/steps ... 1 of `values`."""
    ordered = sorted(values)
    return tuple(quantile(ordered, i / steps) for i in range(steps + 1))


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which a `share` of the ascending `ordered` lies, interpolated."""
    place = share * (len(ordered) - 1)
    low = min(int(place), len(ordered) - 1)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def _clamped(logprob: float) -> float:
    return _LOWEST if math.isnan(logprob) else min(0.0, max(_LOWEST, logprob))
