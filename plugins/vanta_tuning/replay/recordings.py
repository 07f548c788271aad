"""Recordings: for each turn, how every track would have answered it.

Invariant: frozen and complete. A `Recording` has a play for each track that a replay may start, so
nothing is made up while it runs. Times are seconds, tokens whole numbers.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from vanta import ErrorKind, UsageError

_CENTRE, _SPREAD = -0.9, 0.3


@dataclass(frozen=True, slots=True)
class Play:
    """One track's answer to one message.

    :param ttft_s: seconds from its start to the first content; to the error if it fails without.
    :param total_s: seconds to its end, or to the error.
    :param input_tokens: tokens of the prompt.
    :param output_tokens: tokens of the answer.
    :param error: the error it fails with, None for a whole answer.
    :param speaks: whether there is content before the error.
    :param score: quality of the whole answer, 0 to 1 (right or wrong: 1 or 0); None if unknown.
    :param mean_logprob: of its tokens, for gates; None if unknown.
    :param accepted: a gate's recorded verdict, if only that was recorded.
    """

    ttft_s: float
    total_s: float
    input_tokens: int = 0
    output_tokens: int = 1
    error: ErrorKind | None = None
    speaks: bool = True
    score: float | None = None
    mean_logprob: float | None = None
    accepted: bool | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """One turn.

    :param id: its name.
    :param plays: how each track answers.
    :param arrives_s: when it arrives, in seconds from the first turn; None for turns that run one
        after another.
    :param text: the message, if it was recorded.
    """

    id: str
    plays: Mapping[str, Play]
    arrives_s: float | None = None
    text: str = ""


def with_signal(recordings: Sequence[Recording], auroc: float, *, seed: int = 0) -> list[Recording]:
    """Model the gate's signal for outcomes that were recorded without one.

    Every scored answer gets a mean logprob that separates right from wrong answers with the given
    area under the ROC curve: two normal distributions of equal width (the binormal model; Hanley &
    McNeil 1982), whose midpoint is the built-in gate's own limit. The signal is drawn, not
    measured: show that with every result.

    :param auroc: 0.5 (no separation) to below 1 (nearly perfect).
    :param seed: the same seed gives the same signal.
    :raises UsageError: `auroc` is out of range.
    """
    if not 0.5 <= auroc < 1:
        raise UsageError(f"an AUROC must be between 0.5 and 1 (exclusive), not {auroc:g}.")
    apart = math.sqrt(2) * NormalDist().inv_cdf(auroc)
    return [
        dataclasses.replace(
            recording,
            plays={
                track: _signalled(play, apart, random.Random(f"{seed}/{recording.id}/{track}"))  # noqa: S311
                for track, play in recording.plays.items()
            },
        )
        for recording in recordings
    ]


def _signalled(play: Play, apart: float, rng: random.Random) -> Play:
    if play.score is None or play.mean_logprob is not None:
        return play
    place = rng.gauss(0, 1) + (play.score - 0.5) * apart
    return dataclasses.replace(play, mean_logprob=min(-1e-6, _CENTRE + _SPREAD * place))
