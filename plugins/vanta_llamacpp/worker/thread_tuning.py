"""The number of threads for decode steps, and the time for prefill beside them.

With as many threads as cores, llama.cpp's threads wait for each other at every node of the graph.
Once another process takes a core, each wait lasts a time slice and decoding collapses. So each step
is compared with the fastest of its kind. When steps become slow, fewer threads are tried, and from
time to time one more. What proves faster is kept, and a failed trial is repeated ever later.

The fastest step says nothing about a machine that was busy from the start. So a tuner may begin
with fewer threads, and one that is not `proven` tries fewer during its first steps; a load need not
wait for an answer.

Invariant: `threads` is between 1 and the maximum and depends on the measured times alone.
"""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import Any

WINDOW = 8
"""Steps that a decision is based on."""
TRIAL_STEPS = 4
FIRST_TRIAL_STEPS = 3
"""Steps before the first trial."""
SLOW = 1.5
"""Slowness, relative to the fastest steps, from which the machine counts as contended."""
COLLAPSED = 6.0
"""Slowness, relative to the usual, of which two steps suffice for a decision."""
BETTER = 0.95
FIRST_WAIT, LONGEST_WAIT = 32, 1024
"""Steps between two trials."""
MIN_CHUNK = 8
"""The fewest prompt tokens that are prefilled in one step."""
PREFILL_SHARE = 0.8
"""Prefill time per decode time: pauses grow to at most 1.8 times their length in the mean."""
_CELLS_PER_KIND = 512
_FORGET = 1.0005


class ThreadTuner:
    """Decides on the threads of the worker from the times of its steps.

    :param maximum: the most threads, at least 1.
    :param adapt: False keeps the threads fixed.
    :param proven: `maximum` is known to be best on this machine while it is quiet, and it is quiet.
    :param initial: the threads to begin with; None for `maximum`.
    """

    def __init__(
        self,
        maximum: int,
        *,
        adapt: bool = True,
        proven: bool = True,
        initial: int | None = None,
    ) -> None:
        self.threads = initial or maximum
        self.trials = 0
        self.changes = 0
        self._maximum = maximum
        self._adapt = adapt
        self._proven = proven or self.threads < maximum
        self._best: dict[tuple[int, int], float] = {}
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._before_trial: tuple[int, float] | None = None
        self._since_trial, self._wait = 0, FIRST_WAIT
        self._usual = 1.0
        self._round_s = self._token_s = self._saved_s = 0.0

    def record_prefill(self, tokens: int, seconds: float) -> None:
        """Record a step that prefilled `tokens` tokens in `seconds`."""
        self._token_s = _smooth(self._token_s, seconds / tokens)
        self._saved_s = max(self._saved_s - seconds, -self._max_saved_s)

    def record_round(self, seconds: float) -> None:
        """Record that the decode steps of a round took `seconds`; prefill earns PREFILL_SHARE."""
        self._round_s = _smooth(self._round_s, seconds)
        self._saved_s = min(self._saved_s + PREFILL_SHARE * seconds, self._max_saved_s)

    def prefill_budget(self) -> int:
        """Return the prompt tokens to prefill beside the decode steps of this round.

        0 in most rounds if MIN_CHUNK tokens take longer than a round.
        """
        if not self._token_s:
            return MIN_CHUNK
        tokens = int(self._saved_s / self._token_s)
        return tokens if tokens >= MIN_CHUNK else 0

    @property
    def _max_saved_s(self) -> float:
        """Return the most time to save up: a round's share, or the time of the smallest chunk."""
        return max(PREFILL_SHARE * self._round_s, (MIN_CHUNK + 0.5) * self._token_s)

    def record_decode(self, rows: int, cells: int, seconds: float) -> None:
        """Record a step that decoded one token each of `rows` sequences.

        The first step of a kind counts as exactly as slow as the steps before it.

        :param cells: the cells of the KV cache that attention read, per row.
        """
        kind = rows, (cells // _CELLS_PER_KIND).bit_length()
        slowness = self.slowness or (self._before_trial[1] if self._before_trial else 1.0)
        best = self._best.get(kind, seconds / slowness)
        if self._before_trial is None:  # a trial is compared with the steps before it
            best = self._best[kind] = min(best * _FORGET, seconds)
        self._recent.append(seconds / best)
        if self._adapt and self._maximum > 1:
            self._decide()

    @property
    def slowness(self) -> float | None:
        """Return the time of recent steps relative to the fastest of their kind, or None."""
        return median(self._recent) if self._recent else None

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON-ready statistics."""
        slowness = self.slowness
        return {
            "threads": self.threads,
            "most_threads": self._maximum,
            "slowness": None if slowness is None else round(slowness, 3),
            "contended": slowness is not None and slowness > SLOW,
            "trials": self.trials,
            "changes": self.changes,
        }

    def _decide(self) -> None:
        self._since_trial += 1
        if self._before_trial is not None:
            self._judge_trial(self._before_trial)
        elif not self._proven:
            self._start_first_trials()
        elif self.threads > 1 and self._collapsed():
            self._wait = FIRST_WAIT
            self._try(fewer(self.threads))
        elif len(self._recent) == WINDOW:
            slowness = median(self._recent)
            if slowness > SLOW * self._usual and self.threads > 1:
                self._wait = FIRST_WAIT
                self._try(fewer(self.threads))
            elif self._since_trial >= self._wait:
                self._try_in_turn(slowness)
            self._usual = min(self._usual, slowness)

    def _collapsed(self) -> bool:
        """Return whether the last two steps took many times the usual time."""
        last = list(self._recent)[-2:]
        return len(last) == 2 and min(last) > COLLAPSED * self._usual

    def _start_first_trials(self) -> None:
        """Try fewer threads once, and again after each trial that was faster."""
        if len(self._recent) >= FIRST_TRIAL_STEPS:
            self._proven = self.threads == 1 or 0 < self.trials != self.changes
            if not self._proven:
                self._try(fewer(self.threads))

    def _try_in_turn(self, slowness: float) -> None:
        """Try one more thread; while steps are slow, every other time fewer."""
        down = self.threads > 1 and slowness > SLOW
        up = self.threads < self._maximum
        if down and (not up or self.trials % 2):
            self._try(fewer(self.threads))
        elif up:
            self._try(self.threads + 1)

    def _try(self, threads: int) -> None:
        self._before_trial = (self.threads, median(self._recent))
        self.trials += 1
        self._change(threads)

    def _judge_trial(self, before: tuple[int, float]) -> None:
        """Keep or undo the trial after TRIAL_STEPS; a collapse shows at the second step."""
        threads, slowness = before
        hopeless = len(self._recent) >= 2 and min(self._recent) > 2 * slowness
        if len(self._recent) < TRIAL_STEPS and not hopeless:
            return
        self._before_trial = None
        self._since_trial = 0
        now = median(self._recent)
        if now < BETTER * slowness:
            self.changes += 1
            self._wait = FIRST_WAIT
            self._usual = now
        else:
            self._wait = min(LONGEST_WAIT, self._wait * 2)
            self._usual = slowness
            self._change(threads)

    def _change(self, threads: int) -> None:
        self.threads = threads
        self._recent.clear()


def fewer(threads: int) -> int:
    """Return the next smaller number of threads to try."""
    return threads - 1 if threads <= 4 else threads // 2


def _smooth(mean: float, value: float) -> float:
    return value if not mean else 0.8 * mean + 0.2 * value
