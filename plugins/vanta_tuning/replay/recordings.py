"""Recordings: for each turn, how every track would have answered it.

Invariant: frozen and complete. A `Recording` has a play for each track that a replay may start, so
nothing is made up while it runs. Times are seconds, tokens whole numbers.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    :param probability: the calibrated gate's P(right); None if unknown.
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
    probability: float | None = None
    accepted: bool | None = None


@dataclass(frozen=True, slots=True)
class VerifierWord:
    """One track's word on the answer of another: a token, not an answer.

    :param yes: P(yes) that the answer is right, 0 to 1; None if it says neither yes nor no.
    :param total_s: seconds from its start to its end, or to the error.
    :param input_tokens: tokens of its prompt, which holds the message and the answer.
    :param output_tokens: tokens of the word.
    :param error: the error it fails with, None for a word.
    """

    yes: float | None
    total_s: float
    input_tokens: int = 0
    output_tokens: int = 1
    error: ErrorKind | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """One turn.

    :param id: its name.
    :param plays: how each track answers.
    :param arrives_s: when it arrives, in seconds from the first turn; None for turns that run one
        after another.
    :param text: the message, if it was recorded.
    :param words: what tracks say as verifiers, by verifier and judged track; "" stands for a judged
        track that was not recorded.
    """

    id: str
    plays: Mapping[str, Play]
    arrives_s: float | None = None
    text: str = ""
    words: Mapping[tuple[str, str], VerifierWord] = field(default_factory=dict)

    def word(self, verifier: str, judged: str) -> VerifierWord | None:
        """Return the word of `verifier` on the answer of `judged`, None if it is not recorded."""
        return self.words.get((verifier, judged)) or self.words.get((verifier, ""))


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
    apart = _distance(auroc)
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


def with_words(recordings: Sequence[Recording], auroc: float, *, seed: int = 0) -> list[Recording]:
    """Model verifiers' words on scored answers, for recordings without any.

    The evidence is binormal as in `with_signal`, and P(yes) is its posterior probability at even
    odds. A word takes as long as the verifier's first content; its prompt is that of its own answer
    and the judged answer.

    :param auroc: 0.5 (no separation) to below 1 (nearly perfect).
    :param seed: the same seed gives the same words.
    :raises UsageError: `auroc` is out of range.
    """
    apart = _distance(auroc)
    return [
        dataclasses.replace(item, words={**_modelled(item, apart, seed), **item.words})
        for item in recordings
    ]


def _modelled(recording: Recording, apart: float, seed: int) -> dict[tuple[str, str], VerifierWord]:
    words = {}
    for judged, answer in recording.plays.items():
        for verifier, own in recording.plays.items():
            if verifier == judged or answer.score is None or (verifier, "") in recording.words:
                continue
            rng = random.Random(f"{seed}/{recording.id}/{verifier}/{judged}")  # noqa: S311
            evidence = rng.gauss(0, 1) + (answer.score - 0.5) * apart
            words[verifier, judged] = VerifierWord(
                yes=1 / (1 + math.exp(-apart * evidence)),
                total_s=own.ttft_s,
                input_tokens=own.input_tokens + answer.output_tokens,
                error=own.error,
            )
    return words


def _distance(auroc: float) -> float:
    """Return the distance of two normal distributions of width 1 with this AUROC."""
    if not 0.5 <= auroc < 1:
        raise UsageError(f"an AUROC must be between 0.5 and 1 (exclusive), not {auroc:g}.")
    return math.sqrt(2) * NormalDist().inv_cdf(auroc)
