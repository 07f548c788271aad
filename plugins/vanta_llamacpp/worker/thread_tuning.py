"""How fast steps go, and with how many threads they should be taken.

With as many threads as cores, llama.cpp's threads wait for each other at every node of the graph;
once another process takes a core, each wait lasts a time slice and decoding collapses. So steps are
held against the best of their kind: where they have become slow, fewer threads are tried, and from
time to time one more; what proves faster is kept, and a try that failed is repeated ever later.
Whether the machine was busy from the start no best can tell, so a pace may begin with fewer, and
the first steps of one that is not `proven` try fewer once: loading need not wait for an answer.

Invariant: `threads` is between 1 and `most`, and changes by what was measured alone: the same
times give the same threads.
"""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import Any

WINDOW = 8
"""Steps that a judgement is made on."""
TRIAL = 4
FIRST_LOOK = 3
"""Steps before the first try."""
SLOW = 1.5
"""Times the best: slower is contention."""
COLLAPSED = 6.0
"""Times the usual: two such steps are enough."""
BETTER = 0.95
FIRST_WAIT, LONGEST_WAIT = 32, 1024
_FEW_CELLS = 512
_FORGET = 1.0005
SMALLEST_CHUNK = 8
"""Tokens of a prompt that are read at once, at the least."""
SHARE = 0.8
"""Of the time in which the others write, so much is for prompts: it makes their pauses 1.8 times as
long in the mean, however long a chunk takes."""


class Pace:
    """Fed with the times of steps by the worker. proven: `most` threads are known to be best on
    this machine while it is quiet, and it is quiet. begin: threads to begin with, where others
    were seen to need theirs."""

    def __init__(
        self, most: int, *, adapt: bool = True, proven: bool = True, begin: int | None = None
    ) -> None:
        self.threads = begin or most
        self.trials = 0
        self.changes = 0
        self._most = most
        self._adapt = adapt
        self._proven = proven or self.threads < most
        self._best: dict[tuple[int, int], float] = {}
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._before: tuple[int, float] | None = None
        self._since, self._wait = 0, FIRST_WAIT
        self._usual = 1.0
        self._round_s = self._token_s = self._earned_s = 0.0

    def read(self, tokens: int, seconds: float) -> None:
        """A chunk of a prompt was read."""
        self._token_s = _smooth(self._token_s, seconds / tokens)
        self._earned_s = max(self._earned_s - seconds, -self._most_s)

    def tokens_beside(self) -> int:
        """Tokens of a prompt to be read in this round beside those who write; 0 in most rounds
        where reading a few takes longer than writing."""
        if not self._token_s:
            return SMALLEST_CHUNK
        tokens = int(self._earned_s / self._token_s)
        return tokens if tokens >= SMALLEST_CHUNK else 0

    def wrote_round(self, seconds: float) -> None:
        """All who write got a token, in so many seconds. Those who read earn nearly as many."""
        self._round_s = _smooth(self._round_s, seconds)
        self._earned_s = min(self._earned_s + SHARE * seconds, self._most_s)

    @property
    def _most_s(self) -> float:
        """What can be saved up: one round's, or what the smallest chunk takes."""
        return max(SHARE * self._round_s, (SMALLEST_CHUNK + 0.5) * self._token_s)

    def wrote(self, rows: int, cells: int, seconds: float) -> None:
        """A step of `rows` tokens was taken, one for each who writes, with attention over so many
        `cells`. A kind of step that is new is taken to be as slow as the steps before it were."""
        kind = rows, (cells // _FEW_CELLS).bit_length()
        slowness = self.slowness or (self._before[1] if self._before else 1.0)
        best = self._best.get(kind, seconds / slowness)
        if self._before is None:  # a trial is held against what was before it
            best = self._best[kind] = min(best * _FORGET, seconds)
        self._recent.append(seconds / best)
        if self._adapt and self._most > 1:
            self._judge()

    @property
    def slowness(self) -> float | None:
        """The last steps against the best of their kind; 1 is as fast as ever."""
        return median(self._recent) if self._recent else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, for statistics."""
        slowness = self.slowness
        return {
            "threads": self.threads,
            "most_threads": self._most,
            "slowness": None if slowness is None else round(slowness, 3),
            "contended": slowness is not None and slowness > SLOW,
            "trials": self.trials,
            "changes": self.changes,
        }

    def _judge(self) -> None:
        self._since += 1
        if self._before is not None:
            self._judge_trial(self._before)
        elif not self._proven:
            self._look()
        elif self.threads > 1 and self._collapsed():
            self._wait = FIRST_WAIT
            self._try(fewer(self.threads))
        elif len(self._recent) == WINDOW:
            level = median(self._recent)
            if level > SLOW * self._usual and self.threads > 1:
                self._wait = FIRST_WAIT
                self._try(fewer(self.threads))
            elif self._since >= self._wait:
                self._try_in_turn(level)
            self._usual = min(self._usual, level)

    def _collapsed(self) -> bool:
        """Steps that take many times as long: a whole window of them is not waited for."""
        last = list(self._recent)[-2:]
        return len(last) == 2 and min(last) > COLLAPSED * self._usual

    def _look(self) -> None:
        """The first try, and one after each that was better: as far down as it helps."""
        if len(self._recent) >= FIRST_LOOK:
            self._proven = self.threads == 1 or 0 < self.trials != self.changes
            if not self._proven:
                self._try(fewer(self.threads))

    def _try_in_turn(self, level: float) -> None:
        """One more where there is one; one fewer, every other time, while steps are slow."""
        down = self.threads > 1 and level > SLOW
        up = self.threads < self._most
        if down and (not up or self.trials % 2):
            self._try(fewer(self.threads))
        elif up:
            self._try(self.threads + 1)

    def _try(self, threads: int) -> None:
        self._before = (self.threads, median(self._recent))
        self.trials += 1
        self._change(threads)

    def _judge_trial(self, before: tuple[int, float]) -> None:
        """As soon as it is clear: a collapse shows at the second step."""
        threads, level = before
        hopeless = len(self._recent) >= 2 and min(self._recent) > 2 * level
        if len(self._recent) < TRIAL and not hopeless:
            return
        self._before = None
        self._since = 0
        now = median(self._recent)
        if now < BETTER * level:
            self.changes += 1
            self._wait = FIRST_WAIT
            self._usual = now
        else:
            self._wait = min(LONGEST_WAIT, self._wait * 2)
            self._usual = level
            self._change(threads)

    def _change(self, threads: int) -> None:
        self.threads = threads
        self._recent.clear()


def fewer(threads: int) -> int:
    """What to try next where `threads` are too many."""
    return threads - 1 if threads <= 4 else threads // 2


def _smooth(before: float, now: float) -> float:
    return now if not before else 0.8 * before + 0.2 * now
