"""A model of the gate's signal, for outcomes that were recorded without one.

Invariant: it is drawn, not measured, and whoever shows results of it says so.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Sequence
from statistics import NormalDist

from vanta.errors import UsageError
from vanta_tuning.replay.plays import Play, Recording

_CENTRE, _SPREAD = -0.9, 0.3


def with_signal(recordings: Sequence[Recording], auroc: float, *, seed: int = 0) -> list[Recording]:
    """`recordings` with a mean logprob for every scored answer that tells right from wrong ones
    with an area under the ROC curve of `auroc` (0.5: not at all, below 1: nearly always).

    Two normal distributions of equal width (the binormal model; Hanley & McNeil 1982), whose
    midpoint is the built-in gate's own limit. Raises UsageError for an impossible `auroc`.
    """
    if not 0.5 <= auroc < 1:
        raise UsageError(f"an AUROC of {auroc:g} is no gate's: give 0.5 to below 1.")
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
