"""Sketches: recorded turns with gaps, and the samples that fill them.

A table may have the quality of an answer but not its time; in a live turn one track answered while
the other was stopped. A `Sketch` holds the known values, a `Pool` whole answers of a track, and
`fill` draws missing values from the pools. Invariant: known values stay as recorded; every draw
depends on the seed and its place alone.

Two calls with one prompt take correlated times (a long answer is long everywhere, a busy hour is
busy everywhere), so the draws of one turn are tied by a Gaussian copula. Independent draws would
let a second call rescue more turns than it really does.
"""

from __future__ import annotations

import bisect
import dataclasses
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

from vanta import ErrorKind, UsageError
from vanta_tuning.replay.recordings import Play, Recording, VerifierWord

CORRELATION = 0.57
"""The correlation of the times of two calls with one prompt, in paired public measurements."""

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Known:
    """The recorded values of one track in one turn, None for unknown ones; see `Play`.

    :param silent_s: seconds after which it was stopped while still silent.
    :param running_s: seconds after which it was stopped in the middle of its answer.
    """

    ttft_s: float | None = None
    total_s: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    error: ErrorKind | None = None
    speaks: bool = True
    score: float | None = None
    mean_logprob: float | None = None
    probability: float | None = None
    accepted: bool | None = None
    silent_s: float = 0.0
    running_s: float = 0.0

    @property
    def whole(self) -> bool:
        """Whether nothing needs to be drawn."""
        return self.ttft_s is not None and self.total_s is not None


@dataclass(frozen=True, slots=True)
class KnownWord:
    """The recorded values of a verifier's word, None for unknown ones; see `VerifierWord`."""

    yes: float | None = None
    total_s: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    error: ErrorKind | None = None

    @property
    def whole(self) -> bool:
        """Whether time and tokens of the prompt are recorded."""
        return self.total_s is not None and self.input_tokens is not None


@dataclass(frozen=True, slots=True)
class Sketch:
    """One turn with the values that were recorded; `words` are keyed as those of `Recording`."""

    id: str
    tracks: Mapping[str, Known]
    arrives_s: float | None = None
    text: str = ""
    words: Mapping[tuple[str, str], KnownWord] = field(default_factory=dict)


class Pool:
    """Whole answers and failures of one track.

    :raises UsageError: there is no whole answer.
    """

    def __init__(self, track: str, plays: Sequence[Play]) -> None:
        answers = [play for play in plays if not play.error]
        self._answers = sorted(answers, key=lambda play: (play.ttft_s, play.total_s))
        self._failures = [play for play in plays if play.error]
        self._times = [play.ttft_s for play in self._answers]
        if not self._answers:
            raise UsageError(
                f"no whole answer of track {track!r} is recorded, so its answers cannot be drawn. "
                "Give other data, or policies without it."
            )

    def draw(self, place: float, fate: float, known: Known) -> Play:
        """Return the answer at `place` of those that fit the known values.

        :param place: 0 to 1, fast to slow.
        :param fate: 0 to 1; decides whether the call fails, as often as recorded calls did.
        :param known: the recorded values.
        """
        stopped = known.silent_s or known.running_s
        if not stopped and fate * (len(self._answers) + len(self._failures)) < len(self._failures):
            return self._failures[int(place * len(self._failures))]
        if known.ttft_s is not None:
            return self._continued(place, known, known.ttft_s)
        first = bisect.bisect_right(self._times, known.silent_s) if known.silent_s else 0
        if first == len(self._answers):
            return self._slower_than_all(place, known)
        return self._answers[first + int(place * (len(self._answers) - first))]

    def deviate(self, ttft_s: float) -> float:
        """Return the rank of `ttft_s` among the answers as a standard normal deviate."""
        below = bisect.bisect_left(self._times, ttft_s)
        upto = bisect.bisect_right(self._times, ttft_s)
        place = (below + upto) / 2 / len(self._times)
        return _NORMAL.inv_cdf(min(max(place, 0.5 / len(self._times)), 1 - 0.5 / len(self._times)))

    def _continued(self, place: float, known: Known, ttft_s: float) -> Play:
        """Return an answer that starts as recorded and continues as drawn."""
        rests = sorted(play.total_s - play.ttft_s for play in self._answers)
        spoken_s = max(0.0, known.running_s - ttft_s)
        longer = [rest for rest in rests if rest > spoken_s]
        rest = longer[int(place * len(longer))] if longer else spoken_s
        sample = self._answers[int(place * len(self._answers))]
        return dataclasses.replace(sample, ttft_s=ttft_s, total_s=ttft_s + rest)

    def _slower_than_all(self, place: float, known: Known) -> Play:
        """Return an answer for a call that was silent for longer than any recorded answer."""
        sample = self._answers[int(place * len(self._answers))]
        return dataclasses.replace(
            sample,
            ttft_s=known.silent_s + sample.ttft_s,
            total_s=known.silent_s + sample.total_s,
        )


@dataclass(slots=True)
class Filled:
    """Complete recordings; `drawn` of `plays` and `sized` of `words` were not recorded whole."""

    recordings: list[Recording] = field(default_factory=list)
    plays: int = 0
    drawn: int = 0
    words: int = 0
    sized: int = 0


def fill(
    sketches: Sequence[Sketch],
    pools: Mapping[str, Pool],
    *,
    correlation: float = CORRELATION,
    seed: int = 0,
) -> Filled:
    """Return complete recordings, with a play for every track of the sketches and the pools.

    :param sketches: turns with gaps.
    :param pools: whole answers by track.
    :param correlation: of the draws within a turn, 0 (independent) to 1.
    :param seed: for all draws.
    :raises UsageError: a track with gaps has no pool.
    """
    if not 0 <= correlation <= 1:
        raise UsageError(f"a correlation must be between 0 and 1, not {correlation:g}.")
    filled = Filled()
    for number, sketch in enumerate(sketches):
        rng = random.Random(f"{seed}/{number}")  # noqa: S311 - a simulation, no secret
        common = _common(_places(sketch, pools), correlation, rng)
        plays = {}
        for track in sorted({*sketch.tracks, *pools}):
            own = math.sqrt(correlation) * common + math.sqrt(1 - correlation) * rng.gauss(0, 1)
            place, fate = min(_NORMAL.cdf(own), 1 - 1e-12), rng.random()
            known = sketch.tracks.get(track, Known())
            plays[track] = _play(track, known, pools, place, fate)
            filled.drawn += not known.whole
        filled.plays += len(plays)
        words = {pair: _word(pair, known, plays) for pair, known in sketch.words.items()}
        filled.words += len(words)
        filled.sized += sum(not known.whole for known in sketch.words.values())
        filled.recordings.append(Recording(sketch.id, plays, sketch.arrives_s, sketch.text, words))
    return filled


def _word(pair: tuple[str, str], known: KnownWord, plays: Mapping[str, Play]) -> VerifierWord:
    """Return a whole word: it takes as long as the verifier's first content, if not recorded.

    Its prompt is that of the verifier's own answer and the judged answer; the longest other answer
    stands in for a judged track that was not recorded.
    """
    verifier, judged = pair
    own = plays.get(verifier, Play(0.0, 0.0))
    others = [plays[judged]] if judged in plays else [plays[name] for name in plays.keys() - pair]
    answer = max((play.output_tokens for play in others), default=0)
    size = own.input_tokens + answer
    return VerifierWord(
        yes=known.yes,
        total_s=own.ttft_s if known.total_s is None else known.total_s,
        input_tokens=size if known.input_tokens is None else known.input_tokens,
        output_tokens=1 if known.output_tokens is None else known.output_tokens,
        error=known.error,
    )


def _places(sketch: Sketch, pools: Mapping[str, Pool]) -> list[float]:
    """Return how slow the recorded answers of a turn were, as normal deviates."""
    return [
        pools[track].deviate(known.ttft_s)
        for track, known in sketch.tracks.items()
        if known.ttft_s is not None and known.error is None and track in pools
    ]


def _common(known: Sequence[float], correlation: float, rng: random.Random) -> float:
    """Draw the common factor of one turn's calls, given the known deviates.

    Each deviate is sqrt(r) x common + sqrt(1 - r) x own; the conditional distribution is normal.
    """
    own = max(1e-9, 1 - correlation)
    precision = 1 + len(known) * correlation / own
    mean = math.sqrt(correlation) / own * sum(known) / precision
    return mean + rng.gauss(0, 1) / math.sqrt(precision)


def _play(track: str, known: Known, pools: Mapping[str, Pool], place: float, fate: float) -> Play:
    if known.ttft_s is not None and known.total_s is not None:
        base = Play(known.ttft_s, known.total_s, error=known.error, speaks=known.speaks)
    elif track in pools:
        base = _resized(pools[track].draw(place, fate, known), known)
    else:
        raise UsageError(
            f"no times of track {track!r} are recorded. Give some: --latency FILE "
            f"--from {track}=NAME."
        )
    recorded = {
        name: getattr(known, name)
        for name in (
            "input_tokens",
            "output_tokens",
            "score",
            "mean_logprob",
            "probability",
            "accepted",
        )
    }
    return dataclasses.replace(
        base, **{name: value for name, value in recorded.items() if value is not None}
    )


def _resized(play: Play, known: Known) -> Play:
    """Return a drawn answer stretched to the recorded number of tokens."""
    wanted = known.output_tokens
    if wanted is None or play.error or known.running_s:
        return play
    per_token_s = (play.total_s - play.ttft_s) / max(1, play.output_tokens)
    return dataclasses.replace(play, total_s=play.ttft_s + per_token_s * wanted)
